"""Free disk, touching only proven files: by age, and under pressure, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path

from petal_s3.cleanup import deletion
from petal_s3.cleanup.ageing import note_ages
from petal_s3.cleanup.deletion import NotDeleted, Opened
from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.errors import S3IntegrationError
from petal_s3.objects.proof import still_proven
from petal_s3.outbox import deletions, queries
from petal_s3.outbox.ages import DAY_S
from petal_s3.outbox.deletions import DONE, KEPT, UNSENT, Cursor
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.client import S3
from petal_s3.s3.plain_http import is_open

log = logging.getLogger("petal_s3")

_EVERY_S = 60.0
_FULL = (
    "Less than PETAL_S3_MIN_FREE_BYTES is free on {directory}, and no proven log is left to"
    " delete there; what is not proven is never deleted."
)


def free_bytes(directory: Path) -> int:
    """Bytes that are free for us on the file system of ``directory``; blocking."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


class Retention:
    """The ladder: unpinned files by age; under pressure unpinned files, then pinned ones; never
    one that is not proven. Off unless the operator asks for it."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxThread,
        s3: S3,
        files: Executor,
        *,
        delete_blocked_reason: Callable[[], str | None],
        now: Clock = clock.now,
    ) -> None:
        """``delete_blocked_reason`` answers why nothing may be deleted now, or none."""
        self.advice: list[str] = []
        self._settings = settings
        self._outbox = outbox
        self._s3 = s3
        self._files = files
        self.delete_blocked_reason = delete_blocked_reason
        self._now = now
        self.free = free_bytes
        """Tells how many bytes are free on the file system of a directory."""
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
            (error,) = await asyncio.gather(self._pass(), return_exceptions=True)
            if isinstance(error, S3IntegrationError):
                log.warning("retention deferred code=%s reason=%s", error.code, error.message)
            elif error is not None:
                log.error("retention crashed", exc_info=error)
            await self._rest()

    async def _pass(self) -> None:
        await self.recover()
        if self.on:
            await self.step()

    async def _rest(self) -> None:
        self._woken.clear()
        until = self._now() + _EVERY_S
        while (left_s := until - self._now()) > 0:
            # Where the disk is short, something new that is proven is looked at within seconds.
            await asyncio.sleep(min(left_s, 5.0 if self.advice else _EVERY_S))
            if self._woken.is_set() and self.advice:
                return

    async def recover(self) -> None:
        """End what a killed process had begun: what was only moved aside is put back."""
        for entry in await self._outbox(deletions.unfinished):
            state = await run_in(self._files, deletion.undo, Path(entry.path), entry.aside)
            await self._outbox(
                deletions.end,
                entry.id,
                state,
                "The process ended in between.",
                self._s3.clock.seconds(),
            )
            log.warning("deletion recovered path=%s state=%s", ascii(entry.path), state)

    async def step(self) -> int:
        """Climb the ladder once; return how many files were deleted.

        Nothing where anybody on the way may have answered in place of S3, unless that is asked for.
        """
        if is_open(self._settings.endpoint_url) and not self._settings.retention_over_http:
            return 0
        deleted = await self._by_age() if self._settings.retention_days else 0
        if self._settings.min_free_bytes:
            deleted += await self._under_pressure()
        return deleted

    # -- which files

    async def _by_age(self) -> int:
        now = await note_ages(self._outbox, self._s3.clock)
        oldest = now.oldest(self._settings.retention_days * DAY_S)
        deleted = 0
        async for row, receipt in self._proven(pinned=False):
            if row.settled_s > oldest or self.delete_blocked_reason() is not None:
                break
            deleted += await self._tried(row, receipt, "age")
        return deleted

    async def _under_pressure(self) -> int:
        deleted, advice = 0, []
        for directory in self._settings.directories:
            if self.delete_blocked_reason() is not None:
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
            device = await run_in(self._files, _device, directory)
            async for row, receipt in self._proven(pinned=pinned):
                if self.delete_blocked_reason() is not None or not await self._is_short(directory):
                    break
                if (
                    device is not None
                    and await run_in(self._files, _device, Path(row.path)) == device
                ):
                    deleted += await self._tried(row, receipt, "pressure")
        return deleted

    async def _is_short(self, directory: Path) -> bool:
        try:
            return await run_in(self._files, self.free, directory) < self._settings.min_free_bytes
        except OSError:
            return False  # not mounted: there is nothing to free

    async def _proven(self, *, pinned: bool) -> AsyncIterator[tuple[Row, Receipt]]:
        after: Cursor = (-1, 0)
        while page := await self._outbox(deletions.proven, pinned=pinned, after=after):
            for _, row in page:
                if row.receipt is not None and self._inside(row.path):
                    yield row, row.receipt
            after = page[-1][0]

    def _inside(self, path: str) -> bool:
        real = (os.path.realpath(directory) for directory in self._settings.directories)
        return any(Path(path).is_relative_to(one) for one in real)

    # -- one file

    async def _tried(self, row: Row, receipt: Receipt, why: str) -> bool:
        try:
            with contextlib.closing(await run_in(self._files, deletion.open_proven, row)) as held:
                await self._examine(held, row, receipt, why)
                return await self._delete(held, row, why)
        except NotDeleted as kept:
            log.info("file kept path=%s reason=%s", ascii(row.path), kept)
            if kept.for_good:
                await self._outbox(deletions.left_alone, row)
            return False

    async def _examine(self, held: Opened, row: Row, receipt: Receipt, why: str) -> None:
        await run_in(self._files, deletion.examine, held, row, receipt)
        if why == "pressure" and held.links > 1:
            raise NotDeleted("it has another name: nothing would be freed")
        info = await self._s3.head(receipt.key)
        if info is None or not still_proven(info, receipt):
            raise NotDeleted("the bucket does not hold it as it was proven")

    async def _delete(self, held: Opened, row: Row, why: str) -> bool:
        """From the first line on disk to the last nothing else is waited for."""
        fresh = await self._outbox(queries.get, row.id)
        if fresh.state != "verified" or fresh.receipt != row.receipt or fresh.pinned != row.pinned:
            raise NotDeleted("its row changed meanwhile")
        others = await self._outbox(queries.at_path, row.path)
        if any(not other.settled for other in others):
            raise NotDeleted("another row still waits for this file")
        aside = f".petal-s3-{row.id}-{secrets.token_hex(4)}"
        entry = await self._outbox(deletions.begin, row, aside, why, self._s3.clock.seconds())
        try:
            proven = await run_in(self._files, deletion.remove, held, aside)
        except (NotDeleted, OSError) as error:
            await self._outbox(deletions.end, entry, KEPT, str(error), self._s3.clock.seconds())
            raise NotDeleted(str(error)) from error
        state, reason = DONE, ""
        if not proven:
            saved = await run_in(self._files, deletion.rescue, held)
            state, reason = UNSENT, f"It was written to in the last moment; saved as {saved.name}."
            log.critical("unproven bytes lost their name path=%s saved=%s", row.path, saved)
        await self._outbox(deletions.end, entry, state, reason, self._s3.clock.seconds())
        log.info(
            "file deleted path=%s size=%d key=%s why=%s", ascii(row.path), row.size, row.key, why
        )
        return True


def _device(path: Path) -> int | None:
    try:
        return os.stat(path).st_dev  # noqa: PTH116
    except OSError:
        return None
