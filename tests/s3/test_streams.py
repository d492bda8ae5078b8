"""Bodies that come and go piece by piece: memory is flat, and what has come whole is safe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import disks
import pytest
from robot import HOME, until
from wired import KEY, MIB, PART, Wired, noise, settings, wired_up

from petal_s3.demo.faults import Answer, Fault, refusal
from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.errors import Conflict, LocalStorageError, NotAFlightLog, S3FileNotFoundError
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.intake import receive, spool
from petal_s3.outbox import copies, entering, queries
from petal_s3.outbox.outbox import Outbox

HERE = Path(__file__).parent
SMALL = 300_000


def log_bytes(tmp: Path, size: int = SMALL, seed: int = 0, suffix: str = ".ulg") -> bytes:
    path = tmp / f"made{suffix}"
    (write_ulog if suffix == ".ulg" else write_bag)(path, size, seed=seed)
    return path.read_bytes()


async def pieces(body: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


def spooled(tmp: Path) -> list[str]:
    """The copies; each is whole or a part of one, and what describes it goes with it."""
    names = {path.name for path in (tmp / "state" / "spool").iterdir()}
    notes = {name for name in names if name.endswith(".about")}
    assert all(note[1 : -len(".about")] in names for note in notes)
    return sorted(names - notes)


async def rows(wired: Wired) -> list[Any]:
    return await wired.service.outbox(queries.rows)


async def assert_nothing_is_left(wired: Wired) -> None:
    assert spooled(wired.tmp) == []
    assert await rows(wired) == []
    assert wired.things == {}


@contextlib.asynccontextmanager
async def draining(wired: Wired) -> AsyncIterator[S3BucketProxy]:
    """The service drains by itself."""
    wired.service.drainer.timing.spread = lambda: 0.05
    await wired.service.start(watch=False)
    yield wired.proxy


# -- in


@pytest.mark.parametrize("suffix", [".ulg", ".bag"])
@pytest.mark.parametrize("size", [1, 63, 50_000, 1 << 30])
async def test_a_log_that_comes_in_pieces_arrives_byte_identical(
    wired: Wired, size: int, suffix: str
) -> None:
    body = log_bytes(wired.tmp, 20_000 if size == 1 else SMALL, suffix=suffix)
    async with draining(wired) as proxy:
        answer = await proxy.stream_upload(pieces(body, size), f"flight{suffix}")

    assert answer["success"] is True
    assert answer["file_size"] == len(body)
    assert wired.things[answer["s3_key"]].body == body
    await until(lambda: spooled(wired.tmp) == [])


async def test_a_stream_goes_to_the_key_that_was_asked_for(wired: Wired) -> None:
    body = log_bytes(wired.tmp)
    async with draining(wired) as proxy:
        answer = await proxy.stream_upload(pieces(body), "flight.ulg", custom_s3_key=KEY)

    assert answer["s3_key"] == KEY
    assert wired.things[KEY].body == body


async def process(wired: Wired, path: Path, stop_at: int = 0, **more: Any) -> Process:
    given = settings(wired.server, wired.link.url, wired.tmp, **more)
    given |= {"state_dir": str(wired.tmp / "theirs")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "streamer.py"),
        json.dumps(given),
        str(path),
        str(stop_at),
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )


async def says(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    return told


async def test_memory_is_flat_whatever_the_size_of_a_stream(wired: Wired) -> None:
    path = wired.tmp / "large.ulg"
    write_ulog(path, 64 * MIB)
    wired.server.mind.keep = False
    streaming = await process(wired, path)

    told = await says(streaming)
    await streaming.wait()

    assert told["answer"]["file_size"] == 64 * MIB
    assert told["grown"] < 24 * MIB


@pytest.mark.guarantee(
    "device",
    "killed after a streamed log was accepted, while the link is down",
    "the next process sends it, byte-identical",
)
async def test_a_stream_that_was_accepted_survives_a_kill(wired: Wired) -> None:
    path = wired.tmp / "flight.ulg"
    write_ulog(path, PART + 1000)
    wired.link.cut()
    streaming = await process(wired, path, request_timeout=1)
    told = await says(streaming)
    streaming.send_signal(signal.SIGKILL)
    await streaming.wait()
    assert told["answer"]["status"] == 503
    wired.link.heal()

    given = settings(wired.server, wired.link.url, wired.tmp, state_dir=wired.tmp / "theirs")
    proxy = S3BucketProxy(**given)
    row = await proxy.wait(told["answer"]["id"])
    await proxy.stop()

    assert row["state"] == "verified"
    assert wired.things[row["key"]].body == path.read_bytes()
    assert list((wired.tmp / "theirs" / "spool").iterdir()) == []


@pytest.mark.guarantee(
    "device",
    "killed in the middle of a stream",
    "no row, nothing is sent; the half file is swept away",
)
async def test_a_kill_in_the_middle_of_a_stream_leaves_a_half_file_that_is_swept(
    wired: Wired,
) -> None:
    path = wired.tmp / "flight.ulg"
    write_ulog(path, PART)
    streaming = await process(wired, path, stop_at=3 * MIB)
    await says(streaming)
    streaming.send_signal(signal.SIGKILL)
    await streaming.wait()
    theirs = wired.tmp / "theirs" / "spool"
    (half,) = theirs.iterdir()
    assert half.stat().st_size > MIB

    given = settings(wired.server, wired.link.url, wired.tmp, state_dir=wired.tmp / "theirs")
    proxy = S3BucketProxy(**given)
    await proxy.start()
    await until(lambda: proxy.service.lock.held)
    assert await proxy.service.outbox(queries.rows) == []
    spool.sweep(theirs, await proxy.service.outbox(copies.needed), {}, 0.0, young_s=0)
    await proxy.stop()

    assert list(theirs.iterdir()) == []
    assert wired.things == {}


class Broken(Exception):
    """The caller's own trouble."""


@pytest.mark.parametrize("after", [0, 10, 100, 3 * MIB])
async def test_an_iterator_that_breaks_off_leaves_nothing(wired: Wired, after: int) -> None:
    body = log_bytes(wired.tmp, PART)

    async def breaks() -> AsyncIterator[bytes]:
        if after:
            yield body[:after]
        raise Broken

    with pytest.raises(Broken):
        await wired.proxy.stream_upload(breaks(), "flight.ulg")

    await assert_nothing_is_left(wired)


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_a_caller_that_is_cancelled_in_a_stream_leaves_nothing_or_a_whole_log(
    wired: Wired, steps: int
) -> None:
    """Whenever: also while a thread writes, renames, or enters the row."""
    body = log_bytes(wired.tmp, 3 * MIB)
    came = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal came
        for at in range(0, len(body), MIB):
            yield body[at : at + MIB]
            came += 1

    work = asyncio.create_task(wired.service.receive(counted(), "flight.ulg"))
    await until(lambda: came >= min(3, steps // 6) or work.done())
    for _ in range(steps):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    found = await rows(wired)
    assert len(spooled(wired.tmp)) == len(found) <= 1
    if found:
        assert Path(found[0].path).read_bytes() == body


@pytest.mark.guarantee(
    "device",
    "who streams a log in is cancelled while its row is entered",
    "the row and its file stay together; the log is sent",
)
async def test_a_caller_that_is_cancelled_while_the_row_is_entered_has_entered_it(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = log_bytes(wired.tmp)
    begun, may_end = threading.Event(), threading.Event()
    enqueue = entering.enqueue

    def slow(box: Outbox, entry: Any) -> Any:
        begun.set()
        may_end.wait(30)
        return enqueue(box, entry)

    monkeypatch.setattr(entering, "enqueue", slow)
    work = asyncio.create_task(wired.service.receive(pieces(body), "flight.ulg"))
    await until(begun.is_set)
    work.cancel()
    await asyncio.sleep(0.05)  # time enough to remove what must stay
    may_end.set()
    await asyncio.gather(work, return_exceptions=True)

    (row,) = await rows(wired)
    row = await wired.bring(row.id)
    assert (row.state, row.reason) == ("verified", "")
    assert wired.things[row.key].body == body


async def test_a_stream_that_stops_coming_is_a_408_and_leaves_nothing(tmp_path: Path) -> None:
    body = log_bytes(tmp_path, 2 * MIB)

    async def stops() -> AsyncIterator[bytes]:
        yield body[: MIB + 1]
        await asyncio.Event().wait()

    async with wired_up(tmp_path, request_timeout=0.3) as wired:
        answer = await wired.proxy.stream_upload(stops(), "flight.ulg")

        assert (answer["status"], answer["code"]) == (408, "body_stalled")
        await assert_nothing_is_left(wired)


@pytest.mark.guarantee(
    "device", "the disk is full while a log streams in", "507; nothing is left, the row neither"
)
@pytest.mark.parametrize("step", ["write", "row"])
async def test_a_full_disk_is_a_507_and_leaves_nothing(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = log_bytes(tmp_path, 3 * MIB)
    with disks.small(tmp_path / "small", "8m") as disk:
        async with wired_up(tmp_path, state_dir=disk / "state") as wired:
            if step == "write":
                disks.fill(disk)
            else:
                with monkeypatch.context() as patch:
                    patch.setattr(entering, "enqueue", _disk_full)
                    answer = await wired.proxy.stream_upload(pieces(body), "flight.ulg")
            if step == "write":
                answer = await wired.proxy.stream_upload(pieces(body), "flight.ulg")
                disks.free(disk)

            assert (answer["status"], answer["code"]) == (507, "storage_full")
            assert list((disk / "state" / "spool").iterdir()) == []
            assert await rows(wired) == []
            row = await wired.service.receive(pieces(body), "flight.ulg")
            assert Path(row.path).read_bytes() == body


def _disk_full(*_: object) -> None:
    raise LocalStorageError("There is no space left in the state directory.")


@pytest.mark.parametrize(
    ("begins", "name", "code"),
    [
        (b"<html>" + bytes(1000), "flight.ulg", "bad_magic"),
        (b"#ROSBAG V2.0\n" + bytes(1000), "flight.ulg", "type_mismatch"),
        (b"ULog\x01\x12\x35" + bytes(1000), "flight.bag", "type_mismatch"),
        (bytes(1000), "flight.bag", "zero_filled"),
        (b"x" * 1000, "notes.txt", "extension"),
        (b"x" * 1000, "", "bad_name"),
        (b"x" * 1000, "..", "extension"),
        (b"x" * 1000, "a\0.ulg", "bad_path"),
        (b"x" * 1000, "\udcff.ulg", "bad_name"),
        (b"x" * 1000, "n" * 300 + ".ulg", "bad_name"),
    ],
)
async def test_what_is_no_log_is_refused_without_taking_the_rest(
    wired: Wired, begins: bytes, name: str, code: str
) -> None:
    came = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal came
        while True:
            came += 1
            yield begins
            await asyncio.sleep(0)

    answer = await wired.proxy.stream_upload(endless(), name)

    assert answer["code"] == code
    assert 400 <= answer["status"] < 500
    assert came <= 1
    await assert_nothing_is_left(wired)


async def test_a_stream_beyond_the_limit_is_a_413_and_not_taken(tmp_path: Path) -> None:
    body = log_bytes(tmp_path, 3 * MIB)
    async with wired_up(tmp_path, max_file_size=2 * MIB) as wired:
        answer = await wired.proxy.stream_upload(pieces(body), "flight.ulg")

        assert (answer["status"], answer["code"]) == (413, "too_large")
        await assert_nothing_is_left(wired)


@pytest.mark.parametrize("body", [b"", b"U"])
async def test_a_stream_that_holds_nothing_is_refused(wired: Wired, body: bytes) -> None:
    with pytest.raises(NotAFlightLog):
        await wired.service.receive(pieces(body), "flight.ulg")

    await assert_nothing_is_left(wired)


@pytest.mark.parametrize("name", ["../../etc/flight.ulg", "a/b/flight.ulg", "/etc/flight.ulg"])
async def test_a_name_with_folders_is_its_last_part(wired: Wired, name: str) -> None:
    body = log_bytes(wired.tmp)
    async with draining(wired) as proxy:
        answer = await proxy.stream_upload(pieces(body), name)

    assert answer["s3_key"].startswith(HOME)
    assert answer["s3_key"].endswith("_flight.ulg")
    assert answer["s3_key"].count("/") == HOME.count("/")


@pytest.mark.parametrize("name", ["a/b.ulg", "/b.ulg", "b.ulg/"])
async def test_a_name_with_folders_is_refused_by_the_service(wired: Wired, name: str) -> None:
    body = log_bytes(wired.tmp)
    for told in (name, lambda: name):
        with pytest.raises(NotAFlightLog):
            await wired.service.receive(pieces(body), told)

    await assert_nothing_is_left(wired)


async def test_the_same_bytes_streamed_at_once_are_one_object(wired: Wired) -> None:
    body = log_bytes(wired.tmp, PART + 1000)
    async with draining(wired) as proxy:
        answers = await asyncio.gather(
            *(proxy.stream_upload(pieces(body), "flight.ulg") for _ in range(4))
        )

    assert [answer.get("success") for answer in answers] == [True] * 4
    assert list(wired.things) == list({answer["s3_key"] for answer in answers})
    await until(lambda: spooled(wired.tmp) == [])
    assert wired.server.mind.uploads == {}


async def test_the_same_bytes_streamed_again_are_the_same_row(wired: Wired) -> None:
    body = log_bytes(wired.tmp)
    first = await wired.service.receive(pieces(body), "flight.ulg")

    again = await wired.service.receive(pieces(body), "flight.ulg")

    assert again.id == first.id
    assert spooled(wired.tmp) == [Path(first.path).name]


async def test_a_caller_that_is_cancelled_while_a_whole_stream_is_sent_does_not_lose_it(
    wired: Wired,
) -> None:
    """Nobody else may have it."""
    body = log_bytes(wired.tmp)
    waiting = asyncio.create_task(wired.proxy.stream_upload(pieces(body), "flight.ulg"))
    found = []
    while not found:
        await asyncio.sleep(0.01)
        found = await rows(wired)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    row = await wired.bring(found[0].id)
    assert row.state == "verified"
    assert wired.things[row.key].body == body


@pytest.mark.guarantee(
    "device",
    "the spool is swept while a log streams in slowly",
    "what is still written to is spared",
)
async def test_a_sweep_spares_a_slow_stream(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second stands for ten minutes."""
    monkeypatch.setattr(receive, "GATHERED_S", 0.05)
    body = log_bytes(wired.tmp, MIB + 20_000)
    place = wired.tmp / "state" / "spool"
    swept = 0
    seen: spool.Seen = {}

    async def slow() -> AsyncIterator[bytes]:
        nonlocal swept
        begun = time.monotonic()
        yield body[:MIB]
        for at in range(MIB, len(body), 1000):
            yield body[at : at + 1000]
            await asyncio.sleep(0.1)
            spool.sweep(place, [], seen, time.monotonic(), young_s=1.0)
            swept += time.monotonic() - begun > 1.2

    row = await wired.service.receive(slow(), "flight.ulg")

    assert swept > 1
    assert Path(row.path).read_bytes() == body


# -- given up


@pytest.mark.guarantee(
    "orphans",
    "a caller gives an upload up, at any part",
    "no multipart upload stays open, nothing more is sent",
)
@pytest.mark.parametrize("parts", [0, 1, 2])
async def test_an_upload_that_is_given_up_leaves_no_open_upload(wired: Wired, parts: int) -> None:
    path = wired.tmp / "logs" / "flight.ulg"
    path.parent.mkdir()
    write_ulog(path, 4 * PART)
    wired.server.always("UploadPart", Fault("slow", delay_s=0.1))
    async with draining(wired) as proxy:
        upload = asyncio.create_task(proxy.upload_file(path))
        await until(lambda: len(wired.asked("UploadPart")) > parts)

        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)

        await until(lambda: wired.server.mind.uploads == {})
        (row,) = await rows(wired)
        assert row.state == "cancelled"
    assert wired.things == {}


@pytest.mark.guarantee(
    "orphans",
    "two callers wait for one upload, one of them gives it up",
    "it goes on for the other",
)
@pytest.mark.threat("sibling")
async def test_a_caller_that_gives_an_upload_up_does_not_take_it_from_another(wired: Wired) -> None:
    path = wired.tmp / "logs" / "flight.ulg"
    path.parent.mkdir()
    write_ulog(path, 3 * PART)
    wired.server.always("UploadPart", Fault("slow", delay_s=0.1))
    async with draining(wired) as proxy:
        one, other = (asyncio.create_task(proxy.upload_file(path)) for _ in range(2))
        await until(lambda: len(wired.asked("UploadPart")) > 1)

        one.cancel()
        answer = await other

    assert answer.get("success") is True
    assert wired.things[answer["s3_key"]].body == path.read_bytes()


# -- out


@pytest.mark.parametrize("size", [1, 1000, 65_536, 300_000, 10 * MIB])
async def test_a_body_is_read_in_pieces_of_any_size(wired: Wired, size: int) -> None:
    body = wired.put(KEY, noise(10_000 if size == 1 else 3 * MIB))
    found = []
    async with await wired.proxy.get_streaming_body(KEY) as streaming:
        assert streaming.content_length == len(body)
        while block := await streaming.read(size):
            assert len(block) == size or sum(map(len, found)) + len(block) == len(body)
            found.append(block)
        assert await streaming.read() == b""

    assert b"".join(found) == body
    assert wired.ops() == ["GetObject"]


async def test_a_body_is_read_and_iterated_over_by_turns(wired: Wired) -> None:
    body = wired.put(KEY, noise(3 * MIB))
    async with await wired.proxy.get_streaming_body(KEY) as streaming:
        found = await streaming.read(10)
        assert await streaming.read(0) == b""
        found += await streaming.next_block()
        found += await streaming.read(MIB)
        async for block in streaming:
            found += block

    assert found == body


@pytest.mark.guarantee(
    "links",
    "a streamed download is cut again and again",
    "it goes on where it was cut; each byte comes once",
)
async def test_a_streamed_body_goes_on_through_breaks(wired: Wired) -> None:
    body = wired.put(KEY, noise(4 * MIB))
    wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB), times=3)

    found = b"".join([block async for block in wired.proxy.stream_download(KEY)])

    assert found == body
    assert len(wired.asked("GetObject")) == 4


async def test_two_versions_are_never_mixed_in_a_stream(wired: Wired) -> None:
    wired.put(KEY, noise(4 * MIB))

    def replaced(answer: Answer) -> Answer:
        wired.put(KEY, noise(4 * MIB, seed=1))
        return answer

    wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB, twist=replaced))

    with pytest.raises(Conflict, match="replaced"):
        async for _ in wired.proxy.stream_download(KEY):
            pass


@pytest.mark.guarantee(
    "answers",
    "many streamed bodies are closed before their end",
    "every connection comes back; the next request works",
)
async def test_bodies_that_are_closed_early_give_their_connections_back(wired: Wired) -> None:
    wired.put(KEY, noise(3 * MIB))
    for _ in range(20):
        body = await wired.proxy.get_streaming_body(KEY)
        await body.read(1000)
        await body.close()
        await body.close()

    assert len(await wired.proxy.get_file_range(KEY, 0, 9)) == 10
    await until(lambda: len(wired.link.open) <= 2)


async def test_a_stream_that_is_left_early_gives_its_connection_back(wired: Wired) -> None:
    wired.put(KEY, noise(3 * MIB))
    for _ in range(20):
        stream = wired.proxy.stream_download(KEY)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]

    assert len(await wired.proxy.get_file_range(KEY, 0, 9)) == 10


async def test_a_body_of_what_is_not_there_raises(wired: Wired) -> None:
    with pytest.raises(S3FileNotFoundError):
        await wired.proxy.get_streaming_body(KEY)
    wired.server.plan("GetObject", Fault("no", say=refusal(403, "AccessDenied")), times=3)
    with pytest.raises(Exception, match="does not allow it to this machine"):
        await wired.proxy.get_streaming_body(KEY)
