"""While there is nothing to send: abort uploads that no row needs, look for damage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from petal_s3.cleanup.stale_uploads import Orphans
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError
from petal_s3.outbox import damage, queries, requests
from petal_s3.outbox.thread import OutboxThread
from petal_s3.upload import pause
from petal_s3.upload.attempt import Uploader
from petal_s3.upload.backoff import CAP_S, backoff_s
from petal_s3.upload.pause import Pause, Timing

log = logging.getLogger("petal_s3")

_CAP_TIDY_S = 3600.0
_LOOK_EVERY_S = 200.0  # less than a thousandth of the time is for this


class Housekeeping:
    """What the drain does beside sending logs."""

    def __init__(
        self,
        outbox: OutboxThread,
        uploader: Uploader,
        orphans: Orphans,
        waiting: Pause,
        timing: Timing,
    ) -> None:
        self.tidy_at = float("-inf")
        """When orphans are looked for next, in seconds since boot."""
        self.failures = 0
        """How many looks for orphans have failed in a row."""
        self._outbox = outbox
        self._uploader = uploader
        self._orphans = orphans
        self._pause = waiting
        self._timing = timing
        self._looked_to: int | None = None
        self._look_at = float("-inf")

    async def look_for_damage(self) -> None:
        """Look through a few more rows of the outbox, every few minutes at most; all in turn.

        A process begins anywhere, so that none is left out where processes live short.
        Raises :class:`LocalStorageError` (``outbox_damaged``).
        """
        now = self._timing.now()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_S
        if self._looked_to is None:
            self._looked_to = int(self._timing.spread() * await self._outbox(damage.newest))
        self._looked_to = await self._outbox(damage.look_on, self._looked_to)

    async def sweep(self) -> None:
        """Abort the uploads of rows that were given up."""
        for row in await self._outbox(queries.leftovers):
            try:
                await self._uploader.abandon(row)
            except S3IntegrationError as error:
                log.warning("abort deferred key=%s reason=%s", row.key, error.message)
                if error.blocks_drain:
                    await self._pause.blocked(error)
                return
            await self._outbox(requests.clear_upload, row)

    async def tidy(self, is_idle: Callable[[], Awaitable[bool]]) -> None:
        """Look for orphans, seldom, and only while there is nothing else to do.

        Interrupted by any other work and repeated later; errors are only logged.
        """
        if self._timing.now() < self.tidy_at or not await is_idle():
            return
        work = asyncio.ensure_future(self._orphans.collect_if_due())
        try:
            while not work.done() and await is_idle():
                await asyncio.wait({work}, timeout=pause.LOOK_S)
        finally:
            await cancel_and_wait(work)
        self.tidy_at = self._timing.now() + self._next_s(work)

    def _next_s(self, work: asyncio.Future[float]) -> float:
        """Seconds until the next look for orphans."""
        if work.cancelled():
            return CAP_S
        error = work.exception()
        if error is None:
            self.failures = 0
            return work.result()
        self.failures += 1
        wait_s = backoff_s(self.failures + 4, cap_s=_CAP_TIDY_S, spread=self._timing.spread)
        if isinstance(error, S3IntegrationError):
            wait_s = max(wait_s, error.retry_after_s or 0.0)
            log.info("orphans not looked for due_in_s=%.0f reason=%s", wait_s, error.message)
        else:
            log.error("looking for orphans crashed due_in_s=%.0f", wait_s, exc_info=error)
        return wait_s
