"""What the draining process says of itself, for the status and for other processes to read."""

from __future__ import annotations

import contextlib
import os

from petal_s3.errors import S3IntegrationError
from petal_s3.outbox import drain_status
from petal_s3.service.assembly import Parts
from petal_s3.service.reasons import Reason
from petal_s3.service.status import NO_REPORT, Rate, Report
from petal_s3.service.views.view import Credentials

_REFUSED = {"token_service_refused", "credentials_refused"}
_NOTHING = Reason("", "")


class Reporter:
    """Sums up the drain, and publishes that in the outbox."""

    def __init__(self, parts: Parts) -> None:
        self._base = parts.base
        self._parts = parts
        self._rate = Rate()
        self._published = NO_REPORT

    def report(self) -> Report:
        """How the drain of this process is now."""
        parts, base = self._parts, self._base
        now = base.now()
        reason = parts.gate.reason() or _NOTHING
        found = {
            "pid": os.getpid(),
            "machine_id": base.ownership.machine_ids[0],
            "link": parts.drainer.link,
            "credentials": self._credentials(),
            "clock_offset_s": base.s3.clock.offset_s,
            "flight_state": parts.flight.state(now),
            "reason": reason.sentence,
            "code": reason.code,
            "rate_bytes_s": self._rate.take(now, base.s3.sent.total),
            "settling": parts.watcher.settling.paths[:20],
            "trouble": parts.watcher.trouble,
            "advice": [*parts.orphans.advice, *parts.retention.advice, *parts.watcher.advice],
        }
        return Report.model_validate(found)

    async def publish(self) -> None:
        """Write the report into the outbox; raises :class:`LocalStorageError`."""
        await self._base.outbox(drain_status.publish, self.report().model_dump())

    def forget(self) -> None:
        """Another drain begins: what was published before counts no more."""
        self._published = NO_REPORT

    async def publish_changes(self) -> None:
        """Write the report where it differs from the last; a disk that fails is tried again."""
        report = self.report()
        if _differs(report, self._published):
            with contextlib.suppress(S3IntegrationError):
                await self._base.outbox(drain_status.publish, report.model_dump())
        self._published = report

    def _credentials(self) -> Credentials:
        block, tokens = self._parts.drainer.pause.block, self._base.tokens
        code = block.code if block is not None else ""
        if code in _REFUSED:
            return "refused"
        if code == "credentials_expired":
            return "expired"
        if tokens is None:
            return "none" if code == "no_credentials" else "ok"
        return "ok" if tokens.current is not None else "none"


def _differs(report: Report, published: Report) -> bool:
    """The clock's offset alone is no reason to write."""
    return report != published.model_copy(update={"clock_offset_s": report.clock_offset_s})
