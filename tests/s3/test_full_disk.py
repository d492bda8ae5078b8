"""The disk of the outbox is full: nothing is lost, everybody is told, and it goes on by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import disks
import pytest
from robot import PART, THREE_PARTS, TWO_PARTS, Robot, until

from petal_s3.errors import LocalStorageError
from petal_s3.intake.watcher import Watcher
from petal_s3.outbox import transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.service.reasons import NO_DRAIN
from petal_s3.service.service import Service
from petal_s3.service.snapshot import read_status

WRITES = {
    *(
        "enqueue_unless_alike",
        "claim_and_plan",
        "plan",
        "remember_upload",
        "progress",
        "verified",
        "defer",
        "change_key",
    ),
    *("release", "release_claims", "complete_listing", "note"),
}


class Filling:
    """Lets the disk become full at one write of the outbox, and stay so until it is freed."""

    def __init__(self, fill: Callable[[Outbox], None], free: Callable[[Outbox], None]) -> None:
        self.fill = fill
        self.free = free
        self.at: int | str = 0
        """The number or the name of the write that finds the disk full; 0: none does."""
        self.once = False
        """Whether it is freed as soon as one write has found it full."""
        self.full_at = ""
        self.written: list[str] = []
        self.failed: list[str] = []
        self.proven: list[Row] = []
        self._told = 0

    def again(self, at: int | str) -> None:
        self.at, self._told = at, 0
        self.written, self.failed, self.proven = [], [], []

    def failed_again(self) -> bool:
        """Whether one more write has failed since this was asked."""
        before, self._told = self._told, len(self.failed)
        return self._told > before

    def wrapped(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        def watched(outbox: Outbox, *args: Any, **kwargs: Any) -> Any:
            # A drain that has nothing to do claims nothing, again and again.
            if verb.__name__ in WRITES and (self.written or verb is not transitions.claim_and_plan):
                self.written.append(verb.__name__)
                if self.at in {verb.__name__, len(self.written)} and not self.failed:
                    self.full_at = verb.__name__
                    self.fill(outbox)
            try:
                done = verb(outbox, *args, **kwargs)
            except LocalStorageError as error:
                assert "its disk is full" in error.message
                self.failed.append(verb.__name__)
                if self.once:
                    self.free(outbox)
                raise
            if verb is transitions.verified:
                self.proven.append(done)
            return done

        return watched


@pytest.fixture(params=["counted in pages", "a real disk"])
def filling(
    request: pytest.FixtureRequest, robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Filling]:
    """A robot of which the disk can be filled; it looks again soon, not after seconds."""
    monkeypatch.setattr("petal_s3.upload.pause.PROBE_S", 0.05)
    monkeypatch.setattr(Watcher, "retry_s", 0.05)
    monkeypatch.setattr(Watcher, "poll_s", 0.05)
    with contextlib.ExitStack() as stack:
        if request.param == "counted in pages":
            made = Filling(disks.limit, disks.lift)
        else:
            disk = robot.state = stack.enter_context(disks.small(tmp_path / "disk"))

            def fill(outbox: Outbox) -> None:
                disks.empty_log(outbox)
                disks.fill(disk)

            made = Filling(fill, lambda _: disks.free(disk))
        call = OutboxThread.__call__

        async def watched(thread: OutboxThread, verb: Any, *args: Any, **kwargs: Any) -> Any:
            return await call(thread, made.wrapped(verb), *args, **kwargs)

        monkeypatch.setattr(OutboxThread, "__call__", watched)
        yield made


async def bring(robot: Robot, service: Service, filling: Filling, at: int | str) -> None:
    """Bring a log while the disk becomes full at that write, and free it when that was told."""
    filling.again(at)
    path = robot.write(f"{at}.ulg", TWO_PARTS, seed=crc32(str(at).encode()))
    content = path.read_bytes()
    service.watcher.ask_scan()

    await until(lambda: filling.failed or filling.proven)
    if at:
        while "full" not in (await service.status()).reason:
            await until(filling.failed_again)
        assert robot.sql("PRAGMA integrity_check") == [("ok",)]
        assert path.read_bytes() == content
        await service.outbox(filling.free)
    await until(lambda: filling.proven and service.drainer.block is None)

    [row] = filling.proven
    robot.assert_sent_once(row, path)


@pytest.mark.guarantee(
    "device",
    "no free space for the outbox at any write between enqueueing and proof",
    "nothing is lost or sent twice, status says why, and it goes on by itself once there is space",
)
async def test_a_full_disk_at_any_write_loses_nothing_and_is_told(
    robot: Robot, filling: Filling
) -> None:
    await robot.service.stop()
    service = robot.build(concurrency=1, part_size=PART)
    service.drainer.timing.spread = lambda: 0.0
    await service.open()
    await service.outbox(disks.weigh)
    await service.start()

    await bring(robot, service, filling, "complete_listing")  # once in the life of an outbox
    await bring(robot, service, filling, 0)
    writes = filling.written[: filling.written.index("verified") + 1]
    for number, verb in enumerate(writes, start=1):
        await bring(robot, service, filling, number)
        assert filling.full_at == verb

    assert writes == [
        *("enqueue_unless_alike", "claim_and_plan", "plan", "remember_upload"),
        *("progress", "progress", "progress", "verified"),
    ]


@pytest.mark.guarantee(
    "device",
    "the vehicle is armed in an upload, and there is no free space to write down that it waits",
    "it goes on after the landing as soon as there is space, not when its lease ends",
)
async def test_a_row_that_could_not_be_given_back_does_not_wait_for_its_lease(
    robot: Robot, filling: Filling
) -> None:
    await robot.service.stop()
    service = robot.build(concurrency=1, part_size=PART)
    await service.open()
    await service.outbox(disks.weigh)
    await service.start()
    filling.again("release")
    filling.once = True
    path = robot.write(size=THREE_PARTS)
    service.watcher.ask_scan()
    await until(lambda: robot.sql(f"SELECT 1 FROM log WHERE sent_bytes >= {PART}"))
    robot.link.rate_bytes_s = 200_000
    await until(lambda: robot.flying(part=2))

    service.flight.told(armed=True, now=service.now())
    await until(lambda: filling.failed)
    robot.link.rate_bytes_s = 0
    for _ in range(3):
        service.flight.told(armed=False, now=service.now())
    await until(lambda: filling.proven)

    assert filling.failed == ["release"]
    robot.assert_sent_once(filling.proven[0], path)


@pytest.mark.guarantee(
    "device",
    "no free space in the spool for the copy of a log from elsewhere",
    "the request is refused with 507 and the reason, nothing half-written stays; repeated when"
    " there is space, it is accepted and the log arrives",
)
async def test_a_log_that_finds_the_spool_full_is_refused_and_accepted_later(
    robot: Robot, tmp_path: Path
) -> None:
    path = tmp_path / "card" / "flight.ulg"
    robot.store.copy(path, TWO_PARTS, 1)
    with disks.small(tmp_path / "disk", "16m") as disk:
        robot.state = disk
        service = await robot.restart()
        held = sorted(disk.rglob("*"))
        with (disk / "other").open("wb") as other:
            other.truncate(13 << 20)
            other.write(bytes(13 << 20))

        with pytest.raises(
            LocalStorageError, match=r"No room for \d+ bytes: \d+ bytes are"
        ) as full:
            await service.enqueue(path)
        left = sorted(disk.rglob("*"))
        rows = robot.sql("SELECT * FROM log")
        (disk / "other").unlink()
        row = await service.enqueue(path)
        content = path.read_bytes()
        path.unlink()
        done = await robot.finish(row)

        assert (full.value.status, full.value.code) == (507, "storage_full")
        assert left == sorted([*held, disk / "other"])
        assert rows == []
        assert robot.body(done.key) == content
        assert list((disk / "spool").iterdir()) == []
        await service.stop()


@pytest.mark.guarantee(
    "device",
    "the disk is so full that the draining process cannot even write down why it waits",
    "petal-s3 status sees the full disk from outside, and says so",
)
async def test_a_caller_that_looks_from_outside_sees_that_the_disk_is_full(
    robot: Robot, tmp_path: Path
) -> None:
    with disks.small(tmp_path / "disk") as disk:
        robot.state = disk
        service = await robot.restart()
        await robot.land()
        before = read_status(service.settings, 10).reason
        await service.outbox(disks.empty_log)
        disks.fill(disk)
        full = read_status(service.settings, 10).reason
        disks.free(disk)
        after = read_status(service.settings, 10).reason
        await service.stop()

    assert full == f"The disk of {disk} is full: free some space."
    assert before == after == NO_DRAIN.sentence
