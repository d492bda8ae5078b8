"""A proven file under another time or inode is the same log: no second row, no byte sent."""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from moved_files import an_hour_later, mounted_anew
from robot import HOME, PART, SMALL, TWO_PARTS, Robot

from petal_s3.outbox.deletions import left_alone
from petal_s3.outbox.rows import Row


def with_equal_crc(data: bytes) -> bytes:
    """Other bytes of the same length and the same CRC32: four bytes make up for one changed."""
    spoiled = bytearray(data)
    spoiled[len(data) // 2] ^= 0x55
    at = len(data) - 8

    def crc(patch: int) -> int:
        spoiled[at : at + 4] = patch.to_bytes(4, "little")
        return zlib.crc32(spoiled)

    zero = crc(0)
    wanted = zlib.crc32(data) ^ zero
    basis: dict[int, tuple[int, int]] = {}  # by highest bit: what a patch does, the patch
    for bit in range(32):
        effect, patch = crc(1 << bit) ^ zero, 1 << bit
        while effect and (known := basis.get(effect.bit_length())):
            effect, patch = effect ^ known[0], patch ^ known[1]
        if effect:
            basis[effect.bit_length()] = effect, patch
    patch = 0
    while wanted:
        effect, one = basis[wanted.bit_length()]
        wanted, patch = wanted ^ effect, patch ^ one
    assert crc(patch) == zlib.crc32(data)
    return bytes(spoiled)


async def three_proven(robot: Robot, size: int = SMALL) -> list[Path]:
    paths = []
    for seed in range(3):
        row = await robot.finish(await robot.land(f"{seed}.ulg", size=size, seed=seed))
        assert row.state == "verified"
        paths.append(Path(row.path))
    robot.ledger.clear()
    return paths


async def rows(robot: Robot) -> list[Row]:
    return [await robot.row(number) for (number,) in robot.sql("SELECT id FROM log ORDER BY id")]


async def boot(robot: Robot) -> int:
    """A new process looks through the log directories; how many files it waits for."""
    service = await robot.restart()
    return await service.scan()


@pytest.mark.guarantee(
    "file",
    "proven, and its card gives new inode numbers at each mount",
    "known by path, size and time: no second row, it is not even read again",
)
async def test_new_inode_numbers_make_no_second_row(robot: Robot) -> None:
    paths = await three_proven(robot)

    for _ in range(5):
        for path in paths:
            mounted_anew(path)
        assert await boot(robot) == 0

    status = await robot.service.status()
    assert status.counts == {
        "queued": 0,
        "uploading": 0,
        "verified": 3,
        "dead": 0,
        "cancelled": 0,
    }
    assert robot.ops() == []


@pytest.mark.parametrize("size", [SMALL, TWO_PARTS])
@pytest.mark.guarantee(
    "file",
    "proven, and its card tells another time after a reboot",
    "its bytes are compared once, its row takes on the new time; no second row, nothing is asked"
    " of S3",
)
async def test_a_time_that_moved_at_a_boot_makes_no_second_row(
    robot: Robot, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "petal_s3")
    paths = await three_proven(robot, size)

    for number in range(1, 4):
        for path in paths:
            an_hour_later(path, hours=1 if number % 2 else -1)
            mounted_anew(path)
        assert await boot(robot) == 3
        assert (await robot.service.landed()).model_dump() == {
            "found": 3,
            "enqueued": 0,
            "trouble": "",
            "reason": "",
        }
        assert caplog.text.count("proven file known again") == 3 * number
        assert await robot.service.scan() == 0, "it is not read again"

    found = await rows(robot)
    assert [row.state for row in found] == ["verified"] * 3
    assert [row.mtime_ns for row in found] == [path.stat().st_mtime_ns for path in paths]
    assert robot.ops() == []


@pytest.mark.parametrize("part_size", [PART, PART + 4096])
async def test_a_log_that_was_recognised_after_the_loss_of_the_outbox_is_known_again(
    robot: Robot, part_size: int
) -> None:
    """Its row knows no part size: the one that is set and the usual ones are tried."""
    robot.given["part_size"] = part_size
    await robot.restart()
    [path, *_] = await three_proven(robot, TWO_PARTS)
    await robot.service.stop()
    shutil.rmtree(robot.state)
    await robot.open()
    recognised = await robot.finish(await robot.service.enqueue(path))
    an_hour_later(path)

    await robot.service.scan()
    await robot.service.landed()

    assert (recognised.part_size, len(robot.sql(f"SELECT 1 FROM log WHERE path = '{path}'"))) == (
        None,
        1,
    )


@pytest.mark.guarantee(
    "file",
    "proven, then replaced by other bytes of the same size and of another time",
    "it is another log: its own row, its own object",
)
@pytest.mark.parametrize("crc", ["another", "the same"])
async def test_other_bytes_of_another_time_have_their_own_row(robot: Robot, crc: str) -> None:
    row = await robot.finish(await robot.land())
    path = Path(row.path)
    before = path.read_bytes()
    other = with_equal_crc(before) if crc == "the same" else before[:-1] + b"\xff"
    assert other != before
    path.write_bytes(other)
    an_hour_later(path)

    await robot.service.scan()
    landed = await robot.service.landed()
    done = await robot.finish(await robot.row(2))

    assert landed.enqueued == 1
    assert (done.state, done.same_as) == ("verified", None)
    assert (robot.body(row.key), robot.body(done.key)) == (before, other)


async def test_new_logs_are_taken_before_known_ones_are_read(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "petal_s3")
    for path in await three_proven(robot):
        an_hour_later(path)
    robot.write("zz-new.ulg", seed=9)
    caplog.clear()

    await robot.service.scan()
    landed = await robot.service.landed()

    assert landed.model_dump() == {"found": 4, "enqueued": 1, "trouble": "", "reason": ""}
    assert caplog.text.index("zz-new.ulg") < caplog.text.index("proven file known again")


async def test_known_ones_are_not_read_while_it_flies(robot: Robot) -> None:
    for path in await three_proven(robot):
        an_hour_later(path)
    service = robot.service
    await service.scan()

    def takes_off(_paths: Iterable[str]) -> set[str]:
        service.flight.told(armed=True, now=service.now())
        return set()

    service.intake.open_for_writing = takes_off
    await service.watcher.accept_settled()
    left = len(service.watcher.settling)
    await service.watcher.accept_settled()

    assert left == 2, "it ends after one of them"
    assert len(service.watcher.settling) == left, "nothing is read in flight"


async def test_a_known_file_that_is_named_gets_no_second_row(robot: Robot) -> None:
    row = await robot.finish(await robot.land())
    path = Path(row.path)
    mounted_anew(path)
    an_hour_later(path)

    again = await robot.service.enqueue(path)

    assert (again.id, again.state) == (row.id, "verified")
    assert again.identity.mtime_ns == path.stat().st_mtime_ns


async def test_a_key_asked_for_a_known_file_is_still_made(robot: Robot) -> None:
    row = await robot.finish(await robot.land())
    path = Path(row.path)
    mounted_anew(path)
    key = f"{HOME}records/1/flight.ulg"
    robot.ledger.clear()

    other = await robot.finish(await robot.service.enqueue(path, key=key))

    assert (other.state, other.key, robot.count("PutObject")) == ("verified", key, 0)
    assert robot.stored() == sorted([row.key, key])


@pytest.mark.guarantee(
    "file",
    "its time moved while it waited for another key, and it moves again",
    "it is known by its bytes, also by the row that missed the first change: no second row",
)
@pytest.mark.parametrize("noticed", [True, False])
async def test_a_row_that_missed_a_change_of_time_is_known_by_its_bytes(
    robot: Robot, noticed: bool
) -> None:
    """Proven in parts and copied as a whole, the two rows have one CRC32 and two ETags."""
    row = await robot.finish(await robot.land(size=TWO_PARTS))
    path = Path(row.path)
    other = await robot.service.enqueue(path, key=f"{HOME}records/1/flight.ulg")
    an_hour_later(path)
    await robot.finish(other)
    if noticed:  # another file lies there now, as far as the first row tells
        await robot.service.outbox(left_alone, row)
    an_hour_later(path)

    await robot.service.scan()
    await robot.service.landed()

    found = await rows(robot)
    assert [one.state for one in found] == ["verified"] * 2
    assert {one.mtime_ns for one in found} == {path.stat().st_mtime_ns}
    assert {one.receipt.etag for one in found if one.receipt} > {row.receipt and row.receipt.etag}


@pytest.mark.guarantee(
    "retention",
    "its card gives new inode numbers at each mount",
    "a proven file is deleted all the same, by its bytes; other bytes stay and are sent",
)
@pytest.mark.parametrize("same", [True, False])
async def test_a_proven_file_under_a_new_inode_may_go(robot: Robot, same: bool) -> None:
    await robot.restart(min_free_bytes=1 << 60)
    row = await robot.finish(await robot.land())
    path = Path(row.path)
    mounted_anew(path)
    if not same:
        known = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        os.utime(path, ns=(known, known))

    deleted = await robot.service.retention.step()

    assert (deleted, path.exists()) == (int(same), not same)
    if not same:  # found to be another one: it is taken in
        await robot.service.scan()
        assert (await robot.service.landed()).enqueued == 1
        assert (await robot.finish(await robot.row(2))).same_as is None
        assert len(robot.stored()) == 2


async def test_a_proven_file_with_another_time_that_retention_met_first_is_known_again(
    robot: Robot,
) -> None:
    await robot.restart(min_free_bytes=1 << 60)
    row = await robot.finish(await robot.land())
    path = Path(row.path)
    an_hour_later(path)

    first = await robot.service.retention.step()
    await robot.service.scan()
    await robot.service.landed()
    then = await robot.service.retention.step()

    assert (first, then, path.exists()) == (0, 1, False)
    assert (await robot.row(row)).local == "deleted"
    assert len(await rows(robot)) == 1
