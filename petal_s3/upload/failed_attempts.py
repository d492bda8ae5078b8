"""Settle a row whose attempt has failed: try later, examine the file anew, or mark it dead."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import (
    LeaseLost,
    Mismatch,
    NotAFlightLog,
    NotFinished,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceChanged,
    SourceGone,
    UploadGone,
)
from petal_s3.logs.log_file import FlightLog
from petal_s3.outbox import identities, queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.upload.attempt import Uploader
from petal_s3.upload.backoff import CAP_REFUSED_S, backoff_s
from petal_s3.upload.pause import Pause, Timing
from petal_s3.upload.source_file import missing

log = logging.getLogger("petal_s3")

# Tried again they cost whole parts, or the whole log: the pauses grow longer.
_COSTLY = (S3BucketError, Mismatch, UploadGone)
_LATE_S = 10.0  # between two looks for what S3 has stored and does not show yet


@dataclass(frozen=True)
class FailedAttempts:
    """Decides what becomes of rows. ``settle_s``: how long a file must not have changed;
    ``max_bytes``: the largest file that is a log.
    """

    outbox: OutboxThread
    uploader: Uploader
    pause: Pause
    timing: Timing
    settle_s: float
    max_bytes: int

    async def settle(self, row: Row, error: S3IntegrationError) -> Row | None:
        """Put the row where ``error`` says; none where its lease was lost meanwhile."""
        try:
            if isinstance(error, SourceChanged):
                return await self._examine_again(row)
            if isinstance(error, SourceGone | NotAFlightLog):
                return await self.mark_dead(row, error)
            if error.blocks_drain:
                await self.pause.blocked(error)
            refused = isinstance(error, _COSTLY) or not error.waiting_helps
            wait_s = self.pause.wait_s(row.failures, error, refused=refused)
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
            return await self._defer(row, wait_s, error.code, error.message)
        except LeaseLost:
            log.warning("lease lost id=%d key=%s", row.id, row.key)
            return None

    async def crashed(self, row: Row, error: BaseException) -> Row:
        """Defer a row whose attempt ended with an error of petal-s3 itself."""
        log.error("attempt crashed id=%d", row.id, exc_info=error)
        wait_s = backoff_s(row.failures, cap_s=CAP_REFUSED_S, spread=self.timing.spread)
        reason = "An error of petal-s3 itself, which its log describes; it is tried again."
        return await self._defer(row, wait_s, "internal", reason)

    async def mark_dead(self, row: Row, error: S3IntegrationError) -> Row:
        """Record that the row can never be sent, and why."""
        log.error("upload dead key=%s code=%s reason=%s", row.key, error.code, error.message)
        return await self.outbox(transitions.mark_dead, row, error.code, error.message)

    async def _defer(self, row: Row, wait_s: float, code: str, reason: str) -> Row:
        return await self.outbox(transitions.defer, row, self.timing.now() + wait_s, code, reason)

    async def _examine_again(self, row: Row) -> Row | None:
        """The file is another one now: read it anew.

        What S3 holds is given up only where the size is another; else it is compared.
        """
        current = await self.outbox(queries.get, row.id)
        if current.lease != row.lease:
            return None
        try:
            found = await run_in(
                None,
                FlightLog.read,
                Path(row.path),
                max_bytes=self.max_bytes,
                name=row.name,
                kinds=frozenset({row.kind}) if row.kind in ALL_KINDS else ALL_KINDS,
            )
            same_size = found.identity.size == current.size
            if not same_size:
                await self.uploader.abandon(current)
        except S3FileNotFoundError:
            return await self.settle(row, missing(Path(row.path), row.identity))
        except NotFinished as error:
            return await self._defer(row, self.settle_s, error.code, error.message)
        except SourceChanged:
            reason = "The file is being written; it is looked at again."
            return await self._defer(row, self.settle_s, "not_finished", reason)
        except S3IntegrationError as error:
            return await self.settle(row, error)
        return await self._plan_anew(row, found, same_size=same_size)

    async def _plan_anew(self, row: Row, found: FlightLog, *, same_size: bool) -> Row:
        log.warning(
            "file changed, planned anew key=%s size=%d compared=%s",
            row.key,
            found.identity.size,
            same_size,
        )
        plan = identities.reidentify if same_size else identities.restart
        due_at = self.timing.now() + self.settle_s
        return await self.outbox(plan, row, found.identity, found.verdict, found.facts, due_at)
