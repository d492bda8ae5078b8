"""The journal of a row as it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from petal_s3.core.kinds import ReceivedBy
from petal_s3.outbox.journal import Event
from petal_s3.outbox.rows import Row
from petal_s3.service.reasons import Reason
from petal_s3.service.views.view import View, iso

_WORDS = {"verified": "proven", "dead": "dead", "cancelled": "cancelled"}


class EventView(View):
    """One step of a row."""

    device_time: str = Field(description="ISO 8601, UTC, by the clock of this device")
    s3_time: str | None = Field(description="the same by S3's clock; none: not known then")
    event: str
    key: str
    code: str
    reason: str


class JournalView(View):
    """What became of one log, from found to proven; in the middle of a long one steps may lack."""

    id: int
    path: str
    key: str
    state: str
    received_by: ReceivedBy | None = Field(description="how it came in; null: not known")
    code: str = Field(description="of the reason; empty where there is none")
    reason: str = Field(description="why it is not up now; empty where nothing is to be said")
    events: list[EventView]


def journal_view(row: Row, events: Sequence[Event], now: Reason | None) -> JournalView:
    """The journal of a row; ``now``: why it is not up at this moment."""
    before = [None, *events[:-1]]
    return JournalView(
        id=row.id,
        path=row.path,
        key=row.key,
        state=row.state,
        received_by=row.received_by or None,
        code="" if now is None else now.code,
        reason="" if now is None else now.sentence,
        events=[_shown(one, last) for one, last in zip(events, before, strict=True)],
    )


def _shown(one: Event, before: Event | None) -> EventView:
    # A row on its way still carries why the attempt before failed.
    begins = one.state == "uploading"
    return EventView(
        device_time=iso(one.at),
        s3_time=None if one.s3_at is None else iso(one.s3_at),
        event=_word(one, before),
        key=one.key,
        code="" if begins else one.code,
        reason="" if begins else one.reason,
    )


def _word(one: Event, before: Event | None) -> str:
    if before is None and one.state in {"queued", "dead"}:
        return "found" if one.state == "queued" else "refused"
    if one.state == "uploading":
        changed = before is not None and before.state == "uploading"
        return "another key" if changed else f"attempt {one.attempts}"
    if one.state == "queued":
        return "waits" if one.code else "queued"
    moved = before is not None and before.state == one.state and before.key != one.key
    return "moved" if moved else _WORDS[one.state]
