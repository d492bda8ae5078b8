"""Free disk, touching only proven files: by age, and under pressure, rung by rung."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from petal_s3.cleanup import deletion as removal
from petal_s3.cleanup.deletion import KeptBack, Opened
from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.errors import S3IntegrationError
from petal_s3.objects.proof import still_proven
from petal_s3.outbox import deletions, queries
from petal_s3.outbox.deletions import DONE, KEPT, UNSENT, Cursor
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.client import S3

log = logging.getLogger("petal_s3")

_EVERY_S = 60.0
_DAY_S = 86_400
_FULL = (
    "Less than PETAL_S3_MIN_FREE_BYTES is free on {directory}, and no proven log is left to"
    " delete there; what is not proven is never deleted."
)

T = TypeVar("T")


def free_bytes(directory: Path) -> int:
    """Bytes that are free for us on the file system of ``directory``; blocking."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


class Retention:
    """The ladder: unpinned files by age; under pressure unpinned files, then pinned ones; never
    one that is not proven. Off unless the operator asks for it."""

    def __init__(  # noqa: PLR0913 - the rooms it stands on
        self,
        settings: Settings,
        outbox: OutboxThread,
        s3: S3,
        files: Executor,
        *,
        may_not: Callable[[], str | None],
        now: Clock = clock.now,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """``may_not`` answers why nothing may be done now (it flies), or none."""
        self.advice: list[str] = []
        self._settings = settings
        self._outbox = outbox
        self._s3 = s3
        self._files = files
        self._may_not = may_not
        self._now = now
        self._free = free
        self._woken = asyncio.Event()

    @property
    def on(self) -> bool:
        """Whether the operator has switched it on."""
        return bool(self._settings.retention_days or self._settings.min_free_bytes)

    def wake(self) -> None:
        """Something was proven: there may be something to free."""
        self._woken.set()

    async def run(self) -> None:
        """Free disk for ever; cancel to stop. Nothing that fails here ends the drain."""
        while True:
            try:
                await self.recover()
                if self.on:
                    await self.step()
            except S3IntegrationError as error:
                log.warning("retention deferred code=%s reason=%s", error.code, error.message)
            except Exception:
                log.exception("retention crashed")
            await self._rest()

    async def _rest(self) -> None:
        self._woken.clear()
        until = self._now() + _EVERY_S
        while (left_s := until - self._now()) > 0:
            await asyncio.sleep(min(left_s, 5.0))
            if self._woken.is_set() and self.advice:
                return  # the disk is short, and something new is proven

    async def recover(self) -> None:
        """End what a killed process had begun: what was only moved aside is put back."""
        for entry in await self._outbox(deletions.unfinished):
            state = await self._run(removal.undo, Path(entry.path), entry.aside)
            await self._outbox(
                deletions.end, entry.id, state, "The process ended in between.", self._server_s()
            )
            log.warning("deletion recovered path=%s state=%s", ascii(entry.path), state)

    async def step(self) -> int:
        """Climb the ladder once; return how many files were deleted."""
        deleted = await self._by_age() if self._settings.retention_days else 0
        if self._settings.min_free_bytes:
            deleted += await self._under_pressure()
        return deleted

    # -- the rungs

    async def _by_age(self) -> int:
        if self._s3.clock.offset_s is None:
            return 0  # how old a proof is only S3's clock can tell
        oldest = self._server_s() - self._settings.retention_days * _DAY_S
        deleted = 0
        async for row, receipt in self._proven(pinned=False):
            if receipt.verified_at >= oldest or self._may_not() is not None:
                break
            deleted += await self._tried(row, receipt, "age")
        return deleted

    async def _under_pressure(self) -> int:
        deleted, advice = 0, []
        for directory in self._settings.directories:
            if self._may_not() is not None:
                return deleted
            deleted += await self._relieved(directory)
            if await self._is_short(directory):
                advice.append(_FULL.format(directory=directory))
        for sentence in advice:
            if sentence not in self.advice:
                log.warning("disk short reason=%s", sentence)
        self.advice = advice
        return deleted

    async def _relieved(self, directory: Path) -> int:
        deleted = 0
        for pinned in (False, True):
            if not await self._is_short(directory):
                break
            device = await self._run(_device, directory)
            async for row, receipt in self._proven(pinned=pinned):
                if self._may_not() is not None or not await self._is_short(directory):
                    break
                if device is not None and await self._run(_device, Path(row.path)) == device:
                    deleted += await self._tried(row, receipt, "pressure")
        return deleted

    async def _is_short(self, directory: Path) -> bool:
        try:
            return await self._run(self._free, directory) < self._settings.min_free_bytes
        except OSError:
            return False  # not mounted: there is nothing to free

    async def _proven(self, *, pinned: bool) -> AsyncIterator[tuple[Row, Receipt]]:
        after: Cursor = (-1, 0)
        while page := await self._outbox(deletions.proven, pinned=pinned, after=after):
            for after, row in page:  # noqa: B007 - the next page begins behind it
                if row.receipt is not None and self._inside(row.path):
                    yield row, row.receipt

    def _inside(self, path: str) -> bool:
        roots = (os.path.realpath(directory) for directory in self._settings.directories)
        return any(Path(path).is_relative_to(root) for root in roots)

    # -- one file

    async def _tried(self, row: Row, receipt: Receipt, rung: str) -> bool:
        try:
            with contextlib.closing(await self._run(removal.open_proven, row)) as held:
                await self._examine(held, row, receipt, rung)
                return await self._delete(held, row, rung)
        except KeptBack as kept:
            log.info("file kept path=%s reason=%s", ascii(row.path), kept)
            if kept.for_good:
                await self._outbox(deletions.left_alone, row)
            return False

    async def _examine(self, held: Opened, row: Row, receipt: Receipt, rung: str) -> None:
        await self._run(removal.examine, held, row, receipt)
        if rung == "pressure" and held.links > 1:
            raise KeptBack("it has another name: nothing would be freed")
        info = await self._s3.head(receipt.key)
        if info is None or not still_proven(info, receipt):
            raise KeptBack("the bucket does not hold it as it was proven")

    async def _delete(self, held: Opened, row: Row, rung: str) -> bool:
        """From the first line on disk to the last nothing else is waited for."""
        fresh = await self._outbox(queries.get, row.id)
        if fresh.state != "verified" or fresh.receipt != row.receipt or fresh.pinned != row.pinned:
            raise KeptBack("its row changed meanwhile")
        others = await self._outbox(queries.at_path, row.path)
        if any(not other.settled for other in others):
            raise KeptBack("another row still waits for this file")
        aside = f".petal-s3-{row.id}-{secrets.token_hex(4)}"
        entry = await self._outbox(deletions.begin, row, aside, rung, self._server_s())
        try:
            proven = await self._run(removal.remove, held, aside)
        except (KeptBack, OSError) as error:
            await self._outbox(deletions.end, entry, KEPT, str(error), self._server_s())
            raise KeptBack(str(error)) from error
        state, reason = DONE, ""
        if not proven:
            saved = await self._run(removal.rescue, held)
            state, reason = UNSENT, f"It was written to in the last moment; saved as {saved.name}."
            log.critical("unproven bytes lost their name path=%s saved=%s", row.path, saved)
        await self._outbox(deletions.end, entry, state, reason, self._server_s())
        log.info(
            "file deleted path=%s size=%d key=%s why=%s", ascii(row.path), row.size, row.key, rung
        )
        return True

    def _server_s(self) -> int:
        return int(self._s3.clock.utcnow().timestamp())

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)


def _device(path: Path) -> int | None:
    try:
        return os.stat(path).st_dev  # noqa: PTH116
    except OSError:
        return None
