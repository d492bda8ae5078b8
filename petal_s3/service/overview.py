"""Answer how things are: rows, status, and the figures for Prometheus."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from petal_s3.outbox import drain_status, queries
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.rows import Row
from petal_s3.service import open_way
from petal_s3.service.assembly import Parts
from petal_s3.service.draining import Draining
from petal_s3.service.report import Place, Seen, news, read_report, row_reason, sent_bytes
from petal_s3.service.reporting import Reporter
from petal_s3.service.status import summary
from petal_s3.service.views.rows import RowView, row_view
from petal_s3.service.views.status import LandedView, StatusView
from petal_s3.upload.pause import LINK_BACK

_OF_LANDING_S = 600.0
"""A file that enters so long after a landing is of that flight."""
_YEAR_S = 365 * 86_400.0

if TYPE_CHECKING:
    from petal_s3.service.unscanned import Unscanned
    from petal_s3.service.views.history import HistoryView
    from petal_s3.service.views.journal import JournalView


@dataclass(frozen=True)
class Glance:
    """``mark``: another one where what is shown may be another; ``moving``: figures move now.

    ``soon``: something may change at any moment, so that it is worth to look again soon.
    """

    mark: object
    moving: bool
    soon: bool


class Overview:
    """What every front end shows; the outbox must be open."""

    def __init__(self, parts: Parts, draining: Draining, reporter: Reporter) -> None:
        self._base = parts.base
        self._parts = parts
        self._draining = draining
        self._reporter = reporter
        parts.changes.on_settled.append(self._note_proof)
        settings = parts.base.settings
        self._place = Place(
            parts.base.ownership.machine_ids[0], settings.bucket_name, settings.rest_read_only
        )

    async def rows(self, state: str | None, limit: int, token: int | None) -> list[RowView]:
        """At most ``limit`` rows with ids below ``token``, the latest first."""
        found = await self._base.outbox(queries.rows, state, limit, token)
        seen = await self.seen()
        return [self.view(row, seen) for row in found]

    async def row(self, row_id: int) -> RowView:
        """One row; raises :class:`S3FileNotFoundError`."""
        row = await self._base.outbox(queries.get, row_id)
        return self.view(row, await self.seen())

    def view(self, row: Row, seen: Seen) -> RowView:
        """A row as it is shown, by what is known beside the outbox."""
        return row_view(row, seen.now, row_reason(row, seen), sent_bytes(row, seen))

    async def journal(self, row_id: int) -> JournalView:
        """What became of one log; raises :class:`S3FileNotFoundError`."""
        from petal_s3.outbox import journal  # noqa: PLC0415 - only where it is asked for
        from petal_s3.service.views.journal import journal_view  # noqa: PLC0415 - likewise

        row = await self._base.outbox(queries.get, row_id)
        events = await self._base.outbox(journal.of, row_id)
        return journal_view(row, events, row_reason(row, await self.seen()))

    async def history(self) -> HistoryView:
        """Rate and backlog of the last day."""
        from petal_s3.service import history  # noqa: PLC0415 - only where it is asked for

        return await history.day(self._base)

    async def seen(self) -> Seen:
        """What is known beside the outbox, the files in the log directories left out."""
        base, lock = self._base, self._parts.lock
        if lock.held:
            return self.seen_here()
        now, wall = base.now(), base.s3.clock.wall()
        report = read_report(await base.outbox(drain_status.last))
        holder = await base.files.run(lock.holder)
        return Seen(report, holder, deferred=self._draining.deferred, now=now, wall=wall)

    def seen_here(self) -> Seen:
        """The same in the process that drains."""
        base = self._base
        report = self._reporter.report()
        return Seen(report, os.getpid(), now=base.now(), wall=base.s3.clock.wall())

    async def glance(self) -> Glance:
        """Whether anything that is shown may have changed: cheap, to be asked all the time."""
        seen = await self._looked()
        mark = (
            await self._base.outbox(queries.written),
            news(seen.report.__dict__),
            seen.drained_by,
            seen.deferred,
        )
        report = seen.live
        fetching = report.card_fetching is not None
        moving = bool(report.moving or report.rate_bytes_s or fetching or report.code == LINK_BACK)
        return Glance(mark, moving=moving, soon=moving or report.link == "down")

    @cached_property
    def _unscanned(self) -> Unscanned:
        from petal_s3.service.unscanned import Unscanned  # noqa: PLC0415 - only for a status

        return Unscanned(self._parts)

    async def _looked(self) -> Seen:
        """The same for somebody who may wait for the link: then it is tried more often."""
        self._base.s3.server.link_state.looked_at = self._base.now()
        return await self.seen()

    async def status(self) -> StatusView:
        """How things are."""
        seen = await self._looked()
        looked = self._unscanned
        unscanned = await looked.count(seen.live)
        trouble = looked.trouble or self._parts.watcher.trouble
        open_to_all = open_way.advice(self._base.settings)
        seen = replace(
            seen,
            unscanned=unscanned,
            trouble=trouble,
            unread=looked.unread,
            advice=[*seen.advice, *open_to_all],
            place=self._place,
        )
        return await self._base.outbox(summary, seen, bucket_name_of(self._base.settings))

    def landed(self, found: int, enqueued: int) -> LandedView:
        """What a scan has ``found`` and taken, and why not all."""
        watcher, why = self._parts.watcher, ""
        if watcher.held:
            why = "The vehicle is armed: what was found is taken after the flight."
        elif watcher.settling:
            settle_s = self._base.settings.settle_seconds
            why = f"What was found is taken when it has not changed for {settle_s:g} s"
            why += " since the landing." if watcher.has_landed else "."
        return LandedView(found=found, enqueued=enqueued, reason=why, trouble=watcher.trouble)

    async def metrics(self) -> str:
        """The figures in Prometheus' text format."""
        from petal_s3.service import figures, metrics  # noqa: PLC0415 - slow

        status, seen = await self.status(), await self.seen()
        return metrics.exposition(await figures.gather(self._parts, status, seen))

    async def _note_proof(self, row: Row) -> None:
        if row.receipt is not None:
            self._parts.uploader.traffic.proven(row.receipt.proof, self._after_landing_s(row))

    def _after_landing_s(self, row: Row) -> float | None:
        """Seconds since the landing that a log belongs to, else since it entered the outbox.

        None where that cannot be: this device's clock was set meanwhile.
        """
        ended_at, base = self._parts.flight.ended_at, self._base
        after_s = base.s3.clock.wall() - row.landed_at
        if ended_at is not None and row.received_by in {"scan", "card"}:
            landed_s = base.now() - ended_at
            # A log of the card enters when it was fetched, a file when it no longer changes.
            settled = row.received_by == "card" or landed_s - after_s <= _OF_LANDING_S
            after_s = landed_s if after_s <= landed_s and settled else after_s
        return after_s if 0 <= after_s <= _YEAR_S else None
