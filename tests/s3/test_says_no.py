"""S3 says no, for a moment or for days: every row keeps its reason, none dies, none hammers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from robot import BUCKET, DROP, HOME, OPS, PART, SMALL, THREE_PARTS, TWO_PARTS, Robot, refusal
from timed import HOUR_S, Hand, jitter, passing, timed

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox.rows import Row


def part_numbers(robot: Robot) -> list[int]:
    return [request.part for request in robot.ledger.requests("UploadPart")]


async def hold_a_part(robot: Robot, size: int = THREE_PARTS) -> Row:
    """An upload of which S3 holds the first part."""
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=size))
    robot.ledger.clear()
    return row


# -- every refusal, whatever it answers

REFUSALS = {
    "ExpiredToken": 400,
    "RequestTimeTooSkewed": 403,
    "AccessDenied": 403,
    "NoSuchBucket": 404,
    "NotImplemented": 501,
    "QuotaExceeded": 403,
    "SlowDown": 503,
    "NoSuchUpload": 404,
    "BadDigest": 400,
    "PreconditionFailed": 412,
    "NoSuchKey": 404,
    "EntityTooLarge": 400,
    "InternalError": 500,
    "NeverHeardOf": 418,
}
# There the refusal is an answer: to look for a key, for a list, for an upload that is no more; and
# where no HEAD is to be had a listing tells size and ETag.
ANSWERS = {
    ("HeadObject", 403),
    ("HeadObject", 404),
    ("HeadObject", 501),
    ("ListObjectsV2", "AccessDenied"),
    ("ListParts", "NoSuchUpload"),
    ("ListParts", "NoSuchKey"),
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.guarantee(
    "refusals",
    "any refusal, as the answer to any operation",
    "the row waits with its reason, never dead, never proven; afterwards the log arrives once",
)
async def test_no_refusal_is_the_end_of_a_log(robot: Robot, op: str) -> None:
    await robot.restart(concurrency=1)
    large = op not in {"ListObjectsV2", "HeadObject", "PutObject"}
    row = await (hold_a_part(robot, TWO_PARTS) if op in OPS[4:] else robot.land(size=SMALL))
    if op == "CreateMultipartUpload":
        row = await robot.land("large.ulg", size=TWO_PARTS, priority=99)
    wrong = {}
    for code, status in REFUSALS.items():
        if {(op, code), (op, status)} & ANSWERS:
            continue
        robot.always(op, says(status) if op == "HeadObject" else refusal(status, code))
        await robot.service.drainer.pause.retry_now()
        now = await robot.attempt(row)
        robot.heal()
        robot.late_reads_are_over()
        if now.state != "queued" or not now.reason or now.receipt is not None:
            wrong[code] = (now.state, now.reason)
    assert wrong == {}

    done = await robot.finish(row)

    assert robot.count(op) > len(REFUSALS) - 4
    assert large == (done.size > PART)
    robot.assert_sent_once(done, robot.logs / done.name)


# -- slow down


def storm(
    robot: Robot, now: Hand, until_s: float, more: Callable[[], dict[str, str]]
) -> list[float]:
    """Everything is refused with SlowDown until then; when it was asked."""
    asked: list[float] = []

    async def slow(request: Request) -> Fault | None:
        asked.append(now.at)
        if now.at >= until_s:
            return None
        return refusal(503, "SlowDown", **more())

    for op in OPS:
        robot.always(op, slow)
    return asked


def in_seconds() -> dict[str, str]:
    return {"Retry_After": "120"}


def as_a_date() -> dict[str, str]:
    """By a clock that is neither ours nor right."""
    theirs = datetime(2031, 5, 1, 12, tzinfo=timezone.utc)
    later = format_datetime(theirs + timedelta(seconds=120), usegmt=True)
    return {"Retry_After": later, "Date": format_datetime(theirs, usegmt=True)}


@pytest.mark.parametrize("asks", [in_seconds, as_a_date])
@pytest.mark.guarantee(
    "refusals",
    "SlowDown for an hour, with Retry-After in seconds or as a date",
    "each pause is kept, nothing else is asked meanwhile; afterwards it goes on by itself",
)
async def test_a_storm_is_waited_out(robot: Robot, asks: Callable[[], dict[str, str]]) -> None:
    service, now = await timed(robot, spread=jitter(), wall=lambda: 1000.0)
    row = await robot.land()
    asked = storm(robot, now, now.at + HOUR_S, asks)

    await passing(service, now, 2 * HOUR_S)

    refused = asked[: int(HOUR_S / 120) + 1]
    pauses = [later - earlier for earlier, later in zip(asked, refused[1:], strict=False)]
    assert len(refused) > 20
    assert min(pauses[:-1]) > 119.9
    assert max(pauses) < 240
    robot.assert_sent_once(await robot.row(row), robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals",
    "Retry-After says ten years, a past date or nonsense",
    "no log waits longer than an hour for it",
)
async def test_nothing_waits_for_years(robot: Robot) -> None:
    too_long = ["315360000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"]
    nonsense = ["-1", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "", "²", "1e9", "Mon, 99 99:99"]
    service, now = await timed(robot, spread=lambda: 1.0)
    rows, pauses = [], []
    for seed, retry_after in enumerate([*too_long, *nonsense]):
        robot.fault("PutObject", refusal(503, "SlowDown", Retry_After=retry_after))
        service.drainer.pause.failures = 0
        rows.append(await robot.attempt(await robot.land(f"{seed}.ulg", seed=seed)))
        block = service.drainer.block
        assert block is not None
        assert block.until == rows[-1].due_at
        pauses.append(rows[-1].due_at - now.at)

    await passing(service, now, HOUR_S + 60)

    assert {row.code for row in rows} == {"throttled"}
    assert pauses == pytest.approx([HOUR_S] * len(too_long) + [1.0] * len(nonsense))
    assert {(await robot.row(row)).state for row in rows} == {"verified"}


async def test_patience_is_that_of_the_answer_not_of_the_one_before(robot: Robot) -> None:
    _, now = await timed(robot, spread=lambda: 1.0)
    robot.fault("PutObject", refusal(503, "SlowDown", Retry_After="3000"))
    robot.fault("PutObject", refusal(503, "SlowDown"))
    row = await robot.attempt(await robot.land())
    long_s = row.due_at - now.at
    now.at += 3000

    row = await robot.attempt(row)

    assert (long_s, row.due_at - now.at) == (pytest.approx(3000), pytest.approx(2))


# -- the upload is not what we think it is


@pytest.mark.guarantee(
    "refusals",
    "a lifecycle rule aborts the upload in the middle",
    "a new one begins; what was sent to the old one is sent again, the log arrives",
)
async def test_an_upload_aborted_by_the_bucket_begins_anew(robot: Robot) -> None:
    await robot.restart(concurrency=1)

    async def abort(request: Request) -> Fault:
        upload = {"Bucket": BUCKET, "Key": request.key, "UploadId": request.upload_id}
        robot.cloud.abort_multipart_upload(**upload)
        return refusal(404, "NoSuchUpload")

    robot.fault("UploadPart", abort, part=2)
    row = await robot.land(size=THREE_PARTS)

    told = await robot.attempt(row)
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "upload_gone")
    assert part_numbers(robot) == [1, 2, 1, 2, 3]
    assert robot.count("CreateMultipartUpload") == 2
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals",
    "S3 does not find a part that it holds (InvalidPart)",
    "S3 is asked which parts it holds; none of these is sent again",
)
async def test_an_invalid_part_is_looked_for_before_it_is_sent_again(robot: Robot) -> None:
    robot.fault("CompleteMultipartUpload", refusal(400, "InvalidPart"))
    row = await robot.land(size=THREE_PARTS)

    told = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "upload_gone")
    assert sorted(part_numbers(robot)) == [1, 2, 3]
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals",
    "S3 has lost a part that it had confirmed",
    "only that part travels again",
)
async def test_only_a_lost_part_travels_again(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("CompleteMultipartUpload", refusal(400, "InvalidPart"))
    row = await robot.attempt(await robot.land(size=THREE_PARTS))

    async def without_the_second(request: Request) -> Fault:
        upload = {"Bucket": BUCKET, "Key": request.key, "UploadId": request.upload_id}
        held = robot.cloud.list_parts(**upload)["Parts"]
        listed = "".join(
            f"<Part><PartNumber>{part['PartNumber']}</PartNumber><Size>{part['Size']}</Size>"
            f"<ETag>{part['ETag']}</ETag></Part>"
            for part in held
            if part["PartNumber"] != 2
        )
        body = (
            f"<ListPartsResult><Bucket>{BUCKET}</Bucket><Key>{request.key}</Key>"
            f"<UploadId>{request.upload_id}</UploadId>{listed}</ListPartsResult>"
        )
        return says(200, body.encode(), {"Content-Type": "application/xml"})

    robot.fault("ListParts", without_the_second)
    done = await robot.attempt(row)

    assert part_numbers(robot) == [1, 2, 3, 2]
    assert done.state == "verified"
    assert robot.body(done.key) == (robot.logs / "flight.ulg").read_bytes()


@pytest.mark.parametrize("code", ["EntityTooSmall", "InvalidPartOrder", "InvalidPart"])
@pytest.mark.guarantee(
    "refusals",
    "S3 refuses to join the parts, and again after it was asked which it holds",
    "the upload is aborted and begun anew, once per attempt",
)
async def test_parts_that_cannot_be_joined_are_given_up(robot: Robot, code: str) -> None:
    robot.fault("CompleteMultipartUpload", refusal(400, code), times=2)
    row = await robot.land(size=TWO_PARTS)

    told = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "upload_gone")
    assert robot.count("AbortMultipartUpload") == 1
    assert robot.count("CreateMultipartUpload") == 2
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- a server that is never content


def no_proof(robot: Robot) -> Callable[[Request], object]:
    """HEADs as of a server whose ETag is no md5, and that keeps no checksum."""

    async def tell_little(request: Request) -> Fault | None:
        if request.key not in robot.stored():
            return None
        size = str(robot.head(request.key)["ContentLength"])
        return says(200, headers={"ETag": '"opaque"', "Content-Length": size})

    return tell_little


@pytest.mark.parametrize(
    ("op", "fault", "size"),
    [
        ("CompleteMultipartUpload", refusal(400, "InvalidPart"), TWO_PARTS),
        ("CompleteMultipartUpload", refusal(412, "PreconditionFailed"), TWO_PARTS),
        ("UploadPart", says(200, headers={"ETag": '"opaque"'}), TWO_PARTS),
        ("PutObject", refusal(412, "PreconditionFailed"), SMALL),
        ("PutObject", says(200, headers={"ETag": '"opaque"'}), SMALL),
        ("HeadObject", None, TWO_PARTS),
        ("HeadObject", None, SMALL),
    ],
)
@pytest.mark.guarantee(
    "refusals",
    "a server never believes the parts, never shows the object, or never proves it",
    "the log stays queued; it is not sent over and over: the pauses grow to a quarter of an hour",
)
async def test_what_never_ends_well_is_not_sent_over_and_over(
    robot: Robot, op: str, fault: Fault | None, size: int
) -> None:
    service, now = await timed(robot, spread=jitter(), concurrency=1)
    robot.always(op, fault if fault is not None else no_proof(robot))  # type: ignore[arg-type]
    row = await robot.land(size=size)
    await passing(service, now, HOUR_S / 3)  # the pauses grow
    sent_before = robot.ledger.body_bytes

    await passing(service, now, HOUR_S / 3)
    told = await robot.row(row)

    assert robot.ledger.body_bytes - sent_before < 7 * size
    assert (told.state, told.receipt) == ("queued", None)
    assert told.reason
    assert told.code != "internal"
    assert len(told.key) <= len(row.key) + len("-12345678")


# -- no room, no bucket


@pytest.mark.guarantee(
    "refusals",
    "the quota of the bucket is full in the middle of an upload, for hours",
    "every row waits and says so; with room again it goes on from the parts that are there",
)
async def test_a_full_bucket_keeps_the_parts(robot: Robot) -> None:
    service, now = await timed(robot, spread=jitter(), concurrency=1)
    row = await hold_a_part(robot)
    robot.always("UploadPart", refusal(403, "QuotaExceeded"))

    await passing(service, now, HOUR_S)
    told, block = await robot.row(row), service.drainer.block
    robot.heal()
    robot.ledger.clear()
    await passing(service, now, HOUR_S)

    assert (told.state, told.code, told.sent_bytes) == ("queued", "bucket_full", PART)
    assert block is not None
    assert "room" in block.reason
    assert part_numbers(robot) == [2, 3]
    robot.assert_sent_once(await robot.row(row), robot.logs / "flight.ulg")


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals",
    "the bucket is deleted, in the middle of an upload too, and made again",
    "the drain names the setting and waits; then the log is sent whole",
)
async def test_a_bucket_that_is_gone_and_back_gets_the_log(robot: Robot, size: int) -> None:
    service, now = await timed(robot, spread=jitter(), concurrency=1)
    row = await (hold_a_part(robot) if size == THREE_PARTS else robot.land(size=size))
    for key, upload_id in robot.open_uploads():
        robot.cloud.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    robot.cloud.delete_bucket(Bucket=BUCKET)

    await passing(service, now, HOUR_S)
    told, block = await robot.row(row), service.drainer.block
    robot.cloud.create_bucket(Bucket=BUCKET)
    robot.ledger.clear()
    await passing(service, now, HOUR_S)

    assert (told.state, told.code) == ("queued", "bucket")
    assert block is not None
    assert "PETAL_S3_BUCKET_NAME" in block.reason
    robot.assert_sent_once(await robot.row(row), robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals",
    "a stranger's object appears at the key just before the last request (412)",
    "it is left as it is; the log arrives under its second spelling",
)
@pytest.mark.threat("neighbour")
async def test_a_key_that_is_taken_late_is_left_alone(robot: Robot) -> None:
    row = await robot.land(size=TWO_PARTS, key=f"{HOME}wanted.ulg")

    async def take(request: Request) -> None:
        robot.put(request.key, b"of somebody else")

    robot.fault("CompleteMultipartUpload", take)
    await robot.attempt(row)
    done = await robot.finish(row)

    assert robot.body(f"{HOME}wanted.ulg") == b"of somebody else"
    assert done.key != f"{HOME}wanted.ulg"
    assert robot.body(done.key) == (robot.logs / "flight.ulg").read_bytes()
    assert (done.state, robot.open_uploads()) == ("verified", [])
