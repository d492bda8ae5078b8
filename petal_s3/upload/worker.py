"""Claim a due row, make one attempt, settle it; ``step`` decides, ``run`` repeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from petal_s3.cleanup.stale_uploads import Orphans
from petal_s3.core.settings import Settings
from petal_s3.core.signs import Signs
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import LeaseLost, LocalStorageError, S3IntegrationError
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.upload import pause
from petal_s3.upload.attempt import Uploader
from petal_s3.upload.failed_attempts import FailedAttempts
from petal_s3.upload.housekeeping import Housekeeping
from petal_s3.upload.pause import Block, Pause, Timing
from petal_s3.upload.progress import LEASE_S

log = logging.getLogger("petal_s3")

_LONGEST_S = 1800.0
"""The longest that anything but an attempt, which gives signs, was thought to take."""


@dataclass(frozen=True)
class DrainHooks:
    """What the drain asks and tells."""

    send_blocked_reason: Callable[[], str | None]
    """Why nothing may be sent now, or none when it may."""
    on_change: Callable[[], Awaitable[None]]
    on_settled: Callable[[Row], Awaitable[None]]


class Drainer:
    """The one worker on an outbox. Only the holder of the drain lock runs it."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxThread,
        uploader: Uploader,
        orphans: Orphans,
        hooks: DrainHooks,
        timing: Timing,
    ) -> None:
        self.timing = timing
        self.signs = Signs(timing.now, _LONGEST_S)
        self.pause = Pause(outbox, timing, uploader.link_state)
        self.housekeeping = Housekeeping(outbox, uploader, orphans, self.pause, timing)
        self._failed = FailedAttempts(
            outbox, uploader, self.pause, timing, settings.settle_seconds, settings.max_file_size
        )
        self._outbox = outbox
        self._uploader = uploader
        self._hooks = hooks
        self._unsure = False

    @property
    def block(self) -> Block | None:
        """Why nothing at all is sent for now."""
        return self.pause.block

    @property
    def is_busy(self) -> bool:
        """Whether a log is under way, or something holds all of them up."""
        return bool(self._uploader.live) or self.pause.block is not None

    @property
    def link(self) -> Literal["up", "down", "unknown"]:
        """``up``, ``down`` or ``unknown``."""
        return self.pause.link_state.link(self.timing.now())

    async def run(self) -> None:
        """Drain for ever; cancel to stop."""
        pause_s = 0.0
        while True:
            try:
                with self.signs.resting():
                    if pause_s > 0:
                        await self.pause.rest(pause_s)
                self.pause.woken.clear()
                pause_s = await self.turn()
            except LocalStorageError as error:
                self._unsure = True
                await self.pause.blocked(error)
                pause_s = pause.PROBE_S
            except Exception:
                # A bug of ours must not end the drain.
                self._unsure = True
                log.exception("drain step crashed")
                pause_s = pause.PROBE_S

    async def turn(self) -> float:
        """Do one thing if there is one; return how many seconds to rest."""
        if self._unsure:
            # No attempt runs now: what the failure left claimed has no worker.
            await self._outbox(transitions.release_claims)
            self._unsure = False
        if self._hooks.send_blocked_reason() is not None:
            return pause.POLL_S
        if self.pause.blocked_for_s() > 0:
            return self.pause.blocked_for_s()
        if await self.step():
            return 0.0
        await self.housekeeping.sweep()
        await self.housekeeping.tidy(self._is_idle)
        await self.housekeeping.look_for_damage()
        due_s = await self._outbox(queries.next_due_s, self.timing.now())
        return pause.IDLE_S if due_s is None else max(due_s, 0.05)

    async def _is_idle(self) -> bool:
        if self._hooks.send_blocked_reason() is not None or self.pause.blocked_for_s() > 0:
            return False
        return await self._outbox(queries.next_due_s, self.timing.now()) != 0

    # -- one attempt

    async def step(self) -> bool:
        """Claim the next due row and settle it; false when none was due."""
        claim = await self._outbox(
            transitions.claim_and_plan, self.timing.now(), LEASE_S, self._uploader.whole_bytes
        )
        if claim is None:
            return False
        row = claim.row
        await self._hooks.on_change()
        attempt = asyncio.ensure_future(self._uploader.attempt(claim))
        try:
            ended = await self._ended(attempt, row)
            settled = None if ended else await self._stopped(attempt, row)
        except asyncio.CancelledError:
            await cancel_and_wait(attempt)
            await asyncio.shield(self._let_go(row, "", ""))
            raise
        if ended:
            settled = await self._settled(attempt, row)
        if settled is not None:
            await self._hooks.on_settled(settled)
        await self._hooks.on_change()
        return True

    async def _ended(self, attempt: asyncio.Future[Row], row: Row) -> bool:
        """Wait until the attempt has ended; false as soon as it must not go on."""
        answered, sent = self._uploader.answered, self._uploader.traffic.parts_sent
        while True:
            done, _ = await asyncio.wait({attempt}, timeout=pause.LOOK_S)
            self.signs.give()
            if self._uploader.answered > answered:
                self.pause.answered()  # an upload may go on for hours
            if self._uploader.traffic.parts_sent > sent:
                self.pause.part_sent()
            if done:
                return True
            if self._hooks.send_blocked_reason() is not None or await self._cancelled(row):
                return False

    async def _cancelled(self, row: Row) -> bool:
        """Whether the row was given up, in this process or another."""
        try:
            return (await self._outbox(queries.get, row.id)).state == "cancelled"
        except S3IntegrationError:
            return False  # the attempt finds out by itself

    async def _stopped(self, attempt: asyncio.Future[Row], row: Row) -> Row | None:
        """End an attempt that must not go on, not only at the end of a part: that may take
        minutes."""
        reason = self._hooks.send_blocked_reason()
        await cancel_and_wait(attempt)
        if reason is None:
            log.warning("lease lost id=%d key=%s", row.id, row.key)
            return None
        log.info("upload paused key=%s reason=%s", row.key, reason)
        return await self._let_go(row, "paused", reason)

    async def _settled(self, attempt: asyncio.Future[Row], row: Row) -> Row | None:
        """What becomes of the row after its attempt; none where its lease was lost."""
        error = attempt.exception()
        if error is None:
            self.pause.succeeded()
            return attempt.result()
        if isinstance(error, LeaseLost):
            log.warning("lease lost id=%d key=%s", row.id, row.key)
            return None
        if isinstance(error, S3IntegrationError):
            return await self._failed.settle(row, error)
        return await self._failed.crashed(row, error)

    async def _let_go(self, row: Row, code: str, reason: str) -> Row | None:
        try:
            return await self._outbox(transitions.release, row, code, reason)
        except LeaseLost:
            return None  # it was settled meanwhile: there is nothing to give back
        except S3IntegrationError as error:
            self._unsure = True  # the next turn that can write gives it back
            log.warning("row not released id=%d reason=%s", row.id, error.message)
            return None
