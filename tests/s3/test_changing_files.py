"""A file that changes, vanishes or is replaced: an object never mixes two versions of it."""

from __future__ import annotations

import base64
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from robot import DROP, LOSE_ANSWER, PART, SMALL, THREE_PARTS, Robot

from petal_s3.core.settings import MIB
from petal_s3.demo.ledger import Request

Edit = Callable[[Path], None]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"one more line of the recorder")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    """The same size, other bytes."""
    with path.open("r+b") as file:
        file.seek(2000)
        file.write(os.urandom(path.stat().st_size - 2000))
    later(path)


def touch(path: Path) -> None:
    later(path)


def replace(path: Path) -> None:
    other = path.with_name("other.tmp")
    shutil.copyfile(path, other)
    grow(other)
    other.replace(path)


def later(path: Path) -> None:
    """Time stamps of a file system may be coarse: make sure that they differ."""
    known = path.stat().st_mtime_ns
    os.utime(path, ns=(known + 10**9, known + 10**9))


EDITS = pytest.mark.parametrize("edit", [grow, truncate, rewrite, touch, replace])


# -- while it waits


@EDITS
@pytest.mark.guarantee(
    "file",
    "grows, shrinks, is rewritten, touched or replaced while it waits",
    "it is examined again and sent once, as it is then",
)
async def test_a_file_that_changed_in_the_queue_is_examined_and_sent_as_it_is(
    robot: Robot, edit: Edit
) -> None:
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=SMALL)
    edit(path)

    changed = await robot.attempt(row)
    done = await robot.finish(row)

    assert (changed.state, changed.code) == ("queued", "source_changed")
    assert robot.count("PutObject") == 1
    assert done.size == path.stat().st_size
    robot.assert_sent_once(done, path)


@EDITS
@pytest.mark.guarantee(
    "file",
    "changes between two attempts",
    "another size: what is up is given up; the same size: it is compared; one version arrives",
)
async def test_a_file_that_changed_between_two_attempts_is_sent_anew(
    robot: Robot, edit: Edit
) -> None:
    await robot.restart(concurrency=1)
    path = robot.logs / "flight.ulg"
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    edit(path)

    await robot.attempt(row)
    done = await robot.finish(row)

    assert (done.state, done.size) == ("verified", path.stat().st_size)
    assert robot.body(row.key) == path.read_bytes()
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "grows beyond the size limit while it waits",
    "dead with its reason",
)
async def test_a_file_that_grew_beyond_the_limit_is_dead_with_its_reason(robot: Robot) -> None:
    await robot.restart(max_file_size=SMALL)
    row = await robot.land(size=SMALL)
    grow(robot.logs / "flight.ulg")

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "too_large")
    assert "too large" in dead.reason


@pytest.mark.guarantee(
    "file",
    "is overwritten with something that is no log",
    "dead with its reason; nothing of it is sent",
)
async def test_a_file_that_is_no_log_any_more_is_dead_with_its_reason(robot: Robot) -> None:
    row = await robot.land()
    (robot.logs / "flight.ulg").write_bytes(b"something else " * 100)

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "bad_magic")
    assert dead.reason
    assert robot.stored() == []


# -- while it is sent


def edit_at(robot: Robot, edit: Edit, op: str, part: int = 0) -> None:
    """Edit the file when such a request arrives, before its body."""

    async def act(_: Request) -> None:
        edit(robot.logs / "flight.ulg")

    robot.fault(op, act, part=part)


def assert_never_mixed(robot: Robot, versions: list[bytes]) -> None:
    """Each object is one version, or S3 would have refused it: this stand-in checks nothing."""
    for key in robot.stored():
        if (body := robot.body(key)) not in versions:
            crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
            (sent,) = robot.ledger.requests("PutObject", key)
            assert sent.headers["x-amz-checksum-crc32"] != crc32


@EDITS
@pytest.mark.parametrize("op", ["HeadObject", "PutObject"])
@pytest.mark.guarantee(
    "file",
    "changes while it is sent in one request",
    "one version arrives; what is mixed is refused, or not believed",
)
async def test_a_small_file_that_changes_while_it_is_sent_is_one_version_in_the_end(
    robot: Robot, edit: Edit, op: str
) -> None:
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=2 * MIB)
    versions = [path.read_bytes()]
    edit_at(robot, edit, op)

    await robot.attempt(row)
    done = await robot.finish(row)

    versions.append(path.read_bytes())
    assert done.state == "verified"
    assert_never_mixed(robot, versions)
    assert robot.body(done.key) == (versions[0] if edit is replace else versions[-1])


@EDITS
@pytest.mark.parametrize(
    ("op", "part"),
    [("CreateMultipartUpload", 0), ("UploadPart", 2), ("CompleteMultipartUpload", 0)],
)
@pytest.mark.guarantee(
    "file",
    "changes before, between or after its parts",
    "one version arrives, nothing is left open",
)
async def test_a_large_file_that_changes_while_it_is_sent_is_one_version_in_the_end(
    robot: Robot, edit: Edit, op: str, part: int
) -> None:
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=THREE_PARTS)
    versions = [path.read_bytes()]
    edit_at(robot, edit, op, part)

    await robot.attempt(row)
    done = await robot.finish(row)

    versions.append(path.read_bytes())
    assert done.state == "verified"
    assert_never_mixed(robot, versions)
    assert robot.body(done.key) == (versions[0] if edit is replace else versions[-1])
    assert robot.open_uploads() == []


@EDITS
@pytest.mark.guarantee(
    "file",
    "changes in the middle of a body",
    "noticed on the disk or in what S3 confirms; one version arrives",
)
async def test_a_change_in_the_middle_of_a_body_is_noticed(robot: Robot, edit: Edit) -> None:
    await robot.restart(concurrency=1)
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=THREE_PARTS)
    versions = [path.read_bytes()]
    robot.link.rate_bytes_s = 40e6
    robot.when_sent(MIB, lambda: edit(path), part=2)

    changed = await robot.attempt(row)
    done = await robot.finish(row)

    versions.append(path.read_bytes())
    if edit is not replace:  # seen on the disk, or in the checksum of what arrived
        assert changed.state == "queued"
        assert changed.code in {"source_changed", "mismatch"}
    assert done.state == "verified"
    assert robot.body(done.key) == (versions[0] if edit is replace else versions[-1])
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "changes between two attempts, with its size and time of change as before",
    "held parts are compared with the disk; those that differ travel again",
)
async def test_a_change_that_keeps_size_and_time_is_found_by_the_bytes(robot: Robot) -> None:
    """Nobody can see it from outside; a resume compares what S3 holds with the disk."""
    await robot.restart(concurrency=1)
    path = robot.logs / "flight.ulg"
    robot.fault("UploadPart", DROP, part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    known = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(PART // 2)
        file.write(bytes(1000))
    os.utime(path, ns=(known, known))

    done = await robot.finish(row)

    assert done.state == "verified"
    assert done.parts_resent == 1
    assert robot.body(row.key) == path.read_bytes()


@pytest.mark.guarantee(
    "file",
    "grows all the time",
    "it waits and says so; it goes up when it rests",
)
async def test_a_file_that_never_rests_waits_and_says_so(robot: Robot) -> None:
    path = robot.logs / "flight.ulg"
    row = await robot.land(size=SMALL)

    for _ in range(3):
        grow(path)
        busy = await robot.attempt(row)
        assert (busy.state, busy.code) == ("queued", "source_changed")

    assert robot.stored() == []
    assert (await robot.finish(row)).state == "verified"


# -- gone, or away


@pytest.mark.guarantee(
    "file",
    "deleted while it waits",
    "dead with its reason",
)
async def test_a_file_deleted_in_the_queue_is_dead_with_its_reason(robot: Robot) -> None:
    row = await robot.land()
    (robot.logs / "flight.ulg").unlink()

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "source_gone")
    assert dead.reason == "The file flight.ulg was deleted before it was proven in S3."


@pytest.mark.guarantee(
    "file",
    "deleted between two attempts",
    "dead with its reason; what is up of it is aborted",
)
async def test_a_file_deleted_between_two_attempts_leaves_nothing_half_done(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    (robot.logs / "flight.ulg").unlink()

    dead = await robot.attempt(row)
    await robot.service.drainer.turn()

    assert (dead.state, dead.code) == ("dead", "source_gone")
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "deleted when it is up, but the answer was lost",
    "dead, though its object is there: nothing is left to compare it with",
)
async def test_a_file_deleted_after_the_lost_answer_is_dead_though_its_object_is_there(
    robot: Robot,
) -> None:
    """Nothing is left to compare the object with."""
    robot.fault("PutObject", LOSE_ANSWER)
    row = await robot.attempt(await robot.land())
    (robot.logs / "flight.ulg").unlink()

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "source_gone")
    assert robot.stored() == [row.key]


@pytest.mark.guarantee(
    "file",
    "its folder is away with its card, as after a boot without it",
    "it waits and asks for the card",
)
async def test_a_card_that_is_away_waits(robot: Robot) -> None:
    """The nearest folder that is left lies on another device: it was a mount point."""
    row = await robot.land("card/flight.ulg")
    robot.sql("UPDATE log SET dev = dev + 1")
    (robot.logs / "card").rename(robot.tmp / "unplugged")

    away = await robot.attempt(row)
    (robot.tmp / "unplugged").rename(robot.logs / "card")
    done = await robot.finish(row)

    assert (away.state, away.code) == ("queued", "source_away")
    assert "mounted" in away.reason
    robot.assert_sent_once(done, robot.logs / "card" / "flight.ulg")


async def test_a_deleted_folder_on_the_same_device_is_gone(robot: Robot) -> None:
    row = await robot.land("folder/flight.ulg")
    shutil.rmtree(robot.logs / "folder")

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "source_gone")


@pytest.mark.guarantee(
    "file",
    "its card gives new inode numbers at each mount",
    "it is the same file: sent once",
)
async def test_a_card_with_new_inode_numbers_is_the_same_file(robot: Robot) -> None:
    row = await robot.land()
    path = robot.logs / "flight.ulg"
    known = path.stat()
    other = path.with_name("copy")
    shutil.copyfile(path, other)
    os.utime(other, ns=(known.st_mtime_ns, known.st_mtime_ns))
    other.replace(path)

    done = await robot.attempt(row)

    assert path.stat().st_ino != known.st_ino
    robot.assert_sent_once(done, path)


@pytest.mark.guarantee(
    "file",
    "a link takes its place while it waits",
    "not followed: dead with its reason",
)
async def test_a_link_in_place_of_the_file_is_not_followed(robot: Robot) -> None:
    row = await robot.land()
    secret = robot.tmp / "secret.ulg"
    path = robot.logs / "flight.ulg"
    path.rename(secret)
    path.symlink_to(secret)

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "not_allowed")
    assert robot.stored() == []


@pytest.mark.guarantee(
    "file",
    "deleted, and put back",
    "a retry takes it up again",
)
async def test_a_dead_row_whose_file_is_back_is_tried_again_on_request(robot: Robot) -> None:
    row = await robot.land()
    path = robot.logs / "flight.ulg"
    path.rename(robot.tmp / "aside")
    dead = await robot.attempt(row)
    (robot.tmp / "aside").rename(path)

    await robot.service.retry(row.id)
    done = await robot.attempt(row)

    assert dead.state == "dead"
    robot.assert_sent_once(done, path)
