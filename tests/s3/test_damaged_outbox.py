"""A damaged outbox is set aside and rebuilt from the disk and the bucket."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

import pytest
from rig import BUCKET, DEADLINE_S, TWO_PARTS, Rig, until

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.storage import set_aside
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


async def reopened(rig: Rig) -> Service:
    """A new process, that scans and takes over as the host's does."""
    service = await rig.open()
    await service.intake.adopt_copies()
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
async def test_a_damaged_outbox_is_set_aside_and_nothing_is_sent_twice(rig: Rig) -> None:
    done = await rig.finish(await rig.land("up.ulg", size=TWO_PARTS))
    await rig.land("waiting.ulg", seed=1)
    await rig.service.stop()
    damage(rig.database)

    service = await reopened(rig)
    while await service.drainer.step():
        pass

    counts = await service.outbox(queries.counts)
    assert (counts["verified"], sum(counts.values())) == (2, 2)
    assert rig.ledger.parts(done.key) == (2, 2, 0)
    assert (rig.state / "outbox.db.damaged-1").exists()


@pytest.mark.guarantee(
    "device",
    "the outbox is damaged, and it alone knew of a copy in the spool",
    "the copy is adopted and arrives",
)
async def test_a_copy_in_the_spool_survives_the_loss_of_the_outbox(rig: Rig) -> None:
    elsewhere = rig.tmp / "card" / "flight.ulg"
    rig.shelf.copy(elsewhere, 200_000, 3)
    content = elsewhere.read_bytes()
    await rig.service.enqueue(elsewhere)
    elsewhere.unlink()
    await rig.service.stop()
    damage(rig.database)

    service = await reopened(rig)
    while await service.drainer.step():
        pass

    [found] = rig.cloud.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert rig.cloud.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read() == content


@pytest.mark.guarantee(
    "device",
    "the outbox is overwritten with garbage while it is drained",
    "it is rebuilt without a restart",
)
async def test_an_outbox_that_is_damaged_while_it_is_drained_is_rebuilt(rig: Rig) -> None:
    await rig.finish(await rig.land("before.ulg"))
    service = await rig.run(settle_seconds=0)
    await until(lambda: service.lock.held)
    await service.outbox(forget_pages)
    damage(rig.database)
    rig.write("after.ulg", seed=2)

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 2:
        assert time.monotonic() < deadline, counts
        service.drainer.wake()
        await asyncio.sleep(0.1)
    assert list(rig.state.glob("outbox.db.damaged-*"))


@pytest.mark.guarantee(
    "device",
    "a process finds the outbox damaged while another one drains it",
    "it leaves it alone and says why",
)
async def test_a_damaged_outbox_is_left_alone_while_another_process_drains_it(rig: Rig) -> None:
    await rig.land()
    other = rig.service
    assert await other.run(other.lock.take)
    await other.outbox(forget_pages)
    damage(rig.database)

    mine = rig.build()
    with pytest.raises(LocalStorageError, match="is damaged"):
        await mine.open()

    assert rig.database.exists()
    assert not list(rig.state.glob("outbox.db.damaged-*"))


@pytest.mark.guarantee(
    "device",
    "no room to rebuild a damaged outbox",
    "it is made as soon as there is room",
)
async def test_a_rebuild_that_a_full_disk_stops_is_made_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await rig.run(settle_seconds=0)
    await until(lambda: service.lock.held)
    refused = []

    def full_once(path: Path) -> Path:
        if not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return set_aside(path)

    monkeypatch.setattr("petal_s3.outbox.thread.set_aside", full_once)
    await service.outbox(forget_pages)
    damage(rig.database)
    rig.write("after.ulg", seed=2)

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 1:
        assert time.monotonic() < deadline, counts
        service.drainer.wake()
        await asyncio.sleep(0.1)
    assert refused


@pytest.mark.guarantee(
    "device",
    "the outbox is damaged, which is first met by the process that begins to drain",
    "it is rebuilt; every log in the log directories arrives",
)
async def test_damage_that_is_met_when_the_drain_begins_is_rebuilt(rig: Rig) -> None:
    path = rig.write("before.ulg")
    await rig.service.stop()
    service = rig.build()
    await service.open()
    await service.outbox(forget_pages)
    damage(rig.database)

    await service.start()

    deadline = time.monotonic() + DEADLINE_S
    while (counts := await counted(service)).get("verified") != 1:
        assert time.monotonic() < deadline, counts
        service.drainer.wake()
        await asyncio.sleep(0.1)
    [key] = rig.stored()
    assert rig.body(key) == path.read_bytes()
    assert list(rig.state.glob("outbox.db.damaged-*"))
