"""Wait for a row, and say how far it is."""

from __future__ import annotations

from collections.abc import Callable

from petal_s3.errors import NotNow
from petal_s3.outbox import drain_status, queries
from petal_s3.outbox.rows import Row
from petal_s3.service.assembly import Parts
from petal_s3.service.draining import REPORT_S
from petal_s3.service.reasons import HOLDS, NOT_YET, Reason, reason
from petal_s3.service.report import NO_REPORT, Report, read_report
from petal_s3.service.reporting import Reporter

_HEARD_S = 2 * REPORT_S + 1.0
LOOK_S = 0.5

Progress = Callable[[int, int, float], None]
"""Called with bytes moved, size, and bytes per second."""


class Waiting:
    """Follows rows, whichever process sends them."""

    def __init__(self, parts: Parts, reporter: Reporter) -> None:
        self.now = parts.base.now
        self._base = parts.base
        self._parts = parts
        self._reporter = reporter

    async def wait(
        self, row_id: int, patience_s: float, while_blocked: bool, on_progress: Progress | None
    ) -> Row:
        """As :meth:`petal_s3.service.service.Service.wait`."""
        now, changes = self.now, self._parts.changes
        seen: object = None
        moved_at = now()
        while True:
            changes.clear()
            row = await self._base.outbox(queries.get, row_id)
            report = await self._report()
            moved = self._moved(row, report)
            # What a server offers is learnt before the first byte leaves: that takes a while.
            now_seen = (moved, self.compared(row), self._parts.learner.seen)
            if now_seen != seen:
                seen, moved_at = now_seen, now()
                if on_progress is not None:
                    on_progress(moved, row.size, self._speed(report))
            if row.settled:
                return row
            still_s = now() - moved_at
            held_up = not while_blocked and await self._is_held_up(row, still_s)
            if held_up or still_s >= patience_s:
                raise await self._not_now(row)
            await self._until_news(row.id, min(LOOK_S, patience_s))

    async def _until_news(self, row_id: int, at_most_s: float) -> None:
        """Wait until the row may be another, or all are held up, or for so many seconds.

        Of the many that are sent before its turn it hears nothing.
        """
        parts, until = self._parts, self.now() + at_most_s
        before = parts.gate.reason()
        while (left_s := until - self.now()) > 0:
            await parts.changes.wait(left_s)
            near = row_id in parts.uploader.live or row_id in parts.changes.settled_lately
            if near or not parts.lock.held or parts.gate.reason() != before:
                return
            parts.changes.clear()

    async def _not_now(self, row: Row) -> NotNow:
        """Why the row is not sent."""
        remembered = row.reason and row.code not in HOLDS
        own = reason(row.code, row.reason) if remembered else NOT_YET
        why = await self._heard() or self._parts.gate.reason() or own
        sentence = f"{why.sentence} It stays in the outbox and is sent later."
        return NotNow(sentence, row_id=row.id, code=why.code)

    async def _is_held_up(self, row: Row, still_s: float) -> bool:
        """Whether nothing at all is sent now, by whichever process drains."""
        if self._parts.gate.closed() is not None:
            return True
        # What another process said may be over, and it needs a moment to see a new row.
        return row.state == "queued" and still_s >= _HEARD_S and await self._heard() is not None

    async def _heard(self) -> Reason | None:
        """Why another process that drains sends nothing; none when it sends."""
        return (await self._report()).held_up

    async def _report(self) -> Report:
        """What another process that drains says of itself; an empty report where none does."""
        lock = self._parts.lock
        if lock.held or await self._base.files.run(lock.holder) is None:
            return NO_REPORT
        return read_report(await self._base.outbox(drain_status.last))

    def _speed(self, report: Report) -> float:
        return self._reporter.rate_bytes_s() if self._parts.lock.held else report.rate_bytes_s

    async def is_sending(self, row: Row) -> bool:
        """Whether a row only waits its turn, or for another process that sends it."""
        if await self._is_held_up(row, _HEARD_S):
            return False
        going = await self._base.outbox(queries.rows, "uploading", 2)
        return any(one.id != row.id or not self._parts.lock.held for one in going)

    def _moved(self, row: Row, report: Report) -> int:
        """Bytes of the row that are confirmed, or acknowledged by S3's side."""
        live = self._parts.uploader.live.get(row.id)
        moved = live.moved if live is not None else report.moving.get(row.id, 0)
        return row.size if row.state == "verified" else max(row.sent_bytes, moved)

    def compared(self, row: Row) -> int:
        """Bytes of the row that were read again, to be compared with what S3 has confirmed."""
        live = self._parts.uploader.live.get(row.id)
        return live.compared if live is not None else 0
