"""Drain an outbox until it is empty, or watch another process do it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from petal_s3.core import clock
from petal_s3.logs.sniff import shown_name
from petal_s3.outbox import drain_status, queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.service.reasons import HOLDS
from petal_s3.service.report import read_report
from petal_s3.service.service import Service
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView
from petal_s3.service.views.view import RowState

_TICK_S = 0.5
_MANY = 1000
_WAITING: tuple[RowState, ...] = ("uploading", "queued")
_SETTLED: tuple[RowState, ...] = ("verified", "dead", "cancelled")


class Screen(Protocol):
    """Where progress is shown."""

    def say(self, sentence: str) -> None:
        """Show one event."""

    def draw(self, status: StatusView, moving: Sequence[RowView]) -> None:
        """Show progress; ``moving``: the rows on their way."""


@dataclass
class Followed:
    """What became of the outbox; ``settled`` are the rows that were settled meanwhile.

    ``trouble``: why there may be logs that were not found; empty when all is well.
    """

    status: StatusView
    settled: list[Row]
    reason: str = ""
    trouble: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing waits any more, no file that settles or was not seen yet either."""
        counts, status = self.status.counts, self.status
        waiting = counts["queued"] or counts["uploading"]
        return not (waiting or status.settling or status.held or status.unscanned)

    @property
    def died(self) -> list[Row]:
        """The rows that were marked dead meanwhile."""
        return [row for row in self.settled if row.state == "dead"]


async def until_empty(service: Service, screen: Screen, *, patience_s: float | None) -> Followed:
    """Drain, or watch another process, until nothing is left or moves for ``patience_s``.

    Where no process drains, the log directories are scanned first, as after a landing.
    """
    await service.open()
    watch = _Watch(service, screen)
    await watch.begin()
    while True:
        await watch.take_part()
        followed = await watch.look()
        if followed.empty:
            return followed
        if patience_s is not None and watch.still_s(followed.status) > patience_s:
            followed.reason = _why_not(followed.status, watch.waiting)
            return followed
        await asyncio.sleep(_TICK_S)


class _Watch:
    def __init__(self, service: Service, screen: Screen) -> None:
        self.waiting: list[Row] = []
        self._service = service
        self._screen = screen
        self._settled: list[Row] = []
        self._open: set[int] = set()
        self._last_id = 0
        self._told: int | None = None
        self._reason = ""
        self._mark: tuple[Any, ...] = ()
        self._best: dict[int, int] = {}
        self._moved_at = clock.now()

    async def begin(self) -> None:
        """Note what waits and what is settled already."""
        outbox = self._service.outbox
        self._open = {row.id for row in await outbox(_waiting)}
        self._last_id = max(await outbox(queries.newer_ids, 0, 1), default=0)

    async def take_part(self) -> None:
        """Drain here unless another process does; say which."""
        service = self._service
        if service.lock.held:
            return
        if not await service.files.run(service.lock.take):
            holder = await service.files.run(service.lock.holder)
            if holder is not None and holder != self._told:
                self._told = holder
                self._screen.say(f"Process {holder or '?'} drains this outbox; watching it.")
            return
        if self._told is not None:
            self._screen.say(f"Process {self._told or '?'} drains no longer; going on here.")
        await service.start()
        found = (await service.landed()).found
        if found:
            still = f"still for {service.settings.settle_seconds:g} s"
            self._screen.say(f"found     {found} new in the log directories; taken when {still}.")

    async def look(self) -> Followed:
        """Find out what has happened since the last look, and show it."""
        trouble = await self._trouble()
        followed = Followed(await self._service.status(), self._settled, trouble=trouble)
        for row in await self._settled_since():
            followed.settled.append(row)
            self._screen.say(told(row))
        reason = followed.status.reason
        if reason != self._reason and reason and self._service.lock.held:
            self._screen.say(f"waiting   {reason}")
        self._reason = reason
        moving = await self._moving()
        compared = self._service.waiting.compared
        read = {row.id: compared(row) for row in self.waiting if row.lease}
        self._note_progress(
            followed.status, {row.id: row.sent_bytes + read.get(row.id, 0) for row in moving}
        )
        self._screen.draw(followed.status, moving)
        if followed.status.unscanned and self._service.lock.held:
            self._service.watcher.ask_scan()
        return followed

    async def _trouble(self) -> str:
        if self._service.lock.held:
            return self._service.watcher.trouble
        return read_report(await self._service.outbox(drain_status.last)).trouble

    def still_s(self, status: StatusView) -> float:
        """Seconds since something moved; the time that files take to settle does not count."""
        grace_s = self._service.settings.settle_seconds if status.settling or status.held else 0.0
        return clock.now() - self._moved_at - grace_s

    def _note_progress(self, status: StatusView, done: dict[int, int]) -> None:
        settled = sum(status.counts[state] for state in _SETTLED)
        mark = (settled, status.backlog_bytes, len(status.settling), status.unscanned)
        farther = [row_id for row_id, b in done.items() if b > self._best.get(row_id, -1)]
        self._best.update({row_id: done[row_id] for row_id in farther})
        if mark != self._mark or farther:
            self._mark, self._moved_at = mark, clock.now()

    async def _moving(self) -> list[RowView]:
        """The rows on their way."""
        going = [row for row in self.waiting if row.state == "uploading"]
        if not going:
            return []
        overview = self._service.overview
        seen = await overview.seen()
        return [overview.view(row, seen) for row in going]

    async def _settled_since(self) -> list[Row]:
        """The rows that were settled since the last look; what waits is noted."""
        found = await self._service.outbox(_since, self._last_id, self._open)
        self.waiting = found.waiting
        self._last_id = max(self._last_id, *found.fresh, 0)
        # A row can slip from one state to the next between two questions.
        unsettled = {row.id for row in found.gone if not row.settled}
        self._open = {row.id for row in found.waiting} | unsettled
        return [row for row in found.gone if row.settled]


@dataclass(frozen=True)
class _Since:
    """What waits, which ids are new, and what waited before or is new and does not wait."""

    waiting: list[Row]
    fresh: set[int]
    gone: list[Row]


def _waiting(outbox: Outbox) -> list[Row]:
    return [row for state in _WAITING for row in queries.rows(outbox, state, _MANY)]


def _since(outbox: Outbox, last_id: int, known: set[int]) -> _Since:
    waiting = _waiting(outbox)
    fresh = queries.newer_ids(outbox, last_id, _MANY)
    ids = (known | fresh) - {row.id for row in waiting}
    return _Since(waiting, fresh, [queries.get(outbox, row_id) for row_id in sorted(ids)])


def told(row: Row) -> str:
    """What became of a log, in a line."""
    if row.receipt is not None:
        return f"up        {row.receipt.key}  {row.size} bytes, {row.receipt.proof}"
    name = shown_name(row.name)
    return f"{row.state:9} {row.reason if name in row.reason else f'{name}: {row.reason}'}"


def _why_not(status: StatusView, waiting: list[Row]) -> str:
    reasons = [status.reason, *(row.reason for row in waiting if row.code not in HOLDS)]
    reasons += [f"{shown_name(Path(path).name)} is being written." for path in status.settling]
    if status.held:
        reasons.append(f"{status.held} in the log directories are taken after the flight.")
    if status.unscanned:
        reasons.append(f"{status.unscanned} in the log directories are not in the outbox yet.")
    return str(next(filter(None, reasons), "Nothing moves."))
