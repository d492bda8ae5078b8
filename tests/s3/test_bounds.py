"""Every call ends in time, whatever the peer does not do."""

from __future__ import annotations

import asyncio
import inspect
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from robot import BUCKET, HOME, PART, Robot, until

from petal_s3.demo.link import Link, Shape
from petal_s3.errors import Conflict, Offline, S3CredentialsError
from petal_s3.s3 import lifecycle, multipart, trials
from petal_s3.s3.checksums import digest
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.responses import HeldPart, ObjectInfo
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.stalls import Patience

SHORT_S = 0.1
HANGS_S = 30.0  # far beyond every bound below: only a call without one comes near
KEY = HOME + "there.ulg"
WHOLE = b"x" * 300_000


class Bench:
    """Every operation of S3 on an object, an upload and a file that are all there."""

    def __init__(self, s3: S3, upload_id: str, file: Path) -> None:
        self.s3 = s3
        self._upload_id = upload_id
        self._fd = os.open(file, os.O_RDONLY)
        self._digest = digest(self._fd, 0, len(WHOLE), sha256=True)
        self._part = HeldPart(1, len(WHOLE), self._digest.etag)

    def close(self) -> None:
        os.close(self._fd)

    def body(self) -> FilePart:
        return FilePart(self._fd, 0, self._digest)

    async def read(self) -> None:
        async with self.s3.read(KEY) as (_, blocks):
            async for _ in blocks:
                pass

    def operations(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        s3, told = self.s3, {"content_type": "x", "metadata": {}}
        here = ObjectInfo(KEY, len(WHOLE), self._digest.etag)
        id_ = self._upload_id
        return {
            "head": lambda: s3.head(KEY),
            "page": lambda: s3.page(HOME),
            "put_bytes": lambda: s3.put_bytes(HOME + "few.ulg", b"few", **told),
            "put": lambda: s3.put(HOME + "new.ulg", self.body(), **told),
            "find": lambda: s3.find(KEY),
            "begin": lambda: multipart.begin(s3, HOME + "large.ulg", **told),
            "try_begin": lambda: trials.begin(s3, HOME + "big.ulg", encrypted=True),
            "try_put": lambda: trials.put(s3, HOME + "one.ulg", b"x"),
            "try_send_part": lambda: trials.send_part(s3, KEY, id_, b"x", zlib.crc32(b"x")),
            "try_send_false_part": lambda: trials.send_false_part(s3, KEY, id_, b"x"),
            "upload_part": lambda: multipart.upload_part(s3, KEY, id_, 1, self.body()),
            "parts": lambda: multipart.parts(s3, KEY, id_),
            "complete": lambda: multipart.complete(
                s3, KEY, id_, [self._part], crc32=None, size=len(WHOLE)
            ),
            "abort": lambda: multipart.abort(s3, KEY, id_),
            "uploads": lambda: multipart.uploads(s3, KEY),
            "uploads_below": lambda: multipart.uploads_below(s3, HOME),
            "stale_upload_rule": lambda: lifecycle.stale_upload_rule(s3, HOME),
            "copy": lambda: s3.copy(here, HOME + "copy.ulg", {}),
            "copy_part": lambda: multipart.copy_part(s3, here, KEY, id_, 1, range(len(WHOLE))),
            "delete": lambda: s3.delete(HOME + "gone.ulg"),
            "read": self.read,
        }


@pytest.fixture
async def bench(
    robot: Robot, chaos: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """A client in a hurry, on a link that may fall silent."""
    robot.put(KEY, WHOLE)
    file = tmp_path / "whole"
    file.write_bytes(WHOLE)
    opened = robot.cloud.create_multipart_upload(Bucket=BUCKET, Key=KEY)["UploadId"]
    settings = S3Settings(
        BUCKET,
        endpoint_url=chaos.url,
        timeout_s=SHORT_S,
        patience=Patience(stall_s=SHORT_S, answer_s=SHORT_S, watch_s=0.05),
        connections=32,
    )
    s3 = S3(settings, robot.service.tokens)
    made = Bench(s3, opened, file)
    yield made
    await s3.close()
    made.close()


def test_the_table_has_every_operation(bench: Bench) -> None:
    local = {
        "open",
        "close",
        "learn",
        "file_part",
        "from_settings",
        "apart",
    }  # no request of their own
    named = {name for name in dir(S3) if callable(getattr(S3, name)) and not name.startswith("_")}
    for module in (multipart, trials, lifecycle):
        named |= {
            name if module is not trials else f"try_{name}"
            for name, one in vars(module).items()
            if inspect.iscoroutinefunction(one) and not name.startswith("_")
        }

    assert named - local == set(bench.operations())


async def outcome(call: Awaitable[Any]) -> Any:
    """How it ended; ``"hangs"`` when it did not."""
    try:
        await asyncio.wait_for(call, HANGS_S)
    except asyncio.TimeoutError:
        return "hangs"
    except Exception as error:  # noqa: BLE001 - the test says which is right
        return error
    return "done"


async def outcomes(bench: Bench) -> dict[str, Any]:
    """All at once: each is bounded by itself."""
    operations = bench.operations()
    ended = await asyncio.gather(*(outcome(call()) for call in operations.values()))
    return dict(zip(operations, ended, strict=True))


SILENCES = {
    "the SYN is lost": Link.lose,
    "taken, never answered": Link.black_hole,
    "taken, never read": lambda chaos: chaos.stall_after(up=0, each=True),
    "in the request": lambda chaos: chaos.stall_after(up=100, each=True),
    "in the answer": lambda chaos: chaos.stall_after(down=30, each=True),
}
DRIPS = {"drips": lambda chaos: chaos.shape(Shape(down_bytes_s=20))}


@pytest.mark.guarantee(
    "links",
    "whatever is asked of S3, the peer falls silent: at connect, in the request, in the answer",
    "every operation ends in time and says offline",
)
@pytest.mark.parametrize("where", SILENCES)
async def test_every_operation_ends_when_the_peer_falls_silent(
    chaos: Link, bench: Bench, where: str
) -> None:
    SILENCES[where](chaos)

    ended = await outcomes(bench)

    assert {name: type(end) for name, end in ended.items()} == dict.fromkeys(ended, Offline)


async def test_every_operation_works_when_it_does_not(bench: Bench) -> None:
    """Else the table above would prove nothing."""
    operations = bench.operations()
    last = ["copy_part", "upload_part", "complete", "abort"]
    order = [*(operations.keys() - set(last)), *last]
    calls = bench.s3.server.calls
    calls.timeout_s, calls.patience = HANGS_S, Patience(stall_s=HANGS_S)

    ended = {name: await outcome(operations[name]()) for name in order}

    assert isinstance(ended.pop("complete"), Conflict)  # an object stands there
    assert set(ended.values()) == {"done"}


@pytest.mark.guarantee(
    "links",
    "S3 stops in the middle of an object that is downloaded",
    "the download ends in time and leaves no half file",
)
async def test_a_download_that_stalls_ends_and_leaves_nothing(robot: Robot, chaos: Link) -> None:
    await robot.restart(request_timeout=0.3)
    robot.service.objects.spread = lambda: 0.0
    robot.put(KEY, b"x" * PART)
    target = robot.tmp / "got" / "got.ulg"
    chaos.stall_after(down=PART // 2)
    watch = asyncio.create_task(until(lambda: chaos.down_bytes == PART // 2))
    watch.add_done_callback(lambda _: chaos.stall_after(down=30, each=True))

    ended = await outcome(robot.service.objects.download(KEY, target))

    assert watch.done()
    assert isinstance(ended, Offline)
    assert PART // 2 < chaos.down_bytes < PART // 2 + 10 * 30  # asked again, and silent again
    assert list(target.parent.iterdir()) == []


@pytest.mark.guarantee(
    "links",
    "the token service falls silent: at connect, in the request, in the answer, or drips",
    "the call ends in time and says so",
)
@pytest.mark.parametrize("where", {**SILENCES, **DRIPS})
async def test_the_token_service_is_not_waited_for_longer(robot: Robot, where: str) -> None:
    async with Link(robot.tokens.url) as chaos:
        {**SILENCES, **DRIPS}[where](chaos)
        tokens = TokenService(f"{chaos.url}/session-token", timeout_s=SHORT_S)
        ended = await asyncio.gather(*(outcome(tokens.get()) for _ in range(3)))
        await tokens.close()

    assert {type(end) for end in ended} == {S3CredentialsError}
    assert {end.code for end in ended} == {"token_service_down"}
    assert {end.message for end in ended} == {
        f"The token service at 127.0.0.1 cannot be reached (no answer within {SHORT_S} s)."
    }


@pytest.mark.guarantee(
    "links",
    "stopped while the peer is silent",
    "the service stops at once; the row waits where it was",
)
async def test_a_service_stops_though_the_peer_is_silent(robot: Robot, chaos: Link) -> None:
    chaos.stall_after(up=1_000_000)
    service = await robot.run()
    row = await robot.land(size=PART)
    await until(lambda: chaos.up_bytes == 1_000_000)

    ended = await outcome(service.stop())

    assert ended == "done"
    assert robot.sql("SELECT state, attempts FROM log") == [("queued", 0)]
    await robot.open()
    chaos.heal()
    robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_a_part_that_is_cancelled_sends_no_more(
    robot: Robot, chaos: Link, times: int
) -> None:
    """Not what the buffer of its connection holds either, however often it is cancelled."""
    chaos.stall_after(up=1_000_000)
    with robot.write("big.bag", PART).open("rb") as file:
        window = FilePart(file.fileno(), 0, digest(file.fileno(), 0, PART, sha256=True))
        sent = asyncio.ensure_future(multipart.upload_part(robot.service.s3, KEY, "id", 1, window))
        await until(
            lambda: window.transport is not None and window.transport.get_write_buffer_size()
        )
        way = window.transport
        assert way is not None
        for _ in range(times):
            sent.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(sent, return_exceptions=True)
        await until(way.is_closing)
        assert way.get_write_buffer_size() == 0
