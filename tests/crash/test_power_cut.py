"""The power fails after any commit, or within one: what the disk holds then opens and finishes."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import DEADLINE_S, TWO_PARTS, Lab

from petal_s3.outbox import queries
from petal_s3.service.service import Service

_FILES = ("outbox.db", "outbox.db-wal", "outbox.db-shm")


class Disk:
    """Keeps what the disk holds after each commit.

    SQLite tells of each statement before it runs; the one before is on disk by then. It tells
    on the thread that writes, so that nothing changes while the files are copied.
    """

    def __init__(self, state: Path, copies: Path) -> None:
        self.copies: list[Path] = []
        self.at: dict[int, Callable[[], None]] = {}
        """What to do when so many commits are on disk."""
        self._state = state
        self._target = copies
        self._last: list[bytes] = []

    async def watch(self, service: Service) -> None:
        await service.outbox(lambda box: box.sql.conn.set_trace_callback(self._before))

    def _before(self, _: str) -> None:
        held = [path.read_bytes() if path.exists() else b"" for path in self._paths()]
        if held[:2] == self._last[:2]:
            return
        self._last = held
        copy = self._target / f"{len(self.copies) + 1:03}"
        copy.mkdir(parents=True)
        for path, content in zip(self._paths(), held, strict=True):
            (copy / path.name).write_bytes(content)
        self.copies.append(copy)
        self.at.get(len(self.copies), lambda: None)()

    def _paths(self) -> list[Path]:
        return [self._state / name for name in _FILES]


async def bring(lab: Lab, service: Service) -> None:
    """Enter the log and make attempts until it is settled."""
    row = await service.enqueue(lab.path)
    await service.wait(row.id, patience_s=DEADLINE_S)


async def bring_watched(lab: Lab, disk: Disk) -> None:
    """One whole upload on a disk that is watched."""
    service = lab.service(lab.state)
    await service.open()
    await disk.watch(service)
    await service.start(watch=False)
    await bring(lab, service)
    await service.stop()


async def finish_from(lab: Lab, state: Path) -> None:
    """The power is back: a service on what the disk held."""
    service = lab.service(state)
    await service.start(watch=False)
    await bring(lab, service)
    await service.stop()


@pytest.mark.guarantee(
    "device",
    "the power fails, and the disk holds an earlier commit than S3 knows of",
    "S3 is asked; not a byte is sent again",
)
async def test_what_the_disk_holds_after_any_commit_opens_and_sends_nothing_again(
    lab: Lab, tmp_path: Path
) -> None:
    """S3 is ahead: it has the whole object, whatever the outbox still remembers."""
    lab.begin(TWO_PARTS)
    disk = Disk(lab.state, tmp_path / "copies")
    await bring_watched(lab, disk)
    sent = lab.ledger.body_bytes

    for copy in disk.copies:
        await finish_from(lab, copy)
        lab.assert_arrived_once(copy)

    assert len(disk.copies) > 8
    assert lab.ledger.body_bytes == sent


@pytest.mark.guarantee(
    "device",
    "the power and the link fail at any commit of the outbox",
    "the log arrives, nothing is sent twice",
)
async def test_power_that_fails_at_any_commit_loses_nothing_and_sends_nothing_twice(
    lab: Lab, tmp_path: Path
) -> None:
    """S3 is where it was in that moment: the link dies with the drone."""
    for number in range(1, 100):
        lab.begin(TWO_PARTS)
        disk = Disk(lab.state, tmp_path / f"copies-{number}")
        disk.at[number] = lab.link.cut
        service = lab.service(lab.state)
        await service.open()
        await disk.watch(service)
        await service.start(watch=False)
        row = await service.enqueue(lab.path)
        while len(disk.copies) < number and not (await service.outbox(queries.get, row.id)).settled:
            await asyncio.sleep(0.002)
        await service.stop()
        lab.link.forward()
        if len(disk.copies) < number:
            break

        await finish_from(lab, disk.copies[number - 1])
        lab.assert_arrived_once(disk.copies[number - 1])
    assert number > 8


@pytest.mark.guarantee(
    "device",
    "the power fails within a commit, and the upload goes on from there",
    "the log arrives, nothing is sent twice",
)
async def test_power_that_fails_within_a_commit_leaves_the_commit_before(
    lab: Lab, tmp_path: Path
) -> None:
    """A log that ends anywhere, in garbage too, is read up to the last whole commit."""
    lab.begin(TWO_PARTS)
    disk = Disk(lab.state, tmp_path / "copies")
    await bring_watched(lab, disk)
    whole = disk.copies[-1]
    size = (whole / "outbox.db-wal").stat().st_size
    rng = random.Random(7)
    torn = tmp_path / "torn"

    for cut_at in sorted(rng.randrange(size) for _ in range(25)):
        shutil.rmtree(torn, ignore_errors=True)
        shutil.copytree(whole, torn)
        with (torn / "outbox.db-wal").open("r+b") as wal:
            wal.truncate(cut_at)
            wal.seek(0, 2)
            wal.write(rng.randbytes(rng.choice((0, 700))))
        await finish_from(lab, torn)
        lab.assert_arrived_once(torn)


@pytest.mark.guarantee(
    "device",
    "the index of the database's log is lost or garbage after a power cut",
    "it is made anew; nothing is lost or sent twice",
)
async def test_a_lost_or_foreign_index_of_the_log_does_no_harm(lab: Lab, tmp_path: Path) -> None:
    lab.begin(TWO_PARTS)
    disk = Disk(lab.state, tmp_path / "copies")
    await bring_watched(lab, disk)

    for copy, content in zip(disk.copies[-2:], (None, b"\xff" * 32768), strict=True):
        shm = copy / "outbox.db-shm"
        shm.unlink() if content is None else shm.write_bytes(content)
        await finish_from(lab, copy)
        lab.assert_arrived_once(copy)
