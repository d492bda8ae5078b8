"""Rows of the outbox as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pydantic import Field

from petal_s3.core.kinds import ReceivedBy
from petal_s3.outbox.rows import FLIGHT, Receipt, Row
from petal_s3.service.reasons import Reason
from petal_s3.service.views.view import RowState, View, iso


class ReceiptView(View):
    """The proof that an object holds the file's bytes."""

    etag: str
    checksum: str = Field(description="of the whole file: crc32: and eight hex digits")
    size: int = Field(description="bytes")
    proof: str = Field(description="what was compared: crc32+etag, etag, crc32 or read-back")
    verified_at: int = Field(description="seconds since 1970, by S3's clock")


class RowView(View):
    """One row of the outbox."""

    id: int
    path: str
    name: str = Field(description="of the file, as it was found or handed over")
    key: str
    state: RowState
    size: int = Field(description="bytes of the file")
    sent_bytes: int = Field(description="confirmed by S3, or acknowledged by its side")
    kind: str
    verdict: str = Field(description="how sound the log is")
    received_by: ReceivedBy | None = Field(
        None,
        description="how it came in: scan and card are of this machine's own recorders, all others"
        " were handed over; null: not known",
    )
    flight: str | None = Field(
        description="of a ULog: folder and start of its flight's first file, which PX4 may have cut"
    )
    log_time: str = Field(description="the log's own time, ISO 8601, UTC: by name, header or file")
    duration_s: float | None = Field(description="of the log, where that is known")
    entered_at: str = Field(
        description="when it entered the outbox, ISO 8601, UTC, by this device's clock"
    )
    priority: int = Field(description="more is sooner")
    session_id: str | None
    attempts: int
    parts_sent: int
    parts_resent: int
    code: str = Field(description="of the reason; empty where there is none")
    reason: str = Field(description="why it is not up yet; empty where nothing is to be said")
    next_attempt_s: float | None = Field(description="seconds; only while it is queued")
    same_as: int | None = Field(description="id of the row with the same bytes")
    pinned: bool = Field(description="whether its file is kept as long as the disk allows")
    dismissed: bool = Field(description="dead, and shown only when asked for")
    local: str = Field(
        description="what became of the file: kept, deleted, or other: another one lies there"
    )
    receipt: ReceiptView | None


def row_view(row: Row, now: float, reason: Reason | None, sent_bytes: int) -> RowView:
    """A row as it is shown.

    ``now``: seconds since boot; ``reason``: why it is not up yet; ``sent_bytes``: those that are
    confirmed or acknowledged.
    """
    return RowView(
        id=row.id,
        path=row.path,
        name=row.name,
        key=row.key,
        state=cast("RowState", row.state),
        size=row.size,
        sent_bytes=sent_bytes,
        kind=row.kind,
        verdict=row.verdict,
        received_by=row.received_by or None,
        flight=row.facts.get(FLIGHT),
        log_time=iso(row.logged_at),
        duration_s=duration_s(row.facts),
        entered_at=iso(row.landed_at),
        priority=row.priority,
        session_id=row.session_id,
        attempts=row.attempts,
        parts_sent=row.parts_sent,
        parts_resent=row.parts_resent,
        code="" if reason is None else reason.code,
        reason="" if reason is None else reason.sentence,
        next_attempt_s=row.next_attempt_s(now),
        same_as=row.same_as,
        pinned=row.pinned,
        dismissed=row.dismissed,
        local=row.local,
        receipt=None if row.receipt is None else _receipt_view(row.receipt),
    )


_SPANS = (("boot-us", "end-us", 1e6), ("start-utc", "end-utc", 1.0))


def duration_s(facts: Mapping[str, str]) -> float | None:
    """Seconds from the beginning of a log to its end, by the facts of its header; none: unknown."""
    for first, last, unit in _SPANS:
        begins, ends = facts.get(first, ""), facts.get(last, "")
        if begins.isdecimal() and ends.isdecimal() and int(ends) >= int(begins):
            return round((int(ends) - int(begins)) / unit, 1)
    return None


def percent(row: RowView) -> int:
    """How much of a row is up, in per cent; 100 only once it is proven."""
    if row.state == "verified":
        return 100
    return min(99, 100 * row.sent_bytes // row.size) if row.size else 0


def _receipt_view(receipt: Receipt) -> ReceiptView:
    return ReceiptView(
        etag=receipt.etag,
        checksum=receipt.checksum,
        size=receipt.size,
        proof=receipt.proof,
        verified_at=receipt.verified_at,
    )
