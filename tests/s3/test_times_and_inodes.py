"""Time and inode of a file are hints, its bytes decide: what S3 has confirmed is kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from moved_files import an_hour_later, mounted_anew
from robot import DROP, LOSE_ANSWER, PART, SMALL, Robot

from petal_s3.demo.ledger import Request
from petal_s3.outbox.rows import Row

SIX_PARTS = 5 * PART + 100_000


def spoil(path: Path, at: int) -> None:
    """Other bytes at one place; size and time as they were."""
    known = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(1000))
    os.utime(path, ns=(known, known))


async def five_of_six(robot: Robot) -> tuple[Row, Path]:
    """A row of which S3 has confirmed all parts but the last."""
    await robot.restart(concurrency=1, part_size=PART)
    robot.fault("UploadPart", DROP, part=6)
    row = await robot.attempt(await robot.land(size=SIX_PARTS))
    assert (row.sent_bytes, row.parts_sent) == (5 * PART, 5)
    robot.ledger.clear()
    return row, Path(row.path)


def sent_parts(robot: Robot) -> list[int | None]:
    return [request.part for request in robot.ledger.requests("UploadPart")]


# -- between two attempts


@pytest.mark.guarantee(
    "file",
    "its card tells another time after a reboot, in the middle of an upload",
    "no confirmed part is sent again: bytes are compared, not times",
)
async def test_a_time_that_moved_throws_no_part_away(robot: Robot) -> None:
    row, path = await five_of_six(robot)
    an_hour_later(path)

    moved = await robot.attempt(row)
    done = await robot.finish(row)

    assert (moved.state, moved.code) == ("queued", "source_changed")
    assert (moved.upload_id, moved.part_size, moved.sent_bytes) == (
        row.upload_id,
        row.part_size,
        5 * PART,
    )
    assert moved.mtime_ns == path.stat().st_mtime_ns
    assert sent_parts(robot) == [6]
    assert robot.count("AbortMultipartUpload") == robot.count("CreateMultipartUpload") == 0
    robot.assert_sent_once(done, path)


@pytest.mark.guarantee(
    "file",
    "the bytes of a log that is proven are written over a log that is half sent",
    "the half upload is given up, and no byte more is sent",
)
async def test_a_half_sent_file_that_became_a_proven_one_is_not_sent(robot: Robot) -> None:
    proven = await robot.finish(await robot.land("first.ulg", size=SIX_PARTS, seed=1))
    row, path = await five_of_six(robot)
    shutil.copyfile(proven.path, path)

    done = await robot.finish(row)

    assert (done.state, done.same_as) == ("verified", proven.id)
    assert sent_parts(robot) == []
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "the same, and the link breaks before the half upload is given up",
    "that it became a proven one is found out all the same, and no byte more is sent",
)
@pytest.mark.parametrize("op", ["HeadObject", "AbortMultipartUpload"])
async def test_that_a_file_became_a_proven_one_is_found_after_a_failed_attempt_too(
    robot: Robot, op: str
) -> None:
    proven = await robot.finish(await robot.land("first.ulg", size=SIX_PARTS, seed=1))
    row, path = await five_of_six(robot)
    shutil.copyfile(proven.path, path)
    changed = await robot.attempt(row)
    robot.fault(op, DROP)

    broken = await robot.attempt(row)
    done = await robot.finish(row)

    assert (changed.code, broken.code) == ("source_changed", "offline")
    assert (done.state, done.same_as) == ("verified", proven.id)
    assert sent_parts(robot) == []
    assert robot.open_uploads() == []


async def test_a_file_whose_time_moved_settles_before_it_is_read_again(robot: Robot) -> None:
    row, path = await five_of_six(robot)
    await robot.restart(settle_seconds=600)
    an_hour_later(path)

    moved = await robot.attempt(row)

    assert moved.next_attempt_s(robot.service.now()) > 500  # type: ignore[operator]
    await robot.service.drainer.pause.retry_now()
    assert not await robot.service.drainer.step()


@pytest.mark.guarantee(
    "file",
    "its card tells another time, and one part holds other bytes",
    "that part alone is sent again",
)
async def test_of_a_file_with_another_time_the_part_that_changed_is_sent_again(
    robot: Robot,
) -> None:
    row, path = await five_of_six(robot)
    spoil(path, PART + 500)
    an_hour_later(path)

    done = await robot.finish(row)

    assert sorted(n or 0 for n in sent_parts(robot)) == [2, 6]
    assert (done.state, done.parts_resent) == ("verified", 1)
    assert robot.body(done.key) == path.read_bytes()
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "its card gives a new inode number, and a part that S3 holds has other bytes",
    "found by the bytes: that part alone is sent again, nothing is mixed",
)
async def test_other_bytes_under_the_same_time_and_a_new_inode_are_found(robot: Robot) -> None:
    row, path = await five_of_six(robot)
    mounted_anew(path)
    spoil(path, 2 * PART + 500)

    done = await robot.finish(row)

    assert sorted(n or 0 for n in sent_parts(robot)) == [3, 6]
    assert (done.state, done.parts_resent) == ("verified", 1)
    assert robot.body(done.key) == path.read_bytes()


@pytest.mark.parametrize("part", [1, 4, 6])
@pytest.mark.guarantee(
    "file",
    "another file of the same name, size and time takes its place while it is sent",
    "found: the object is one of the two, and the one on the disk is proven",
)
async def test_other_bytes_of_the_same_time_and_a_new_inode_are_found_in_the_middle(
    robot: Robot, part: int
) -> None:
    await robot.restart(concurrency=1)
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=SIX_PARTS)

    async def replaced(_: Request) -> None:
        mounted_anew(path)
        spoil(path, PART + 500)

    robot.fault("UploadPart", replaced, part=part)

    found = await robot.attempt(row)
    done = await robot.finish(row)

    assert (found.state, found.code) == ("queued", "source_changed")
    assert (done.state, done.ino) == ("verified", path.stat().st_ino)
    assert done.parts_resent <= 1
    assert robot.body(done.key) == path.read_bytes()
    assert robot.open_uploads() == []


@pytest.mark.parametrize(
    ("op", "size"), [("CompleteMultipartUpload", PART + SMALL), ("PutObject", SMALL)]
)
async def test_a_file_replaced_while_its_object_is_stored_is_sent_beside_it(
    robot: Robot, op: str, size: int
) -> None:
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=size)
    before = path.read_bytes()

    async def replaced(_: Request) -> None:
        mounted_anew(path)
        spoil(path, size - SMALL + 500)

    robot.fault(op, replaced)

    await robot.attempt(row)
    done = await robot.finish(row)

    assert done.state == "verified"
    assert sorted(robot.body(key) == before for key in robot.stored()) == [False, True]
    assert robot.body(done.key) == path.read_bytes()


async def test_a_time_that_moves_while_parts_are_sent_throws_none_away(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=SIX_PARTS)

    async def moves(_: Request) -> None:
        an_hour_later(path)

    robot.fault("UploadPart", moves, part=3)

    await robot.attempt(row)
    done = await robot.finish(row)

    assert sorted(n or 0 for n in sent_parts(robot)) == [1, 2, 3, 4, 5, 6]
    assert robot.ledger.resent_confirmed_parts == 0
    assert (done.state, robot.body(done.key)) == ("verified", path.read_bytes())


async def test_an_upload_of_a_file_that_has_another_size_now_is_given_up(robot: Robot) -> None:
    row, path = await five_of_six(robot)
    with path.open("ab") as file:
        file.write(b"one more line")

    changed = await robot.attempt(row)

    assert (changed.upload_id, changed.part_size, changed.sent_bytes) == (None, None, 0)
    assert robot.open_uploads() == []


async def test_an_upload_of_a_file_that_is_no_log_any_more_is_given_up(robot: Robot) -> None:
    row, path = await five_of_six(robot)
    with path.open("r+b") as file:
        file.write(bytes(100))
    an_hour_later(path)

    dead = await robot.attempt(row)
    await robot.service.drainer.housekeeping.sweep()

    assert (dead.state, dead.code) == ("dead", "bad_magic")
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "the answer to its only request is lost, and its card tells another time after the reboot",
    "its object is recognised under the key it was given; nothing is sent again",
)
async def test_a_small_log_that_may_be_up_keeps_its_key_when_its_time_moves(robot: Robot) -> None:
    robot.fault("PutObject", LOSE_ANSWER)
    row = await robot.attempt(await robot.land(priority=0))
    path = Path(row.path)
    an_hour_later(path)
    await robot.service.scan()
    await robot.service.landed()

    done = await robot.finish(row)

    assert (done.state, done.key) == ("verified", row.key)
    assert robot.count("PutObject") == 1
    assert robot.stored() == [row.key]
