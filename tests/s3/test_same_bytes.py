"""Equal bytes are one object; two logs never share a key; what is there is never sent again."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from robot import (
    BUCKET,
    DROP,
    HOME,
    LOSE_ANSWER,
    MACHINE,
    PART,
    SMALL,
    THREE_PARTS,
    TWO_PARTS,
    Robot,
    refusal,
)

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox.rows import Row

FLOWN_AT = 1_753_626_622  # 2025-07-27 14:30:22
KEY = f"{HOME}20250727_143022_mission_log.ulg"


async def mission(
    robot: Robot, folder: str, seed: int = 0, size: int = SMALL, name: str = "mission_log.ulg"
) -> Row:
    """A log of one and the same moment, in a folder of its own."""
    path = robot.write(f"{folder}/{name}", size, seed)
    os.utime(path, (FLOWN_AT, FLOWN_AT))
    return await robot.service.enqueue(path)


def with_crc(key: str, path: Path) -> str:
    return f"{key.removesuffix('.ulg')}-{zlib.crc32(path.read_bytes()):08x}.ulg"


async def forget_everything(robot: Robot) -> None:
    """The state directory is lost."""
    await robot.service.stop()
    shutil.rmtree(robot.state)
    await robot.open()
    robot.ledger.clear()


# -- two logs, one key


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "file",
    "two logs of one name and time in two folders",
    "two objects, none overwritten",
)
async def test_two_logs_that_want_one_key_get_two(robot: Robot, size: int) -> None:
    one = await mission(robot, "a", seed=0, size=size)
    other = await mission(robot, "b", seed=1, size=size)

    other, one = await robot.finish(other), await robot.finish(one)

    assert {one.state, other.state} == {"verified"}
    assert other.key == KEY
    assert one.key == with_crc(KEY, robot.logs / "a" / "mission_log.ulg")
    assert robot.body(one.key) == Path(one.path).read_bytes()
    assert robot.body(other.key) == Path(other.path).read_bytes()


@pytest.mark.guarantee(
    "refusals",
    "the key is taken by other bytes before the first byte",
    "left alone; the log goes to its second spelling",
)
async def test_a_key_taken_by_a_stranger_is_left_alone(robot: Robot) -> None:
    robot.put(KEY, b"of somebody else")
    row = await mission(robot, "a")

    done = await robot.attempt(row)

    assert robot.body(KEY) == b"of somebody else"
    assert done.key == with_crc(KEY, Path(row.path))
    robot.assert_sent_once(done, Path(row.path))


@pytest.mark.guarantee(
    "device",
    "cut at the first byte under a second spelling of the key",
    "the spelling is on disk already",
)
async def test_the_second_spelling_is_on_disk_before_the_first_byte(robot: Robot) -> None:
    robot.put(KEY, b"of somebody else")
    row = await mission(robot, "a")
    robot.fault("PutObject", DROP)

    dropped = await robot.attempt(row)

    assert dropped.key == with_crc(KEY, Path(row.path)) == robot.ledger.requests("PutObject")[0].key


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals",
    "the key is taken while the log is sent",
    "never overwritten; the log goes to its second spelling",
)
async def test_a_key_taken_in_the_last_moment_is_left_alone(robot: Robot, size: int) -> None:
    async def taken(request: object) -> None:
        robot.put(KEY, b"of somebody else")

    op = "PutObject" if size == SMALL else "CompleteMultipartUpload"
    robot.fault(op, taken)
    row = await mission(robot, "a", size=size)

    late = await robot.attempt(row)
    done = await robot.finish(row)

    assert late.state == "queued"
    assert robot.body(KEY) == b"of somebody else"
    assert done.key == with_crc(KEY, Path(row.path))
    assert robot.body(done.key) == Path(row.path).read_bytes()
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file", "two logs of one key, one half sent", "each gets its own key, nothing is sent twice"
)
async def test_a_key_that_another_row_has_begun_is_left_to_it(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    begun = await robot.attempt(await mission(robot, "a", seed=0, size=THREE_PARTS))
    other = await mission(robot, "b", seed=1, size=TWO_PARTS)

    other = await robot.finish(other)
    begun = await robot.finish(begun)

    assert other.key == with_crc(KEY, Path(other.path))
    assert robot.body(other.key) == Path(other.path).read_bytes()
    robot.assert_sent_once(begun, Path(begun.path))
    assert begun.key == KEY


@pytest.mark.guarantee(
    "refusals", "both spellings of the key are taken", "it waits with that reason; nothing is sent"
)
async def test_both_spellings_taken_waits_with_a_reason(robot: Robot) -> None:
    row = await mission(robot, "a")
    robot.put(KEY, b"of somebody else")
    robot.put(with_crc(KEY, Path(row.path)), b"of yet another")

    told = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "conflict")
    assert "taken" in told.reason
    assert robot.count("PutObject") == 0


# -- the same bytes


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "file",
    "the same bytes under two names",
    "one object; the second row names the first",
)
async def test_the_same_bytes_under_two_names_are_one_object(robot: Robot, size: int) -> None:
    one = await robot.finish(await robot.land("one.ulg", size=size))
    sent = robot.ledger.body_bytes

    other = await robot.finish(await robot.land("other.ulg", size=size))

    assert other.state == "verified"
    assert (other.key, other.same_as) == (one.key, one.id)
    assert robot.stored() == [one.key]
    assert robot.ledger.body_bytes == sent


async def test_the_same_bytes_at_the_same_moment_are_one_object(robot: Robot) -> None:
    one = await robot.finish(await mission(robot, "a"))

    other = await robot.finish(await mission(robot, "b"))

    assert (other.state, other.key, other.same_as) == ("verified", one.key, one.id)
    assert robot.count("PutObject") == 1


@pytest.mark.guarantee("file", "two logs of one size", "two objects")
async def test_other_bytes_of_the_same_size_are_two_objects(robot: Robot) -> None:
    await robot.finish(await robot.land("one.ulg", seed=0))

    other = await robot.finish(await robot.land("other.ulg", seed=1))

    assert (other.state, other.same_as) == ("verified", None)
    assert len(robot.stored()) == 2


async def test_the_same_file_twice_is_one_row(robot: Robot) -> None:
    path = robot.write()

    first = await robot.service.enqueue(path)
    second = await robot.service.enqueue(path)

    assert first.id == second.id


@pytest.mark.guarantee(
    "answers",
    "the object of equal bytes was deleted in the bucket meanwhile",
    "S3 is asked, the bytes are sent again",
)
async def test_the_same_bytes_are_sent_again_when_their_object_was_deleted(robot: Robot) -> None:
    one = await robot.finish(await robot.land("one.ulg"))
    robot.cloud.delete_object(Bucket=BUCKET, Key=one.key)

    other = await robot.finish(await robot.land("other.ulg"))

    assert (other.state, other.same_as) == ("verified", None)
    assert robot.body(other.key) == (robot.logs / "other.ulg").read_bytes()


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize("asked", ["", f"{HOME}records/7/other.ulg"])
@pytest.mark.guarantee(
    "refusals",
    "the bucket is missing for a while: HEAD answers 404 for objects that are proven",
    "a missing object and a missing bucket are told apart; proven bytes are not sent again",
)
async def test_proven_bytes_are_not_sent_again_when_the_bucket_was_away(
    robot: Robot, asked: str, size: int
) -> None:
    one = await robot.finish(await robot.land("one.ulg", size=size))
    sent = robot.ledger.body_bytes
    # It is back before the first byte, or the first request to begin with, would travel.
    for op in ("HeadObject", "GetObject"):
        robot.always(op, refusal(404, "NoSuchBucket"))
    row = await robot.land("other.ulg", size=size, key=asked or None)

    away = await robot.attempt(row)

    assert (away.state, away.code) == ("queued", "bucket")
    assert robot.ledger.body_bytes == sent
    robot.heal()
    other = await robot.finish(row)
    assert (other.state, other.key) == ("verified", asked or one.key)
    assert robot.ledger.body_bytes == sent
    assert robot.body(other.key) == (robot.logs / "other.ulg").read_bytes()


async def test_proven_bytes_that_only_get_shows_are_waited_for(robot: Robot) -> None:
    await robot.finish(await robot.land("one.ulg"))
    sent = robot.ledger.body_bytes
    robot.always("HeadObject", refusal(404, "NoSuchKey"))
    row = await robot.land("other.ulg")

    late = await robot.attempt(row)

    assert (late.state, late.code) == ("queued", "not_yet_there")
    robot.heal()
    assert (await robot.finish(row)).state == "verified"
    assert robot.ledger.body_bytes == sent


async def test_a_machine_that_may_read_no_bytes_believes_its_head(robot: Robot) -> None:
    one = await robot.finish(await robot.land("one.ulg"))
    robot.cloud.delete_object(Bucket=BUCKET, Key=one.key)
    robot.fault("GetObject", refusal(403, "AccessDenied"), times=2)  # with a new token, too

    other = await robot.finish(await robot.land("other.ulg"))

    assert (other.state, other.same_as) == ("verified", None)


# -- after the outbox was lost


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.guarantee(
    "refusals",
    "reading objects is not granted, the state directory is lost, and an object stands at the key",
    "it is compared by the listing: recognised where it is this log, left alone where it is not",
)
async def test_a_machine_that_may_not_read_compares_by_the_listing(
    robot: Robot, size: int, ours: bool
) -> None:
    for op in ("HeadObject", "GetObject"):
        robot.always(op, says(403) if op == "HeadObject" else refusal(403, "AccessDenied"))
    before = await robot.finish(await mission(robot, "a", size=size))
    body = robot.body(before.key)
    await forget_everything(robot)

    row = await mission(robot, "a", seed=0 if ours else 1, size=size)
    done = await robot.finish(row)

    assert done.state == "verified"
    assert robot.body(before.key) == body
    assert (done.key == before.key) is ours
    bodies = robot.ledger.requests("PutObject") + robot.ledger.requests("UploadPart")
    assert sum(one.body_bytes for one in bodies) == (0 if ours else size)


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "device",
    "the state directory is lost",
    "what is in the bucket is recognised; not a byte is sent",
)
async def test_after_the_loss_of_the_outbox_nothing_is_sent_again(robot: Robot, size: int) -> None:
    before = await robot.finish(await robot.land(size=size))
    await forget_everything(robot)

    row = await robot.service.enqueue(robot.logs / "flight.ulg")
    done = await robot.attempt(row)

    assert done.state == "verified"
    assert done.key == before.key
    assert robot.ledger.body_bytes == 0
    assert done.receipt is not None
    assert before.receipt is not None
    assert done.receipt.etag == before.receipt.etag


@pytest.mark.guarantee(
    "device",
    "the state directory is lost, two logs had wanted one key",
    "both are recognised under their spellings",
)
async def test_after_the_loss_of_the_outbox_both_spellings_are_recognised(robot: Robot) -> None:
    await robot.finish(await mission(robot, "a", seed=0))
    await robot.finish(await mission(robot, "b", seed=1))
    keys = robot.stored()
    await forget_everything(robot)

    for folder, seed in (("b", 1), ("a", 0)):
        assert (await robot.finish(await mission(robot, folder, seed))).state == "verified"

    assert robot.ledger.body_bytes == 0
    assert robot.stored() == keys


@pytest.mark.parametrize(
    "key",
    [
        f"{MACHINE}/record-7/ulog/anything.ulg",
        f"deleted/{MACHINE}/record-7/ulog/anything.ulg",
        f"{HOME}2024/old.ulg",
    ],
)
@pytest.mark.guarantee(
    "device",
    "the state directory is lost, objects were moved or asked elsewhere",
    "recognised under any key of this machine",
)
async def test_an_object_under_another_owned_key_is_recognised(robot: Robot, key: str) -> None:
    path = robot.write(size=THREE_PARTS)
    before = await robot.finish(await robot.service.enqueue(path, key=key))
    assert before.key == key
    await forget_everything(robot)

    done = await robot.attempt(await robot.service.enqueue(path))

    assert (done.state, done.key) == ("verified", key)
    assert robot.ledger.body_bytes == 0
    assert robot.stored() == [key]


@pytest.mark.guarantee(
    "attack", "another machine holds the same bytes", "not taken for ours: sent under our own key"
)
@pytest.mark.threat("neighbour")
async def test_an_object_of_another_machine_is_not_taken_for_ours(robot: Robot) -> None:
    path = robot.write()
    robot.put("flight_logs/drone-002/flight.ulg", path.read_bytes())

    done = await robot.attempt(await robot.service.enqueue(path))

    assert done.key.startswith(HOME)
    robot.assert_sent_once(done, path)


@pytest.mark.guarantee(
    "device",
    "the state directory is lost in the middle of an upload",
    "the log arrives by a new upload",
)
async def test_an_unfinished_upload_of_a_lost_outbox_does_not_stand_in_the_way(
    robot: Robot,
) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    path = robot.write(size=THREE_PARTS)
    await robot.attempt(await robot.service.enqueue(path))
    await forget_everything(robot)

    done = await robot.finish(await robot.service.enqueue(path))

    assert done.state == "verified"
    assert robot.body(done.key) == path.read_bytes()


async def test_the_bucket_is_listed_once_in_the_life_of_an_outbox(robot: Robot) -> None:
    await robot.finish(await robot.land("one.ulg"))
    listed = robot.count("ListObjectsV2")

    await robot.finish(await robot.land("two.ulg", seed=1))
    await robot.restart()
    await robot.finish(await robot.land("three.ulg", seed=2))

    assert robot.count("ListObjectsV2") == listed > 0


@pytest.mark.guarantee("refusals", "listing is not granted", "logs go up all the same")
async def test_a_machine_that_may_not_list_sends_all_the_same(robot: Robot) -> None:
    robot.fault("ListObjectsV2", refusal(403, "AccessDenied"), times=2)
    row = await robot.land()

    done = await robot.attempt(row)
    robot.heal()

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals",
    "listing is refused for a while, after the outbox was lost",
    "the bucket is listed as soon as it may be: what is up under another name is recognised",
)
async def test_a_listing_that_was_refused_is_made_later(robot: Robot) -> None:
    robot.put(f"{HOME}20200101_000000_before.ulg", robot.write("one.ulg", seed=7).read_bytes())
    robot.fault("ListObjectsV2", refusal(403, "AccessDenied"), times=2)
    other = await robot.attempt(await robot.land("other.ulg", seed=8))
    robot.service.uploader.duplicates.inventory.list_at = 0.0  # ten minutes have passed

    row = await robot.attempt(await robot.land("one.ulg", seed=7))

    assert (other.state, row.state) == ("verified", "verified")
    assert row.key == f"{HOME}20200101_000000_before.ulg"
    assert robot.count("PutObject") == 1


# -- a key that somebody asked for


async def test_a_key_that_was_asked_for_is_the_key(robot: Robot) -> None:
    key = f"{MACHINE}/record-7/ulog/flight.ulg"

    row = await robot.attempt(await robot.land(key=key))

    assert row.key == key
    robot.assert_sent_once(row, robot.logs / "flight.ulg")


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
async def test_bytes_that_are_there_are_copied_by_the_server_to_the_key_asked_for(
    robot: Robot, size: int
) -> None:
    before = await robot.finish(await robot.land(size=size))
    sent = robot.ledger.body_bytes
    key = f"{MACHINE}/record-7/ulog/flight.ulg"

    row = await robot.service.enqueue(robot.logs / "flight.ulg", key=key)
    done = await robot.attempt(row)

    assert (done.state, done.key, done.same_as) == ("verified", key, None)
    assert robot.count("CopyObject") == 1
    assert robot.ledger.body_bytes == sent
    assert robot.stored() == sorted([before.key, key])
    assert robot.body(key) == robot.body(before.key)
    told = robot.head(key)
    assert done.receipt is not None
    assert done.receipt.etag == told["ETag"].strip('"')
    assert told["Metadata"]["original-filename"] == "flight.ulg"
    assert told["ServerSideEncryption"] == "AES256"
    assert told["ContentType"] == "application/x-ulog"


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "file",
    "a proven log is wanted under another key, and its file goes before that is done",
    "it is copied inside the bucket and proven: S3 has its bytes",
)
async def test_bytes_that_only_the_bucket_has_are_copied_all_the_same(
    robot: Robot, size: int
) -> None:
    path = robot.write(size=size)
    body = path.read_bytes()
    first = await robot.finish(await robot.service.enqueue(path))
    other = await robot.service.enqueue(path, key=f"{HOME}records/1/flight.ulg")
    path.unlink()
    robot.ledger.clear()

    other = await robot.finish(other)

    assert (first.state, other.state) == ("verified", "verified")
    assert robot.body(other.key) == robot.body(first.key) == body
    assert robot.count("PutObject") == robot.count("UploadPart") == 0
    assert other.receipt is not None
    assert (other.receipt.key, other.receipt.size) == (f"{HOME}records/1/flight.ulg", size)
    assert "etag" in other.receipt.proof
    assert robot.open_uploads() == []


@pytest.mark.parametrize("asked", [True, False])
async def test_what_was_proven_once_and_is_deleted_is_no_proof_without_a_file(
    robot: Robot, asked: bool
) -> None:
    path = robot.write()
    elsewhere = f"{HOME}records/1/flight.ulg"
    first = await robot.finish(await robot.service.enqueue(path, key=None if asked else elsewhere))
    other = await robot.service.enqueue(path, key=elsewhere if asked else None)
    path.unlink()
    robot.cloud.delete_object(Bucket=BUCKET, Key=first.key)

    other = await robot.finish(other)

    assert (other.state, other.code, other.receipt) == ("dead", "source_gone", None)


@pytest.mark.guarantee(
    "refusals",
    "the bucket is missing for a while when a proven log, whose file is gone, is wanted elsewhere",
    "the row waits until the bucket is back",
)
async def test_a_row_without_its_file_is_not_buried_because_the_bucket_was_away(
    robot: Robot,
) -> None:
    path = robot.write()
    await robot.finish(await robot.service.enqueue(path))
    other = await robot.service.enqueue(path, key=f"{HOME}records/1/flight.ulg")
    path.unlink()
    for op in ("HeadObject", "GetObject"):
        robot.always(op, refusal(404, "NoSuchBucket"))

    away = await robot.attempt(other)

    assert (away.state, away.code) == ("queued", "bucket")
    robot.heal()
    assert (await robot.finish(other)).state == "verified"


@pytest.mark.guarantee(
    "links",
    "the answer to a copy inside the bucket is lost",
    "the copy is recognised, not made twice",
)
async def test_a_copy_whose_answer_was_lost_is_recognised(robot: Robot) -> None:
    await robot.finish(await robot.land())
    key = f"{MACHINE}/record-7/ulog/flight.ulg"
    robot.fault("CopyObject", LOSE_ANSWER)
    row = await robot.service.enqueue(robot.logs / "flight.ulg", key=key)

    lost = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (lost.state, lost.code) == ("queued", "offline")
    assert (done.state, done.key) == ("verified", key)
    assert robot.count("CopyObject") == 1
    assert robot.count("PutObject") == 1


@pytest.mark.guarantee(
    "refusals", "a key that somebody asked for is taken", "never overwritten, not by a copy either"
)
async def test_a_key_asked_for_that_a_stranger_holds_is_never_overwritten(robot: Robot) -> None:
    """Also not by a copy, when the bytes are already there under yet another key."""
    await robot.finish(await robot.land())
    key = f"{MACHINE}/record-7/ulog/flight.ulg"
    robot.put(key, b"of somebody else")

    done = await robot.finish(await robot.service.enqueue(robot.logs / "flight.ulg", key=key))

    assert robot.body(key) == b"of somebody else"
    assert done.state == "verified"
    assert done.key == with_crc(key, robot.logs / "flight.ulg")
    assert robot.body(done.key) == (robot.logs / "flight.ulg").read_bytes()


async def test_two_logs_asked_to_one_key_survive_the_loss_of_the_outbox(robot: Robot) -> None:
    key = f"{MACHINE}/record-7/ulog/flight.ulg"
    one, other = robot.write("one.ulg", seed=0), robot.write("other.ulg", seed=1)
    for path in (one, other):
        await robot.finish(await robot.service.enqueue(path, key=key))
    await forget_everything(robot)

    again = await robot.finish(await robot.service.enqueue(other, key=key))

    assert again.state == "verified"
    assert again.key == with_crc(key, other)
    assert robot.body(key) == one.read_bytes()
    assert robot.ledger.body_bytes == 0
    assert robot.count("CopyObject") == 0


# -- encryption that hides the md5


@pytest.mark.guarantee(
    "refusals",
    "encryption hides the md5 (SSE-KMS)",
    "the checksum over the whole object is the proof",
)
async def test_what_kms_encrypts_is_proven_by_its_checksum(robot: Robot) -> None:
    await robot.restart(sse="aws:kms")
    hide_md5(robot)

    done = await robot.attempt(await robot.land(size=THREE_PARTS))

    assert done.state == "verified"
    assert done.receipt is not None
    assert done.receipt.proof == "crc32"


@pytest.mark.guarantee(
    "links",
    "the answer to a completion is lost, and the ETag is no md5 (SSE-KMS)",
    "recognised by the checksum; no part travels again",
)
async def test_a_lost_completion_under_kms_is_recognised_by_its_checksum(robot: Robot) -> None:
    """There the ETag is no md5: nothing else tells that these are our bytes at our key."""
    await robot.restart(sse="aws:kms")
    hide_md5(robot)
    robot.fault("CompleteMultipartUpload", LOSE_ANSWER)
    row = await robot.land(size=THREE_PARTS)

    await robot.attempt(row)
    done = await robot.finish(row)

    assert (done.state, done.key) == ("verified", row.key)
    assert robot.stored() == [row.key]
    assert robot.count("UploadPart") == 3


def hide_md5(robot: Robot) -> None:
    """Answer each HEAD as S3 does for SSE-KMS: the ETag is opaque, the checksum is there."""

    async def answer(request: Request) -> Fault | None:
        try:
            told = robot.cloud.head_object(Bucket=BUCKET, Key=request.key, ChecksumMode="ENABLED")
        except ClientError:
            return None
        assert told["ContentLength"] > PART
        meta = {f"x-amz-meta-{name}": value for name, value in told["Metadata"].items()}
        return says(
            200,
            headers={
                "ETag": f'"{"0123456789abcdef" * 2}-3"',
                "Content-Length": str(told["ContentLength"]),
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-checksum-crc32": told["ChecksumCRC32"],
                "x-amz-checksum-type": "FULL_OBJECT",
                **meta,
            },
        )

    robot.always("HeadObject", answer)
