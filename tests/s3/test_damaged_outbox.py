"""A damaged outbox is set aside and rebuilt from the disk and the bucket."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

import pytest
from robot import BUCKET, DEADLINE_S, TWO_PARTS, Robot, until

from petal_s3.errors import LocalStorageError
from petal_s3.intake.spooling import adopt_copies
from petal_s3.outbox import queries
from petal_s3.outbox.database import set_aside
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.service import Service


def damage(database: Path) -> None:
    """Overwrite the middle of the database, as a dying SD card does."""
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (database.stat().st_size - 4096))


def forget_pages(outbox: Outbox) -> None:
    """Have everything in the file, and nothing in memory: damage is met at the next look."""
    for pragma in ("wal_checkpoint(TRUNCATE)", "cache_size = 0", "shrink_memory"):
        outbox.sql.db.conn.execute(f"PRAGMA {pragma}").fetchall()


async def reopened(robot: Robot) -> Service:
    """A new process, that scans and takes over as the host's does."""
    service = await robot.open()
    await adopt_copies(service.intake)
    await service.scan()
    await service.landed()
    return service


async def counted(service: Service) -> dict[str, int]:
    """Land what lies there and count the rows; nothing while the outbox cannot be read."""
    try:
        await service.landed()
        return await service.outbox(queries.counts)
    except LocalStorageError:
        return {}


@pytest.mark.guarantee(
    "device",
    "the outbox is overwritten with garbage while nothing runs",
    "it is set aside and rebuilt from disk and bucket; nothing is sent twice",
)
async def test_a_damaged_outbox_is_set_aside_and_nothing_is_sent_twice(robot: Robot) -> None:
    done = await robot.finish(await robot.land("up.ulg", size=TWO_PARTS))
    await robot.land("waiting.ulg", seed=1)
    await robot.service.stop()
    damage(robot.database)

    service = await reopened(robot)
    while await service.drainer.step():
        pass

    counts = await service.outbox(queries.counts)
    assert (counts["verified"], sum(counts.values())) == (2, 2)
    assert robot.ledger.parts(done.key) == (2, 2, 0)
    assert (robot.state / "outbox.db.damaged-1").exists()


@pytest.mark.guarantee(
    "device",
    "the outbox is damaged, and it alone knew of a copy in the spool",
    "the copy is adopted and arrives",
)
async def test_a_copy_in_the_spool_survives_the_loss_of_the_outbox(robot: Robot) -> None:
    elsewhere = robot.tmp / "card" / "flight.ulg"
    robot.store.copy(elsewhere, 200_000, 3)
    content = elsewhere.read_bytes()
    await robot.service.enqueue(elsewhere)
    elsewhere.unlink()
    await robot.service.stop()
    damage(robot.database)

    service = await reopened(robot)
    while await service.drainer.step():
        pass

    [found] = robot.cloud.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert robot.cloud.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read() == content


@pytest.mark.guarantee(
    "device",
    "the outbox is overwritten with garbage while it is drained",
    "it is rebuilt without a restart",
)
async def test_an_outbox_that_is_damaged_while_it_is_drained_is_rebuilt(robot: Robot) -> None:
    await robot.finish(await robot.land("before.ulg"))
    service = await robot.run(settle_seconds=0)
    await until(lambda: service.lock.held)
    await service.outbox(forget_pages)
    damage(robot.database)
    robot.write("after.ulg", seed=2)

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 2:
        assert time.monotonic() < deadline, counts
        service.drainer.pause.wake()
        await asyncio.sleep(0.1)
    assert list(robot.state.glob("outbox.db.damaged-*"))


@pytest.mark.guarantee(
    "device",
    "a process finds the outbox damaged while another one drains it",
    "it leaves it alone and says why",
)
async def test_a_damaged_outbox_is_left_alone_while_another_process_drains_it(robot: Robot) -> None:
    await robot.land()
    other = robot.service
    assert await other.files.run(other.lock.take)
    await other.outbox(forget_pages)
    damage(robot.database)

    mine = robot.build()
    with pytest.raises(LocalStorageError, match="is damaged"):
        await mine.open()

    assert robot.database.exists()
    assert not list(robot.state.glob("outbox.db.damaged-*"))


@pytest.mark.guarantee(
    "device",
    "no room to rebuild a damaged outbox",
    "it is made as soon as there is room",
)
async def test_a_rebuild_that_a_full_disk_stops_is_made_later(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await robot.run(settle_seconds=0)
    await until(lambda: service.lock.held)
    refused = []

    def full_once(path: Path) -> Path:
        if not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return set_aside(path)

    monkeypatch.setattr("petal_s3.outbox.thread.set_aside", full_once)
    await service.outbox(forget_pages)
    damage(robot.database)
    robot.write("after.ulg", seed=2)

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 1:
        assert time.monotonic() < deadline, counts
        service.drainer.pause.wake()
        await asyncio.sleep(0.1)
    assert refused


@pytest.mark.guarantee(
    "device",
    "the outbox is damaged, which is first met by the process that begins to drain",
    "it is rebuilt; every log in the log directories arrives",
)
async def test_damage_that_is_met_when_the_drain_begins_is_rebuilt(robot: Robot) -> None:
    path = robot.write("before.ulg")
    await robot.service.stop()
    service = robot.build()
    await service.open()
    await service.outbox(forget_pages)
    damage(robot.database)

    await service.start()

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 1:
        assert time.monotonic() < deadline, counts
        service.drainer.pause.wake()
        await asyncio.sleep(0.1)
    [key] = robot.stored()
    assert robot.body(key) == path.read_bytes()
    assert list(robot.state.glob("outbox.db.damaged-*"))
