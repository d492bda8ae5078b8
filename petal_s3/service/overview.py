"""Answer how things are: rows, status, and the figures for Prometheus."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from petal_s3.cleanup.retention import free_bytes
from petal_s3.outbox import deletions, drain_status, queries
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.rows import Row
from petal_s3.service.assembly import Parts
from petal_s3.service.draining import Draining
from petal_s3.service.metrics import Figures, exposition
from petal_s3.service.reporting import Reporter
from petal_s3.service.status import read_report, reason_of, summary
from petal_s3.service.views.rows import RowView, row_view
from petal_s3.service.views.status import StatusView
from petal_s3.service.waiting import Waiting


class Overview:
    """What every front end shows; the outbox must be open."""

    def __init__(
        self, parts: Parts, draining: Draining, reporter: Reporter, waiting: Waiting
    ) -> None:
        self._base = parts.base
        self._parts = parts
        self._draining = draining
        self._reporter = reporter
        self._waiting = waiting

    async def rows(self, state: str | None, limit: int, token: int | None) -> list[RowView]:
        """At most ``limit`` rows with ids below ``token``, the latest first."""
        found = await self._base.outbox(queries.rows, state, limit, token)
        drained = await self._is_drained()
        return [self.view(row, drained=drained) for row in found]

    async def row(self, row_id: int) -> RowView:
        """One row; raises :class:`S3FileNotFoundError`."""
        row = await self._base.outbox(queries.get, row_id)
        return self.view(row, drained=await self._is_drained())

    def view(self, row: Row, *, drained: bool) -> RowView:
        """A row as it is shown; ``drained``: whether a process drains the outbox."""
        own = self._parts.gate.reason()
        held_up = "" if own is None else own.sentence
        reason = reason_of(row, held_up, drained=drained)
        return row_view(row, self._base.now(), reason, moved=self._waiting.moved(row))

    async def _is_drained(self) -> bool:
        lock = self._parts.lock
        return lock.held or await self._base.files.run(lock.holder) is not None

    async def status(self) -> StatusView:
        """How things are."""
        base, lock = self._base, self._parts.lock
        bucket = bucket_name_of(base.settings)
        if lock.held:
            return await base.outbox(summary, self._reporter.report(), os.getpid(), bucket)
        report = read_report(await base.outbox(drain_status.last))
        found = await base.outbox(summary, report, await base.files.run(lock.holder), bucket)
        if found.drained_by is None and self._draining.deferred:
            return found.model_copy(update={"reason": self._draining.deferred})
        return found

    async def metrics(self) -> str:
        """The figures in Prometheus' text format."""
        base, uploader = self._base, self._parts.uploader
        status = await self.status()
        measured = {d: await base.files.run(_free_bytes, d) for d in base.settings.directories}
        free = {str(d): number for d, number in measured.items() if number is not None}
        return exposition(
            Figures(
                rows={str(state): number for state, number in status.counts.items()},
                backlog_bytes=status.backlog_bytes,
                oldest_unsent_s=status.oldest_unsent_s or 0,
                link_up=status.link == "up",
                sent_bytes=base.s3.sent.total,
                parts_sent=uploader.traffic.parts_sent,
                parts_resent=uploader.traffic.parts_resent,
                token_fetches=base.tokens.tries if base.tokens is not None else 0,
                free_bytes=free,
                deletions=await base.outbox(deletions.totals),
            )
        )


def _free_bytes(directory: Path) -> int | None:
    with contextlib.suppress(OSError):
        return free_bytes(directory)
    return None
