"""Keep how fast it went and what was left, once a minute, and tell of the last day."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import samples
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.samples import Sample
from petal_s3.service.assembly import Base
from petal_s3.service.report import Report, Seen
from petal_s3.service.status import left_to_send
from petal_s3.service.views.history import HistoryView, history_view

EVERY_S = 60.0
"""The least time between two samples."""
_DAY_S = 24 * 3600


async def note(base: Base, report: Report) -> None:
    """Keep how it is now, unless the last sample says the same."""
    sample = Sample(base.s3.clock.seconds(), round(report.rate_bytes_s), 0)
    with contextlib.suppress(LocalStorageError):  # a plot is not worth a failure
        await base.outbox(_add, sample, Seen(report, drained_by=report.pid))


async def day(base: Base) -> HistoryView:
    """The last day; raises :class:`LocalStorageError`."""
    now = base.s3.clock.seconds()
    found = await base.outbox(samples.between, now - _DAY_S, now + int(EVERY_S))
    return history_view(found)


def _add(outbox: Outbox, sample: Sample, seen: Seen) -> None:
    left, _ = left_to_send(outbox, seen)
    samples.add(outbox, replace(sample, backlog_bytes=left))
