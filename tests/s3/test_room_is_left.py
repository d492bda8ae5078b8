"""Whatever comes in, the flight recorder still finds room on the disk."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from disks import small
from robot import SMALL, Robot

from petal_s3.core.settings import MIB
from petal_s3.errors import LocalStorageError, NotAFlightLog
from petal_s3.intake.reserve import Space
from petal_s3.outbox import queries
from petal_s3.service import sessions

DISK = 64 * 1024 * MIB


class Disk:
    """The disk of the spool, of which a test says how much is free."""

    def __init__(self, robot: Robot, free: int) -> None:
        self.free = free
        self.robot = robot
        robot.service.intake.reserve.space = lambda _: Space(self.left(), DISK)

    def left(self) -> int:
        spool = self.robot.state / "spool"
        return self.free - sum(path.stat().st_size for path in spool.iterdir())


async def pieces(body: bytes, size: int = MIB) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def refused(robot: Robot, body: bytes, announced: int) -> LocalStorageError:
    with pytest.raises(LocalStorageError) as told:
        await robot.service.receive(pieces(body), "flight.ulg", announced=announced)
    assert list((robot.state / "spool").iterdir()) == []
    assert await robot.service.outbox(queries.rows) == []
    return told.value


def body_of(robot: Robot, size: int) -> bytes:
    path = robot.tmp / f"{size}.ulg"
    robot.store.copy(path, size, 0)
    return path.read_bytes()


@pytest.mark.guarantee(
    "device",
    "more comes by REST than the disk can take beside its reserve, announced or not",
    "507 with the figures: before the first byte where it was announced; nothing stays",
)
@pytest.mark.parametrize("announced", [True, False])
async def test_a_stream_leaves_the_reserve(robot: Robot, announced: bool) -> None:
    disk = Disk(robot, 512 * MIB + 3 * MIB)
    body = body_of(robot, 4 * MIB)

    error = await refused(robot, body, len(body) if announced else 0)
    free = disk.left()
    disk.free += MIB
    row = await robot.service.receive(pieces(body), "flight.ulg", announced=len(body))

    assert (error.code, error.status) == ("storage_full", 507)
    assert f"{512 * MIB} stay free" in error.message
    assert free == 515 * MIB
    assert row.size == len(body)


@pytest.mark.guarantee(
    "attack",
    "somebody announces an upload that nearly fills the disk, and sends little of it",
    "the logs of others are taken in all the same: only what has come counts",
)
@pytest.mark.threat("wifi")
async def test_who_announces_much_and_sends_little_keeps_nobody_out(robot: Robot) -> None:
    Disk(robot, 512 * MIB + 8 * MIB)
    body = body_of(robot, 4 * MIB)
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def drip() -> AsyncIterator[bytes]:
        yield body[:MIB]
        begun.set()
        await ended.wait()

    slow = asyncio.create_task(robot.service.receive(drip(), "much.ulg", announced=8 * MIB))
    await begun.wait()
    row = await robot.service.receive(pieces(body), "flight.ulg", announced=len(body))
    ended.set()
    await asyncio.gather(slow, return_exceptions=True)
    assert row.size == len(body)


async def test_an_announced_log_beyond_the_limit_is_refused_at_once(robot: Robot) -> None:
    await robot.restart(max_file_size=4 * MIB)
    with pytest.raises(NotAFlightLog, match=r"the limit is 4194304 bytes") as told:
        await robot.service.receive(
            pieces(body_of(robot, MIB)), "flight.ulg", announced=4 * MIB + 100_000
        )
    assert told.value.code == "too_large"


async def test_min_free_bytes_is_the_reserve_where_it_is_more(robot: Robot) -> None:
    await robot.restart(min_free_bytes=1024 * MIB)
    Disk(robot, 1024 * MIB + SMALL - 1)
    error = await refused(robot, body_of(robot, SMALL), SMALL)
    assert f"{1024 * MIB} stay free" in error.message


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.guarantee(
    "device",
    "a file is to be copied into a spool whose disk has no more than its reserve",
    "refused with the figures, the file stays; by a hard link it is taken all the same",
)
async def test_a_copy_leaves_the_reserve(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(robot, 512 * MIB + SMALL - 1)
    outside = robot.tmp / "outside.ulg"
    robot.store.copy(outside, SMALL, 0)
    with monkeypatch.context() as patch, pytest.raises(LocalStorageError) as told:
        no_links(patch)
        await robot.service.enqueue(outside)
    left = list((robot.state / "spool").iterdir())
    row = await robot.service.enqueue(outside)

    assert told.value.code == "storage_full"
    assert (left, outside.exists()) == ([], True)
    assert row.spooled


async def test_a_text_log_of_a_session_leaves_the_reserve(robot: Robot) -> None:
    Disk(robot, 512 * MIB + 100)
    path = robot.tmp / "notes.log"
    path.write_text("a line\n" * 100)
    with pytest.raises(LocalStorageError) as told:
        await sessions.enter_log(robot.service, path, "session-1")
    assert told.value.code == "storage_full"


@pytest.mark.guarantee(
    "device",
    "a real disk is nearly full, and logs are posted until none is taken any more",
    "a twentieth of it is left, and the flight recorder can write there",
)
@pytest.mark.threat("wifi")
async def test_a_small_disk_keeps_its_twentieth(robot: Robot, tmp_path: Path) -> None:
    with small(tmp_path / "disk", "40m") as place:
        (place / "ballast").write_bytes(bytes(24 * MIB))
        await robot.restart(state_dir=place / "state")
        body = body_of(robot, MIB)
        error: LocalStorageError | None = None
        for number in range(40):
            try:
                key = f"drone-001/{number}.ulg"
                await robot.service.receive(pieces(body), f"{number}.ulg", key=key)
            except LocalStorageError as refusal:
                error = refusal
                break
        # The reserve is the outbox's, too: the row of the last log was written after its body.
        (place / "recorder").write_bytes(bytes(2 * MIB - MIB // 8))
        await robot.service.stop()
    assert error is not None
    assert f"{2 * MIB} stay free" in error.message
