"""What a server offers is learnt with a byte at one temporary key, kept, and asked again daily."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from robot import BUCKET, DROP, HOME, MACHINE, PART, SMALL, THREE_PARTS, LogStore, until

from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.faults import Answer, Fault, refusal
from petal_s3.demo.ledger import Request
from petal_s3.intake.flight_state import CONFIRMATIONS
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.s3.capabilities import ASK_AGAIN_S, Capabilities
from petal_s3.service.service import Service
from tests.support.personality import Personality
from tests.support.server import FaultServer

TRIAL = f"{HOME}tmp/capabilities"
BODIES = {"PutObject", "UploadPart"}
# One server of each kind that takes the trial another way.
ODD = (
    "good",
    "body-checksum=400 InvalidArgument",
    "full-checksum=400 InvalidRequest",
    "complete-checksum=400 BadDigest",
    "put-condition=ignored + complete-condition=501",
    "joined-etag=hex-n + put-etag=opaque",
    "prompt-reads=HEAD 25",
    "deletion=403 AccessDenied",
    "list-uploads=501 NotImplemented",
)


class Cut(FaultServer):
    """After so many requests on the bucket more the link is dead: the answer to the last is lost.

    Below 0 it lives. ``becomes``: an operation, and what the server is from its first request on.
    """

    left = -1
    becomes = ("", "")

    def _fault(self, asked: Any) -> Fault:
        if asked.op == self.becomes[0]:
            self.mind.personality = Personality.of(self.becomes[1])
        if self.left < 0:
            return super()._fault(asked)
        self.left -= 1
        if self.left == 0:
            return Fault("deaf", deaf=True)
        if self.left < 0:
            self.left = 0
            return Fault("drop", drop=True)
        return super()._fault(asked)


class Ahead:
    """The date of server and device, s since 1970: ``by_s`` ahead of that of this machine."""

    by_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.by_s


class Drone:
    """A service that learns, on a fault server whose clock a test sets; it drains by steps."""

    def __init__(self, server: Cut, tmp: Path, store: LogStore, date: Ahead) -> None:
        self.server = server
        self.logs = tmp / "logs"
        self.date = date
        self._state = tmp / "state"
        self._shelf = store
        self._services: list[Service] = []

    @property
    def service(self) -> Service:
        return self._services[-1]

    async def open(self, **settings: Any) -> None:
        """A new process on the outbox."""
        self.logs.mkdir(exist_ok=True)
        loaded = load_settings(
            **{
                "bucket_name": BUCKET,
                "session_token_url": self.server.token_url,
                "endpoint_url": self.server.url,
                "machine_id": MACHINE,
                "state_dir": self._state,
                "log_dirs": str(self.logs),
                "settle_seconds": 0,
                "part_size": PART,
                "concurrency": 2,
                **settings,
            }
        )
        service = Service(loaded, wall=self.date)
        service.drainer.timing.spread = lambda: 0.0
        self._services.append(service)
        await service.open()
        await service.outbox(transitions.release_claims)

    async def restart(self, **settings: Any) -> None:
        await self.service.stop()
        await self.open(**settings)

    async def close(self) -> None:
        for service in self._services:
            await service.stop()

    async def land(self, name: str = "flight.ulg", size: int = SMALL, seed: int = 0) -> Row:
        self._shelf.copy(self.logs / name, size, seed)
        return await self.service.enqueue(self.logs / name)

    async def attempt(self, row: Row) -> Row:
        """One attempt, whatever was to be waited for."""
        await self.service.drainer.pause.retry_now()
        assert await self.service.drainer.step()
        return await self.service.outbox(queries.get, row.id)

    async def bring(self, row: Row, attempts: int = 6) -> Row:
        """Make attempts until it is proven, at most so many, and compare object and file."""
        for _ in range(attempts):
            row = await self.service.outbox(queries.get, row.id)
            if row.settled:
                break
            row = await self.attempt(row)
        assert (row.state, row.reason) == ("verified", "")
        assert self.server.mind.things[row.key].body == Path(row.path).read_bytes()
        return row

    async def learnt(self) -> Capabilities:
        """What is known after a first log."""
        await self.bring(await self.land("first.ulg", seed=99))
        return self.service.s3.capabilities

    def since(self, mark: int) -> list[Request]:
        """What the server saw after so many requests."""
        return self.server.ledger.requests()[mark:]

    @property
    def mark(self) -> int:
        return len(self.server.ledger.requests())

    def trial(self, mark: int = 0) -> list[Request]:
        """The requests that were only trials."""
        return [one for one in self.since(mark) if one.key == TRIAL]

    def sent(self, row: Row) -> int:
        """Bytes of bodies of one log."""
        return sum(
            one.body_bytes for op in BODIES for one in self.server.ledger.requests(op, row.key)
        )

    def nothing_is_left(self) -> bool:
        mind = self.server.mind
        open_keys = {upload.key for upload in mind.uploads.values()}
        return TRIAL not in mind.things and TRIAL not in open_keys


@pytest.fixture
async def drone(tmp_path: Path, store: LogStore) -> AsyncIterator[Drone]:
    ahead = Ahead()
    async with Cut(now=ahead, keep=True) as server:
        made = Drone(server, tmp_path, store, ahead)
        await made.open()
        yield made
        server.left = -1
        await made.close()


def be(drone: Drone, odd: str) -> None:
    """From now on the server is such a one."""
    drone.server.mind.personality = Personality.of(odd)


# -- the trial


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.guarantee(
    "refusals",
    "nothing is known of a server: what it offers is tried before the first log",
    "with no body of more than a byte, before any byte of a log; and nothing of it is left",
)
async def test_a_trial_costs_a_byte_at_a_time_and_leaves_nothing(drone: Drone, odd: str) -> None:
    be(drone, odd)
    row = await drone.bring(await drone.land(size=THREE_PARTS))

    bodies = [one for one in drone.server.ledger.requests() if one.op in BODIES]
    tried = [one for one in bodies if one.key == TRIAL]
    assert tried == bodies[: len(tried)]  # the log's own come after
    assert {one.body_bytes for one in tried} == {1}
    assert drone.sent(row) == row.size
    assert drone.nothing_is_left()


@pytest.mark.parametrize(
    ("odd", "lacking"),
    [
        ("good", set()),
        ("body-checksum=400 InvalidArgument", {"body_checksums"}),
        ("full-checksum=400 InvalidRequest", {"full_checksums"}),
        ("full-checksum=ignored", {"full_checksums"}),
        ("complete-checksum=400 BadDigest", {"full_checksums"}),
        ("put-condition=ignored", {"put_condition"}),
        ("put-condition=412 PreconditionFailed", {"put_condition"}),
        ("complete-condition=501", {"complete_condition"}),
        ("complete-condition=ignored", {"complete_condition"}),
        ("put-etag=opaque", {"md5_etags"}),
        ("part-etag=opaque", {"part_etags"}),
        ("joined-etag=hex-n", {"joined_etags"}),
        ("joined-etag=hex-n + part-checksum=unchecked", {"joined_etags", "checked_checksums"}),
        ("head-checksum=400", {"told_checksums"}),
        ("prompt-reads=HEAD 25", {"prompt_reads"}),
        ("deletion=403 AccessDenied", {"deletion"}),
    ],
)
async def test_what_a_server_lacks_is_learnt_and_nothing_else(
    drone: Drone, odd: str, lacking: set[str]
) -> None:
    be(drone, odd)

    known = await drone.learnt()

    assert {feature for feature, _ in known.missing()} == lacking


@pytest.mark.guarantee(
    "refusals",
    "a server stops to heed If-None-Match in the middle of the trial that saw it heeded",
    "where one operation is seen to ignore it, the other is tried once more",
)
async def test_a_condition_that_is_lost_in_the_middle_of_a_trial_is_not_believed(
    drone: Drone,
) -> None:
    ignored = "put-condition=ignored + complete-condition=ignored"
    drone.server.becomes = ("CompleteMultipartUpload", ignored)  # PutObject was tried before

    known = await drone.learnt()

    assert {"put_condition", "complete_condition"} <= {one for one, _ in known.missing()}


@pytest.mark.guarantee(
    "device",
    "the link dies, and the process with it, at any request of a trial",
    "the next process tries anew, brings the log, and leaves nothing of either trial",
)
async def test_a_trial_that_was_cut_leaves_nothing(drone: Drone) -> None:
    row = await drone.land()
    await drone.attempt(row)
    whole = len(drone.trial())
    assert whole > 8
    for number in range(1, drone.mark + 1):
        await drone.restart()
        await forget(drone)
        drone.server.left = number
        mark = drone.mark

        await drone.attempt(await drone.land(f"{number}.ulg", seed=number))
        await drone.restart()  # what is left is found by what the outbox and the bucket know
        drone.server.left = -1
        await drone.bring(await of(drone, f"{number}.ulg"))

        asked = " ".join(f"{one.op}:{one.status}" for one in drone.since(mark))
        assert drone.nothing_is_left(), asked


async def forget(drone: Drone) -> None:
    """As if nothing had ever been learnt."""
    await drone.service.outbox(
        lambda box: box.sql.change("DELETE FROM fact WHERE name LIKE 'capabilities %'")
    )
    drone.service.s3.server.capabilities = Capabilities()


async def of(drone: Drone, name: str) -> Row:
    return await drone.service.enqueue(drone.logs / name)


async def test_a_process_that_is_stopped_in_a_trial_leaves_nothing(drone: Drone) -> None:
    for op in ("CreateMultipartUpload", "UploadPart", "PutObject", "HeadObject"):
        await forget(drone)
        drone.server.plan(op, Fault("hang", hang=True))
        row = await drone.land(f"{op}.ulg", seed=len(op))
        mark = drone.mark
        step = asyncio.create_task(drone.service.drainer.step())
        await until(lambda op=op, mark=mark: any(one.op == op for one in drone.trial(mark)))
        step.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await step

        await drone.restart()
        await drone.bring(row)

        assert drone.nothing_is_left(), op


@pytest.mark.guarantee(
    "refusals",
    "what a server offers is known from a process before, or a day old",
    "it is not asked again within a day; after a day it is, and what changed is learnt",
)
async def test_what_was_learnt_lasts_a_day(drone: Drone) -> None:
    known = await drone.learnt()
    mark = drone.mark

    await drone.restart()
    assert drone.service.s3.capabilities == known
    drone.date.by_s += ASK_AGAIN_S - 600
    await drone.bring(await drone.land("second.ulg", seed=2))
    assert [one.op for one in drone.trial(mark)] == ["HeadObject"]  # what time S3 has
    mark = drone.mark

    drone.date.by_s += 1200
    be(drone, "full-checksum=ignored")
    for seed in (3, 4):  # an answer tells the time
        await drone.bring(await drone.land(f"{seed}.ulg", seed=seed))
    assert drone.trial(mark) != []
    assert drone.service.s3.capabilities.lacks("full_checksums")
    assert drone.nothing_is_left()

    mark = drone.mark
    await drone.restart()
    await drone.bring(await drone.land("last.ulg", seed=5))
    assert [one.op for one in drone.trial(mark)] == ["HeadObject"]


@pytest.mark.guarantee(
    "refusals",
    "a body is refused for an option, and something on the way answers the trial that follows",
    "the trial comes to its end before another body travels",
)
async def test_a_refused_body_waits_until_the_server_was_tried(drone: Drone) -> None:
    await drone.learnt()
    be(drone, "put-condition=400 InvalidArgument")
    row = await drone.land()
    for _ in range(3):
        drone.server.plan("ListMultipartUploads", Fault("portal-empty", say=Answer(200)))

    for _ in range(3):
        row = await drone.attempt(row)
        assert drone.sent(row) == row.size
    await drone.bring(row)

    assert drone.sent(row) == 2 * row.size
    assert drone.service.s3.capabilities.lacks("put_condition")


async def test_a_trial_that_one_odd_answer_ended_is_made_once_more(drone: Drone) -> None:
    await drone.learnt()
    be(drone, "put-condition=400 InvalidArgument")
    drone.server.plan("ListMultipartUploads", Fault("no", say=refusal(400, "RequestTimeout")))

    row = await drone.bring(await drone.land())

    assert drone.sent(row) == 2 * row.size
    assert drone.service.s3.capabilities.lacks("put_condition")


@pytest.mark.guarantee(
    "refusals",
    "something on the way answers in place of S3 whether it refuses to overwrite",
    "that is left open: no condition is given up for it",
)
@pytest.mark.parametrize("body", [b"welcome", b"<Hello/>"])
async def test_an_answer_that_names_nothing_shows_nothing_of_a_condition(
    drone: Drone, body: bytes
) -> None:
    drone.server.plan("CompleteMultipartUpload", Fault())
    drone.server.plan("CompleteMultipartUpload", Fault("text", say=Answer(200, body)))

    known = await drone.learnt()

    assert not known.lacks("complete_condition")


@pytest.mark.guarantee(
    "refusals",
    "one odd answer comes to the trial of a condition: BadDigest, where no digest was sent",
    "it is asked twice: no condition is given up for one answer",
)
@pytest.mark.parametrize("op", ["PutObject", "CompleteMultipartUpload"])
async def test_one_refusal_is_not_enough_to_give_a_condition_up(drone: Drone, op: str) -> None:
    be(drone, "full-checksum=400 InvalidRequest + body-checksum=501 NotImplemented")
    drone.server.plan(op, Fault("no", say=refusal(400, "BadDigest")))

    known = await drone.learnt()

    assert known.offers("put_condition")
    assert known.offers("complete_condition")


@pytest.mark.guarantee(
    "refusals",
    "S3 is in trouble while a condition or a checksum is tried, and well when it is left out",
    "nothing is given up for that, and logs arrive meanwhile",
)
@pytest.mark.parametrize("op", ["PutObject", "CompleteMultipartUpload"])
async def test_trouble_that_ends_when_an_option_is_left_out_shows_nothing(
    drone: Drone, op: str
) -> None:
    for _ in range(2):
        drone.server.plan(op, Fault("trouble", say=refusal(500, "InternalError")))

    known = await drone.learnt()
    await drone.bring(await drone.land(seed=5))

    assert list(known.missing()) == []
    assert drone.nothing_is_left()


@pytest.mark.guarantee(
    "refusals",
    "a server no longer refuses to overwrite, and the trial that shows it is cut off half-way",
    "each key is looked at before it is used, and the next process tries the rest",
)
async def test_a_trial_that_is_owed_outlives_its_process(drone: Drone) -> None:
    await drone.learnt()
    be(drone, "put-condition=ignored + complete-condition=ignored")
    drone.server.plan("PutObject", Fault("no", say=refusal(400, "InvalidArgument")))
    for _ in range(4):
        drone.server.plan("AbortMultipartUpload", Fault("no", say=refusal(403, "AccessDenied")))
    row = await drone.attempt(await drone.land())
    known = drone.service.s3.capabilities
    assert row.state == "queued"
    assert known.lacks("put_condition")
    assert not known.offers("complete_condition"), "it was not tried again"

    await drone.restart()
    drone.server.heal()
    mark = drone.mark
    await drone.bring(row)

    assert [one.key for one in drone.since(mark)].count(TRIAL) > 8
    assert drone.service.s3.capabilities.lacks("complete_condition")


async def test_a_body_that_is_sent_during_a_trial_goes_by_what_was_known(drone: Drone) -> None:
    be(drone, "body-checksum=400 InvalidRequest")
    await drone.learnt()
    known = drone.service.s3.capabilities
    during: list[Capabilities] = []
    ask = drone.service.s3.server.calls.call

    async def noted(*args: Any, **more: Any) -> Any:
        during.append(drone.service.s3.capabilities)
        return await ask(*args, **more)

    drone.service.s3.server.calls.call = noted  # type: ignore[method-assign]
    assert not await drone.service.learner.again()

    assert len(during) > 10
    assert all(one.lacks("body_checksums") for one in during)
    assert drone.service.s3.capabilities.lacks("body_checksums")
    assert known.asked_at <= drone.service.s3.capabilities.asked_at


@pytest.mark.guarantee(
    "refusals",
    "a trial was begun by a refused body, and could not tell why it was refused",
    "the body goes once more without all that the server was not seen to offer, and no more",
)
async def test_after_a_trial_that_tells_nothing_one_body_more_is_enough(drone: Drone) -> None:
    await drone.learnt()
    asked_at = drone.service.s3.capabilities.asked_at
    drone.service.s3.server.capabilities = Capabilities(asked_at=asked_at)
    be(drone, "put-condition=400 InvalidArgument")
    for _ in range(2):  # with a checksum, and without
        drone.server.plan("UploadPart", Fault("no", say=refusal(400, "InvalidRequest")))

    row = await drone.bring(await drone.land())

    assert drone.sent(row) == 2 * row.size


@pytest.mark.guarantee(
    "refusals",
    "a server shows late what it stored, and says of each copy that its key is taken",
    "the copy is looked for, for as long as it may be shown late; then it is made without that",
)
async def test_a_copy_is_made_where_its_condition_only_seems_to_be_kept(drone: Drone) -> None:
    be(drone, "prompt-reads=HEAD 25")
    first = await drone.bring(await drone.land())
    be(drone, "copy-condition=412 PreconditionFailed + prompt-reads=HEAD 25")
    key = f"{HOME}records/1/again.ulg"

    row = await drone.service.enqueue(Path(first.path), key=key)
    row = await drone.attempt(row)
    assert (row.state, row.code) == ("queued", "not_yet_there")
    drone.date.by_s += 200
    row = await drone.bring(row)

    assert (row.key, drone.sent(row)) == (key, 0)
    assert drone.service.s3.capabilities.lacks("copy_condition")


@pytest.mark.guarantee(
    "refusals",
    "a server's ETags have another form than an hour ago",
    "it is tried again after two bodies at most, and what is there already is not sent again",
)
@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize("sums", ["", " + part-checksum=ignored + head-checksum=ignored"])
async def test_an_answer_that_contradicts_what_is_known_is_looked_into(
    drone: Drone, sums: str, size: int
) -> None:
    await drone.restart(concurrency=1)
    await drone.learnt()
    be(drone, f"put-etag=hex + part-etag=hex + joined-etag=hex-n{sums}")

    row = await drone.bring(await drone.land(size=size))

    assert drone.sent(row) <= size + (PART if sums and size > PART else 0)
    assert row.receipt is not None
    assert row.receipt.proof == ("read-back" if sums else "crc32")


@pytest.mark.guarantee(
    "refusals",
    "the same on a server that refuses the copy's condition, and the log's file is gone meanwhile",
    "it is copied from the proven object, as it would be from the file",
)
async def test_a_copy_whose_file_is_gone_is_made_all_the_same(drone: Drone) -> None:
    be(drone, "prompt-reads=HEAD 25")
    first = await drone.bring(await drone.land())
    be(drone, "copy-condition=412 PreconditionFailed + prompt-reads=HEAD 25")
    row = await drone.service.enqueue(Path(first.path), key=f"{HOME}records/1/again.ulg")
    body = drone.server.mind.things[first.key].body
    Path(first.path).unlink()

    row = await drone.attempt(row)
    assert (row.state, row.code) == ("queued", "not_yet_there")
    drone.date.by_s += 200
    for _ in range(3):
        if row.state == "queued":
            row = await drone.attempt(row)

    assert row.state == "verified"
    assert drone.server.mind.things[row.key].body == body
    assert drone.sent(row) == 0


@pytest.mark.guarantee(
    "refusals",
    "an upload is called gone at its first part, and ListParts is answered 200, without parts",
    "no part is sent into it again: the upload begins anew",
)
@pytest.mark.parametrize("then", ["", "ListParts", "AbortMultipartUpload"])
async def test_an_upload_that_was_called_gone_is_not_gone_on_with(drone: Drone, then: str) -> None:
    await drone.restart(concurrency=1)
    be(drone, "list-parts=gone: 200")
    await drone.learnt()
    row = await drone.land(size=THREE_PARTS)
    drone.server.plan("UploadPart", Fault("gone", say=refusal(404, "NoSuchUpload")))

    row = await drone.attempt(row)
    gone = row.upload_id
    drone.server.mind.uploads.clear()
    if then:  # a failure between that has another reason
        drone.server.plan(then, DROP)
        row = await drone.attempt(row)
    done = await drone.bring(row)

    asked = drone.server.ledger.requests("UploadPart", row.key)
    assert [one.upload_id for one in asked].count(gone) == 1
    assert drone.sent(done) <= row.size + PART


@pytest.mark.guarantee(
    "refusals",
    "a server begins to refuse an option just after it was tried",
    "it is tried again before the next body",
)
async def test_a_refusal_after_the_trial_owes_another_trial(drone: Drone) -> None:
    await drone.learnt()

    def turn(answer: Answer) -> Answer:
        be(drone, "put-condition=403 AccessDenied")
        return answer

    # The first body is refused for its checksum; when the trial has ended, for its condition.
    be(drone, "body-checksum=400 InvalidArgument")
    drone.server.plan("AbortMultipartUpload", Fault("turn", twist=turn))
    row = await drone.attempt(await drone.land())
    assert row.state == "queued"
    mark, sent = drone.mark, drone.sent(row)

    row = await drone.bring(row)

    bodies = [one for one in drone.since(mark) if one.op == "PutObject" and one.key == row.key]
    tried = [one for one in drone.since(mark) if one.key == TRIAL]
    assert len(bodies) == 1
    assert tried
    assert tried[0].started < bodies[0].started
    assert drone.sent(row) == sent + row.size


# -- encryption


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize(
    "how",
    [
        "400 InvalidArgument",
        "400",
        "501 NotImplemented",
        "500 InternalError",
        "403 AccessDenied",
        "ignored",
    ],
)
@pytest.mark.guarantee(
    "refusals",
    "the encryption of PETAL_S3_SSE is refused, with whatever status, or not confirmed",
    "not a byte of a log goes up; the drain is blocked and names the setting; mended, it goes on",
)
async def test_nothing_goes_up_unencrypted(drone: Drone, how: str, size: int) -> None:
    be(drone, f"encryption={how}")
    row = await drone.land(size=size)

    told = [await drone.attempt(row) for _ in range(2)]

    assert {(one.state, one.code) for one in told} == {("queued", "encryption")}
    assert all("PETAL_S3_SSE" in one.reason for one in told)
    block = drone.service.drainer.block
    assert block is not None
    assert block.code == "encryption"
    assert drone.sent(row) == 0
    assert drone.nothing_is_left()
    be(drone, "good")
    row = await drone.bring(row)
    assert drone.sent(row) == size
    assert drone.server.mind.things[row.key].headers["x-amz-server-side-encryption"] == "AES256"


async def test_without_encryption_wanted_none_is_missed(drone: Drone) -> None:
    be(drone, "encryption=500 InternalError")
    await drone.restart(sse="none")

    row = await drone.bring(await drone.land())

    assert (row.attempts, drone.sent(row)) == (1, row.size)


# -- how much is asked


@pytest.mark.guarantee(
    "refusals",
    "logs after the first, on a good server",
    "two requests for a log of one part; three and one for each part for a larger one",
)
async def test_a_log_costs_few_requests(drone: Drone) -> None:
    await drone.learnt()

    mark = drone.mark
    await drone.bring(await drone.land("small.ulg", MIB, seed=1))
    assert [one.op for one in drone.since(mark)] == ["PutObject", "HeadObject"]

    mark = drone.mark
    await drone.bring(await drone.land("large.ulg", THREE_PARTS, seed=2))
    assert sorted(one.op for one in drone.since(mark)) == sorted(
        ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload", "HeadObject"]
    )


@pytest.mark.guarantee(
    "refusals",
    "the bucket is missing, for many attempts and logs",
    "one body at most travels to learn it; when it is back all logs arrive",
)
async def test_no_bodies_go_into_a_bucket_that_is_missing(drone: Drone) -> None:
    await drone.learnt()
    drone.server.mind.exists = False
    rows = [await drone.land(f"{seed}.ulg", seed=seed) for seed in range(3)]
    mark = drone.mark

    for _ in range(9):
        await drone.service.drainer.pause.retry_now()
        await drone.service.drainer.step()

    bodies = [one.body_bytes for one in drone.since(mark) if one.op in BODIES]
    assert len(bodies) <= 1
    told = [await drone.service.outbox(queries.get, row.id) for row in rows]
    assert {row.state for row in told} == {"queued"}
    block = drone.service.drainer.block
    assert block is not None
    assert "PETAL_S3_BUCKET_NAME" in block.reason
    drone.server.mind.exists = True
    await drone.service.drainer.pause.retry_now()
    while await drone.service.drainer.step():
        pass
    told = [await drone.service.outbox(queries.get, row.id) for row in rows]
    assert {row.state for row in told} == {"verified"}


# -- what was stored wrong


def spoilt(drone: Drone, row: Row) -> Callable[[Answer], Answer]:
    """S3 confirms a log and keeps it with one wrong byte, as it would tell it itself."""

    def spoil(answer: Answer) -> Answer:
        thing = drone.server.mind.things[row.key]
        body = bytearray(thing.body)
        body[len(body) // 2] ^= 1
        etag = thing.etag[:-1] if "-" not in thing.etag else thing.etag
        other = f"{(int(etag[0], 16) + 1) % 16:x}{thing.etag[1:]}" if etag[0].isalnum() else etag
        wrong = replace(thing, body=bytes(body), crc32=zlib.crc32(body), etag=other)
        drone.server.mind.things[row.key] = wrong
        return answer

    return spoil


@pytest.mark.parametrize(
    ("op", "size"), [("PutObject", SMALL), ("CompleteMultipartUpload", THREE_PARTS)]
)
@pytest.mark.parametrize("odd", ["good", "joined-etag=hex-n + put-etag=hex + head-checksum=400"])
@pytest.mark.guarantee(
    "answers",
    "S3 stores a log with one wrong byte, and is well again",
    "it is found, by its words or by reading back; the log is stored over it and proven",
)
async def test_what_was_stored_wrong_is_replaced(
    drone: Drone, op: str, size: int, odd: str
) -> None:
    be(drone, odd)
    await drone.learnt()
    row = await drone.land(size=size)
    key = row.key
    drone.server.plan(op, Fault("spoilt", twist=spoilt(drone, row)))

    found = await drone.attempt(row)
    done = await drone.bring(row)

    assert (found.state, found.code) == ("queued", "mismatch")
    assert (done.key, done.state) == (key, "verified")
    assert done.receipt is not None
    assert done.receipt.proof == ("crc32" if odd == "good" else "read-back")
    assert drone.sent(done) == 2 * size
    assert drone.server.mind.uploads == {}


# -- reading back

SILENT = "put-etag=opaque + part-etag=opaque + joined-etag=opaque + head-checksum=ignored"
PIECE = 4 * MIB
LARGE = 2 * PIECE + 300_000


def ranges(drone: Drone, row: Row) -> list[str]:
    return [one.range for one in drone.server.ledger.requests("GetObject", row.key)]


WHOLE = [f"bytes=0-{PIECE - 1}", f"bytes={PIECE}-{2 * PIECE - 1}", f"bytes={2 * PIECE}-{LARGE - 1}"]


@pytest.mark.parametrize("new_process", [False, True])
@pytest.mark.guarantee(
    "answers",
    "a server tells nothing by which a log is proven, and the link is cut while it is read back",
    "it is read once, from where it was cut, also by another process; it is not sent again",
)
async def test_a_read_back_goes_on_where_it_was_cut(drone: Drone, new_process: bool) -> None:
    be(drone, SILENT)
    await drone.learnt()
    row = await drone.land(size=LARGE)
    drone.server.plan("GetObject", Fault())
    drone.server.plan("GetObject", Fault("cut", cut_answer_at=MIB))

    cut = await drone.attempt(row)
    if new_process:
        await drone.restart()
    done = await drone.bring(row)

    assert (cut.state, cut.code) == ("queued", "offline")
    assert ranges(drone, row) == [WHOLE[0], WHOLE[1], WHOLE[1], WHOLE[2]]
    assert drone.sent(row) == row.size
    assert done.receipt is not None
    assert done.receipt.proof == "read-back"


@pytest.mark.guarantee(
    "refusals",
    "the vehicle is armed while a log is read back",
    "not a byte is asked for until it is disarmed; then it goes on where it was",
)
async def test_a_read_back_keeps_to_the_flight_gate(drone: Drone) -> None:
    be(drone, SILENT)
    await drone.learnt()
    row = await drone.land(size=LARGE)
    service = drone.service
    drone.server.plan("GetObject", Fault())
    drone.server.plan("GetObject", Fault("hang", hang=True))
    step = asyncio.create_task(service.drainer.step())
    await until(lambda: len(ranges(drone, row)) == 2)

    service.flight.told(armed=True, now=service.now())
    await step
    held = await service.outbox(queries.get, row.id)
    mark = drone.mark
    for _ in range(3):
        await service.drainer.turn()

    assert (held.state, held.code) == ("queued", "paused")
    assert drone.since(mark) == []
    for _ in range(CONFIRMATIONS):
        service.flight.told(armed=False, now=service.now())
    done = await drone.bring(row)
    assert ranges(drone, row) == [WHOLE[0], WHOLE[1], WHOLE[1], WHOLE[2]]
    assert done.receipt is not None
    assert done.receipt.proof == "read-back"
