"""The disk of the outbox becomes read-only, or goes away underneath: nothing is lost with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import disks
import pytest
from robot import SMALL, THREE_PARTS, Robot, until

from petal_s3.demo.ledger import Request
from petal_s3.errors import LocalStorageError
from petal_s3.intake.watcher import Watcher
from petal_s3.outbox.rows import Row
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.outbox.thread import OutboxThread
from petal_s3.service.draining import Timing
from petal_s3.service.service import Service


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again after seconds is tried again at once."""
    monkeypatch.setattr("petal_s3.upload.pause.PROBE_S", 0.05)
    monkeypatch.setattr(Watcher, "retry_s", 0.05)


@contextlib.asynccontextmanager
async def running(robot: Robot, state: Path | None = None) -> AsyncIterator[Service]:
    """The service as the host runs it, until the disk may be taken away."""
    await robot.service.stop()
    robot.state = state or robot.state
    service = robot.build(concurrency=1)
    service.drainer.timing.spread = lambda: 0.0
    service.drain.timing = Timing(lock_s=0.05, storage_s=0.05, report_s=0.1)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def told(service: Service) -> str:
    """What status says, or why it cannot say anything."""
    try:
        return str((await service.status()).reason)
    except LocalStorageError as error:
        assert error.status == 507
        return error.message


async def entered(robot: Robot, path: Path) -> Row:
    """Ask until the log is taken; then it is on the disk, and nowhere else."""
    while True:
        try:
            row = await robot.service.enqueue(path)
        except LocalStorageError:
            await asyncio.sleep(0.05)
            continue
        assert robot.sql(f"SELECT path FROM log WHERE id = {row.id}") == [(str(path),)]
        return row


def proven(robot: Robot) -> int:
    """How many rows on the disk are verified; none while there is no outbox."""
    if not robot.database.exists():
        return 0
    with contextlib.suppress(Exception):  # it may just be made
        return int(robot.sql("SELECT count(*) FROM log WHERE state = 'verified'")[0][0])
    return 0


# -- read-only


@pytest.mark.guarantee(
    "device",
    "the state directory is read-only at the start",
    "every request is told why not, and it begins by itself when it can be written",
)
async def test_a_read_only_disk_at_the_start_is_waited_for(robot: Robot, tmp_path: Path) -> None:
    path = robot.write()
    with disks.small(tmp_path / "disk") as disk:
        disks.remount(disk, "ro")
        async with running(robot, disk) as service:
            with pytest.raises(LocalStorageError, match="Read-only file system") as refused:
                await service.enqueue(path)
            said = await told(service)

            disks.remount(disk, "rw")
            await until(lambda: proven(robot))
            row = await robot.row(1)

        assert refused.value.status == 507
        assert "Read-only file system" in said
        robot.assert_sent_once(row, path)


@pytest.mark.guarantee(
    "device",
    "the file system of the outbox fails and turns read-only in the middle of an upload",
    "status says so; mounted anew, the upload goes on from the last confirmed part",
)
async def test_a_file_system_that_fails_in_the_middle_costs_no_part(
    robot: Robot, tmp_path: Path
) -> None:
    image, card = tmp_path / "image", tmp_path / "card"
    with image.open("wb") as made:
        made.truncate(16 << 20)
    if shutil.which("mkfs.ext4") is None or disks.run("mkfs.ext4", "-q", str(image)).returncode:
        pytest.skip("there is no mkfs.ext4")
    path = robot.write(size=THREE_PARTS)

    async def fail(_: Request) -> None:
        disks.remount(card, "abort")  # what ext4 does by itself when its disk fails

    robot.fault("UploadPart", fail, part=2)
    with disks.mounted(card, "-o", "loop", str(image)):
        async with running(robot, card / "state") as service:
            await until(lambda: service.drainer.block)
            said = await told(service)
        confirmed = robot.ledger.parts(robot.ledger.requests("UploadPart")[0].key).confirmed
    with disks.mounted(card, "-o", "loop", str(image)):
        async with running(robot):
            await until(lambda: proven(robot))
            row = await robot.row(1)

    assert "its disk reports an error" in said
    assert confirmed >= 1
    robot.assert_sent_once(row, path)


@pytest.mark.guarantee(
    "device",
    "the log directories are on a read-only disk",
    "logs are found, copied where that is asked for, and sent as ever",
)
async def test_logs_on_a_read_only_disk_are_sent_as_ever(robot: Robot, tmp_path: Path) -> None:
    with disks.small(robot.logs), disks.small(tmp_path / "stick") as stick:
        inside = robot.write("inside.ulg", SMALL, seed=1)
        outside = stick / "outside.ulg"
        robot.store.copy(outside, SMALL, 2)
        for disk in (robot.logs, stick):
            disks.remount(disk, "ro")
        async with running(robot) as service:
            await service.enqueue(outside)
            await until(lambda: proven(robot) == 2)

        for path in (inside, outside):
            [key] = [key for key in robot.stored() if path.stem in key]
            assert robot.body(key) == path.read_bytes()


# -- gone


@pytest.mark.guarantee(
    "device",
    "the state directory is deleted while it runs",
    "no log is accepted into a file that is gone; a new outbox is begun, every log in the log"
    " directories arrives, and what was up already is not sent again",
)
async def test_a_state_directory_that_is_deleted_is_begun_anew(robot: Robot) -> None:
    async with running(robot) as service:
        paths = [robot.write("up.ulg", seed=1)]
        service.watcher.ask_scan()
        await until(lambda: proven(robot) == 1)
        robot.link.cut()
        paths.append(robot.write("waits.ulg", seed=2))
        await service.enqueue(paths[1])

        shutil.rmtree(robot.state)
        paths.append(robot.write("after.ulg", seed=3))
        row = await entered(robot, paths[2])
        robot.link.forward()
        await until(lambda: proven(robot) == 3)
        await until(lambda: service.lock.held)

        assert (await robot.row(row)).state == "verified"
        assert not DrainLock(robot.state).take()
        assert DrainLock(robot.state).holder() == os.getpid()
    assert robot.count("PutObject") == 3
    assert sorted(robot.body(key) for key in robot.stored()) == sorted(
        p.read_bytes() for p in paths
    )


@pytest.mark.guarantee(
    "device",
    "the disk of the state directory is pulled out while it runs, and put back",
    "nothing is accepted or begun beside it meanwhile; then the same outbox goes on",
)
async def test_a_disk_that_is_pulled_out_is_waited_for(robot: Robot, tmp_path: Path) -> None:
    state = tmp_path / "mounted"
    with disks.small(tmp_path / "disk") as disk, disks.mounted(state, "--bind", str(disk)):
        async with running(robot, state) as service:
            robot.link.cut()
            waits, other = robot.write("waits.ulg", seed=1), robot.write("other.ulg", seed=2)
            row = await service.enqueue(waits)
            await until(lambda: service.lock.held)

            assert disks.run("umount", "-l", str(state)).returncode == 0
            with pytest.raises(LocalStorageError):
                await service.enqueue(other)
            await until(lambda: not service.lock.held)
            said = await told(service)
            left_there = list(state.iterdir())
            assert disks.run("mount", "--bind", str(disk), str(state)).returncode == 0
            robot.link.forward()
            await until(lambda: proven(robot) == 2)
            done = await robot.row(row)

        assert "is not mounted: mount it again" in said or "no longer there" in said
        assert left_there == []
        robot.assert_sent_once(done, waits)


async def test_an_outbox_that_is_replaced_is_opened_anew_and_the_old_one_let_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outbox.db"
    thread = OutboxThread(path)
    await thread.open()
    first = thread.opened
    assert not await thread.missing()

    for file in tmp_path.glob("outbox.db*"):
        file.unlink()
    assert await thread.missing()
    await thread.open()

    assert thread.opened is not first
    assert not await thread.missing()
    assert path.exists()
    await thread.close()
