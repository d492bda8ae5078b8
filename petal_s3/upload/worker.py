"""Claim a due row, make one attempt, settle it; ``step`` decides, ``run`` repeats."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from petal_s3.cleanup.stale_uploads import Orphans
from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.kinds import ALL_KINDS
from petal_s3.errors import (
    LeaseLost,
    LocalStorageError,
    Mismatch,
    NotAFlightLog,
    NotFinished,
    Offline,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceChanged,
    SourceGone,
    Throttled,
    UploadGone,
)
from petal_s3.logs.log_file import FlightLog
from petal_s3.outbox import identities, queries, requests, transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.connection import reachable
from petal_s3.upload.attempt import LEASE_S, Uploader, ended
from petal_s3.upload.source_file import missing

log = logging.getLogger("petal_s3")

_CAP_S = 60.0
_CAP_REFUSED_S = 900.0  # each try may carry a whole part that is refused at its end
_CAP_TIDY_S = 3600.0
_LOOK_S = 0.25  # how often a running attempt looks whether it may go on
_POLL_S = 1.0  # how often an idle drain looks for rows of other processes
_PROBE_S = 5.0
_PROBE_FIRST_S = 1.0
_PROBE_EAGER_FOR_S = 30.0

# Tried again they cost whole parts, or the whole log: the pauses grow longer.
_COSTLY = (S3BucketError, Mismatch, UploadGone)
_LATE_S = 10.0  # between two looks for what S3 has stored and does not show yet

Spread = Callable[[], float]


def backoff_s(failures: int, *, cap_s: float = _CAP_S, spread: Spread = random.random) -> float:
    """Seconds to wait after so many failures in a row: full jitter, doubled, capped.

    SourceFile: "Exponential Backoff And Jitter", AWS Architecture Blog. ``spread`` yields 0..1.
    """
    return spread() * min(cap_s, 2.0 ** min(max(failures, 0), 16))


@dataclass(frozen=True)
class Block:
    """Why nothing at all is sent for now."""

    code: str
    reason: str
    since: float
    until: float
    peer: tuple[str, int] | None


class Drainer:
    """The one worker on an outbox. Only the holder of the drain lock runs it."""

    def __init__(  # noqa: PLR0913
        self,
        outbox: OutboxThread,
        uploader: Uploader,
        orphans: Orphans,
        *,
        may_send: Callable[[], str | None],
        settle_s: float,
        max_file_size: int,
        on_change: Callable[[], Awaitable[None]],
        on_settled: Callable[[Row], Awaitable[None]],
        now: Clock = clock.now,
        spread: Spread = random.random,
        probe: Callable[[tuple[str, int]], Awaitable[bool]] = reachable,
    ) -> None:
        """``may_send`` answers why nothing may be sent now, or none when it may."""
        self.block: Block | None = None
        self.link = "unknown"
        self._outbox = outbox
        self._uploader = uploader
        self._orphans = orphans
        self._may_send = may_send
        self._settle_s = settle_s
        self._max_file_size = max_file_size
        self._on_change = on_change
        self._on_settled = on_settled
        self._now = now
        self._spread = spread
        self._probe = probe
        self._woken = asyncio.Event()
        self._failures = 0
        self._unsure = False
        self._seen_down = False
        self._probed_at = 0.0
        self._version = -1
        self._tidy_at = float("-inf")
        self._untidy = 0

    def wake(self) -> None:
        """Something changed (a log, the link, the flight): try now what waits."""
        self._woken.set()

    def new_log(self) -> None:
        """A log has entered the outbox: try at once, unless S3 itself asked for patience."""
        if self.block is not None and self.block.code != "throttled":
            self.block = replace(self.block, until=self._now())
        self.wake()

    async def hurry(self) -> None:
        """A person, a landing or the link asks: forget all waiting and try at once."""
        self.block = None
        await self._outbox(requests.make_due, self._now())
        self.wake()

    async def run(self) -> None:
        """Drain for ever; cancel to stop."""
        pause_s = 0.0
        while True:
            try:
                if pause_s > 0:
                    await self._rest(pause_s)
                self._woken.clear()
                pause_s = await self._turn()
            except LocalStorageError as error:
                self._unsure = True
                await self._blocked(error)
                pause_s = _PROBE_S
            except Exception:
                # A bug of ours must not end the drain.
                self._unsure = True
                log.exception("drain step crashed")
                pause_s = _PROBE_S

    async def _turn(self) -> float:
        """Do one thing if there is one; return how long to rest."""
        if self._unsure:
            # What the failure left claimed is nobody's: no attempt runs now.
            await self._outbox(transitions.release_claims)
            self._unsure = False
        if self._may_send() is not None:
            return _POLL_S
        if self._blocked_for_s() > 0:
            return self._blocked_for_s()
        if await self.step():
            return 0.0
        await self._sweep()
        await self._tidy()
        due_s = await self._outbox(queries.next_due_s, self._now())
        return _CAP_S if due_s is None else max(due_s, 0.05)

    # -- one attempt

    async def step(self) -> bool:
        """Claim the next due row and settle it; false when none was due."""
        row = await self._outbox(transitions.claim, self._now(), LEASE_S)
        if row is None:
            return False
        await self._on_change()
        attempt = asyncio.ensure_future(self._uploader.attempt(row))
        try:
            settled = await self._while_allowed(attempt, row)
        except asyncio.CancelledError:
            await ended(attempt)
            await asyncio.shield(self._let_go(row, "", ""))
            raise
        except LeaseLost:
            log.warning("lease lost id=%d key=%s", row.id, row.key)
            settled = None
        except S3IntegrationError as error:
            settled = await self._failed(row, error)
        except Exception as error:
            log.exception("attempt crashed id=%d", row.id)
            wait_s = backoff_s(row.failures, cap_s=_CAP_REFUSED_S, spread=self._spread)
            settled = await self._outbox(
                transitions.defer,
                row,
                self._now() + wait_s,
                "internal",
                f"An error of petal-s3 itself ({type(error).__name__}); it is tried again.",
            )
        if settled is not None:
            await self._on_settled(settled)
        await self._on_change()
        return True

    async def _while_allowed(self, attempt: asyncio.Future[Row], row: Row) -> Row | None:
        answered = self._uploader.answered
        while True:
            done, _ = await asyncio.wait({attempt}, timeout=_LOOK_S)
            if self._uploader.answered > answered:
                self.block, self.link = None, "up"  # an upload may go on for hours
            if done:
                settled = attempt.result()
                self._succeeded()
                return settled
            reason = self._may_send()
            if reason is not None:
                await ended(attempt)
                log.info("upload paused key=%s reason=%s", row.key, reason)
                return await self._let_go(row, "paused", reason)
            if await self._cancelled(row):
                await ended(attempt)  # not only at the end of a part: that may take minutes
                raise LeaseLost(f"Row {row.id} was cancelled.")

    async def _cancelled(self, row: Row) -> bool:
        """Whether somebody gave the row up, in this process or another."""
        try:
            return (await self._outbox(queries.get, row.id)).state == "cancelled"
        except S3IntegrationError:
            return False  # the attempt finds out by itself

    async def _let_go(self, row: Row, code: str, reason: str) -> Row | None:
        try:
            return await self._outbox(transitions.release, row, code, reason)
        except S3IntegrationError as error:
            # Settled meanwhile, or the disk is gone: the lease brings the row back.
            log.warning("row not released id=%d reason=%s", row.id, error.message)
            return None

    def _succeeded(self) -> None:
        self.block = None
        self.link = "up"
        self._failures = 0
        self._seen_down = False

    async def _failed(self, row: Row, error: S3IntegrationError) -> Row | None:
        try:
            if isinstance(error, SourceChanged):
                return await self._replan(row)
            if isinstance(error, SourceGone | NotAFlightLog):
                return await self._bury(row, error)
            if error.blocks_drain:
                await self._blocked(error)
            refused = isinstance(error, _COSTLY) or not error.waiting_helps
            wait_s = self._wait_s(row.failures, error, refused=refused)
            if error.code == "not_yet_there":
                wait_s = min(wait_s, _LATE_S)
            log.warning(
                "upload deferred key=%s attempt=%d due_in_s=%.0f code=%s reason=%s",
                row.key,
                row.attempts,
                wait_s,
                error.code,
                error.message,
            )
            return await self._outbox(
                transitions.defer, row, self._now() + wait_s, error.code, error.message
            )
        except LeaseLost:
            log.warning("lease lost id=%d key=%s", row.id, row.key)
            return None

    async def _bury(self, row: Row, error: S3IntegrationError) -> Row:
        log.error("upload buried key=%s code=%s reason=%s", row.key, error.code, error.message)
        return await self._outbox(transitions.mark_dead, row, error.code, error.message)

    async def _replan(self, row: Row) -> Row | None:
        """The file is another one now: examine it anew.

        What S3 holds is given up only where the size is another; else it is compared.
        """
        current = await self._outbox(queries.get, row.id)
        if current.lease != row.lease:
            return None
        try:
            found = await asyncio.to_thread(
                FlightLog.read,
                Path(row.path),
                max_bytes=self._max_file_size,
                name=row.name,
                kinds=frozenset({row.kind}) if row.kind in ALL_KINDS else ALL_KINDS,
            )
            same_size = found.identity.size == current.size
            if not same_size:
                await self._uploader.abandon(current)
        except S3FileNotFoundError:
            return await self._failed(row, missing(Path(row.path), row.identity))
        except NotFinished as error:
            return await self._outbox(
                transitions.defer, row, self._now() + self._settle_s, error.code, error.message
            )
        except SourceChanged:
            return await self._outbox(
                transitions.defer,
                row,
                self._now() + self._settle_s,
                "not_finished",
                "The file is being written; it is looked at again.",
            )
        except S3IntegrationError as error:
            return await self._failed(row, error)
        log.warning(
            "file changed, planned anew key=%s size=%d compared=%s",
            row.key,
            found.identity.size,
            same_size,
        )
        plan = identities.reidentify if same_size else identities.restart
        due_at = self._now() + self._settle_s
        return await self._outbox(plan, row, found.identity, found.verdict, found.facts, due_at)

    # -- waiting

    def _wait_s(self, failures: int, error: S3IntegrationError, *, refused: bool) -> float:
        cap_s = _CAP_REFUSED_S if refused else _CAP_S
        wait_s = backoff_s(failures + (2 if refused else 0), cap_s=cap_s, spread=self._spread)
        return max(wait_s, error.retry_after_s or 0.0)

    def _blocked_for_s(self) -> float:
        """A block that is over still says why nothing was sent, but holds nobody up."""
        return 0.0 if self.block is None else max(0.0, self.block.until - self._now())

    async def _blocked(self, error: S3IntegrationError) -> None:
        """Nothing can be sent for now, whichever row it is: wait, and say why."""
        now = self._now()
        if isinstance(error, Offline):
            self.link = "down"
        elif isinstance(error, S3BucketError | Throttled):
            self.link = "up"
        wait_s = self._wait_s(self._failures, error, refused=isinstance(error, S3BucketError))
        self._failures += 1
        since = self.block.since if self.block is not None else now
        peer = error.peer if isinstance(error, Offline | S3CredentialsError) else None
        if self.block is None or self.block.code != error.code:
            log.warning("drain blocked code=%s reason=%s", error.code, error.message)
        self.block = Block(error.code, error.message, since, now + wait_s, peer)
        # A bare connect tells a dead link from one that connects but does not work.
        self._seen_down = peer is not None and not await self._probe(peer)
        self._probed_at = self._now()

    async def _rest(self, pause_s: float) -> None:
        """Wait to be woken, for a row of another process, for the link, at most ``pause_s``."""
        until = self._now() + pause_s
        while not self._woken.is_set():
            left_s = until - self._now()
            if left_s <= 0:
                return
            try:
                await asyncio.wait_for(self._woken.wait(), min(left_s, _POLL_S))
            except asyncio.TimeoutError:
                if await self._others_wrote() or await self._link_is_back():
                    return

    async def _others_wrote(self) -> bool:
        try:
            version = await self._outbox(queries.version)
        except LocalStorageError:
            return False
        changed, self._version = version != self._version, version
        return changed and not self._blocked_for_s()

    async def _link_is_back(self) -> bool:
        """Whether a link that was seen down is up again: then nobody waits any longer."""
        block = self.block
        if block is None or block.peer is None:
            return False
        now = self._now()
        eager = now - block.since < _PROBE_EAGER_FOR_S
        if now - self._probed_at < (_PROBE_FIRST_S if eager else _PROBE_S):
            return False
        self._probed_at = now
        if not await self._probe(block.peer):
            self._seen_down = True
            return False
        if not self._seen_down:
            return False  # it connects, but does not work: the backoff decides
        log.info("link is back after_s=%.0f", now - block.since)
        self._seen_down = False
        await self.hurry()
        return True

    async def _sweep(self) -> None:
        """Abort the uploads of rows that were given up."""
        for row in await self._outbox(queries.leftovers):
            try:
                await self._uploader.abandon(row)
            except S3IntegrationError as error:
                log.warning("abort deferred key=%s reason=%s", row.key, error.message)
                if error.blocks_drain:
                    await self._blocked(error)
                return
            await self._outbox(requests.clear_upload, row)

    async def _tidy(self) -> None:
        """Look for orphans, seldom, and only while there is nothing else to do.

        Whatever comes up ends it at once; it is made later. Its failure is nobody's.
        """
        if self._now() < self._tidy_at or not await self._idle():
            return
        work = asyncio.ensure_future(self._orphans.look())
        try:
            while not work.done() and await self._idle():
                await asyncio.wait({work}, timeout=_LOOK_S)
        finally:
            await ended(work)
        self._tidy_at = self._now() + self._tidied(work)

    async def _idle(self) -> bool:
        if self._may_send() is not None or self._blocked_for_s() > 0:
            return False
        return await self._outbox(queries.next_due_s, self._now()) != 0

    def _tidied(self, work: asyncio.Future[float]) -> float:
        """Seconds until the next look for orphans."""
        if work.cancelled():
            return _CAP_S
        error = work.exception()
        if error is None:
            self._untidy = 0
            return work.result()
        self._untidy += 1
        wait_s = backoff_s(self._untidy + 4, cap_s=_CAP_TIDY_S, spread=self._spread)
        if isinstance(error, S3IntegrationError):
            wait_s = max(wait_s, error.retry_after_s or 0.0)
            log.info("orphans not looked for due_in_s=%.0f reason=%s", wait_s, error.message)
        else:
            log.error("looking for orphans crashed due_in_s=%.0f", wait_s, exc_info=error)
        return wait_s
