"""Sum the outbox and the drain up: are my logs up, and if not, why?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from pydantic import Field, ValidationError

from petal_s3.outbox import capabilities as kept
from petal_s3.outbox import flight_word, queries
from petal_s3.outbox.database import no_room
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.s3 import capabilities
from petal_s3.service.reasons import ITS_TURN, NO_DRAIN
from petal_s3.service.views.status import StatusView, capabilities_view
from petal_s3.service.views.view import Credentials, Flight, Link, RowState, View

_WINDOW_S = 10.0
_LEAST_S = 1.0  # what buffers swallow at first would look like a fast link


class Rate:
    """Bytes per second over the last ten seconds, from a counter that only grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, now: float, total: int) -> float:
        """Take a sample at ``now`` (s) and return bytes per second."""
        self._samples.append((now, total))
        while now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        while len(self._samples) > 1 and self._samples[0][1] == self._samples[1][1]:
            self._samples.popleft()  # idle before the first byte: no part of the upload's speed
        then, before = self._samples[0]
        return (total - before) / (now - then) if now - then >= _LEAST_S else 0.0


class Report(View):
    """What a draining process says of itself, for other processes; kept in the outbox as JSON.

    ``reason`` and ``code``: why nothing is sent; ``trouble``: why no log is taken in.
    """

    pid: int = 0
    machine_id: str = ""
    link: Link = "unknown"
    credentials: Credentials = "none"
    clock_offset_s: float | None = None
    flight_state: Flight = "unknown"
    reason: str = ""
    code: str = ""
    rate_bytes_s: float = 0.0
    settling: list[str] = Field(default_factory=list)
    trouble: str = ""
    advice: list[str] = Field(default_factory=list)


NO_REPORT = Report()


def read_report(said: Mapping[str, object]) -> Report:
    """The report that lies in the outbox; an empty one where another version wrote it."""
    try:
        return Report.model_validate(said)
    except ValidationError:
        return NO_REPORT


def reason_of(row: Row, held_up: str, *, drained: bool) -> str:
    """Why a row is not up yet; one that waits always says it.

    ``held_up``: what holds up every row; that comes first. ``drained``: whether a process
    uploads; where none does, no row is on its way, not even one that a killed process claimed.
    """
    if row.settled:
        return row.reason
    if row.state == "uploading":
        return row.reason if drained else NO_DRAIN.sentence
    return held_up or row.reason or (ITS_TURN if drained else NO_DRAIN).sentence


def summary(outbox: Outbox, report: Report, drained_by: int | None, bucket: str) -> StatusView:
    """How things are; blocking.

    ``report`` counts only while a process drains. ``bucket``: the name under which its server is
    known (:func:`petal_s3.outbox.capabilities.bucket_name_of`).
    """
    live = report if drained_by is not None else NO_REPORT
    backlog, oldest = queries.backlog(outbox)
    rate = live.rate_bytes_s
    reason = ""
    if oldest is not None:
        reason = NO_DRAIN.sentence if drained_by is None else live.reason or oldest.reason
    known = capabilities.read(kept.known_of(outbox, bucket))
    return StatusView(
        link=live.link,
        credentials=live.credentials,
        clock_offset_s=live.clock_offset_s,
        flight_state=_flight_state(outbox, live, drained=drained_by is not None),
        counts=_counts(outbox),
        backlog_bytes=backlog,
        rate_bytes_s=round(rate),
        eta_s=round(backlog / rate) if rate > 0 and backlog else None,
        oldest_unsent_s=max(0, int(time.time()) - oldest.landed_at) if oldest else None,
        # A process that cannot write cannot report that either: it is seen from outside.
        reason=no_room(outbox.path.parent) or reason or live.trouble,
        outbox=str(outbox.path),
        drained_by=drained_by,
        settling=live.settling,
        advice=live.advice,
        capabilities=capabilities_view(known),
    )


def _flight_state(outbox: Outbox, report: Report, *, drained: bool) -> Flight:
    """What the process that drains keeps to; where none does, what the next one will."""
    said = None if drained else flight_word.said(outbox)
    return "armed" if said is not None and said.armed else report.flight_state


def _counts(outbox: Outbox) -> dict[RowState, int]:
    found = queries.counts(outbox)
    states: tuple[RowState, ...] = ("queued", "uploading", "verified", "dead", "cancelled")
    return {state: found[state] for state in states}
