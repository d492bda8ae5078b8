"""Claim a row, and change it under the lease of that claim.

A worker that lost its lease changes nothing and gets :class:`~petal_s3.errors.LeaseLost`.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from petal_s3.errors import LeaseLost
from petal_s3.outbox import ages, remote_objects
from petal_s3.outbox.database import Value
from petal_s3.outbox.outbox import OPEN, Outbox
from petal_s3.outbox.remote_objects import Known
from petal_s3.outbox.rows import Receipt, Row

_DUE = "(boot_id != :boot OR due_at <= :now)"


CLAIM_QUERY = (
    f"SELECT id FROM log INDEXED BY claimable WHERE {OPEN} AND {_DUE}"
    " ORDER BY priority DESC, logged_at DESC, id DESC LIMIT 1"
)


_STORED = (
    "stored_at = :at, read_back = CASE WHEN read_back LIKE '%changed%' THEN NULL ELSE read_back END"
)
_PROGRESS = (
    "sent_bytes = :sent_bytes, parts_sent = parts_sent + :sent,"
    " parts_resent = parts_resent + :resent, due_at = :leased_until,"
    " failures = CASE WHEN :sent > 0 AND parts_sent * part_size < size THEN 0 ELSE failures END"
)


def release_claims(outbox: Outbox) -> int:
    """Make every claimed row due; only while the drain lock is held, so that no worker runs."""
    return outbox.sql.change(
        "UPDATE log SET state = 'queued', lease = NULL, due_at = 0 WHERE state = 'uploading'"
    )


@dataclass(frozen=True)
class Claim:
    """A claimed row, and what the outbox knew at that moment of its key and of files of its size.

    ``planned``: the upload of the row was planned with the claim, and never before.
    """

    row: Row
    known: Known
    planned: bool


def claim(outbox: Outbox, now: float, lease_s: float) -> Row | None:
    """Claim the next due row: highest priority first, then the newest log."""
    with outbox.sql.write():
        return next((row for row, _ in _claimed(outbox, now, lease_s, 0)), None)


def claim_and_plan(outbox: Outbox, now: float, lease_s: float, whole: int) -> Claim | None:
    """As :func:`claim`; a file of at most ``whole`` bytes, which travels in one request, is planned
    as well (:func:`plan`)."""
    with outbox.sql.write():
        for row, planned in _claimed(outbox, now, lease_s, whole):
            return Claim(row, remote_objects.known(outbox, row.key, row.size), planned)
    return None


def _claimed(outbox: Outbox, now: float, lease_s: float, whole: int) -> Iterator[tuple[Row, bool]]:
    """The next due row, if there is one, and whether it was planned."""
    due: dict[str, Value] = {"boot": outbox.boot_id, "now": now}
    for found in outbox.sql.records(
        f"SELECT id, part_size FROM log WHERE id = ({CLAIM_QUERY})", **due
    ):
        row = outbox.one(
            "UPDATE log SET state = 'uploading', lease = :lease, boot_id = :boot,"
            " due_at = :now + :lease_s, attempts = attempts + 1,"
            " part_size = iif(part_size IS NULL AND size BETWEEN 1 AND :whole, :whole, part_size)"
            " WHERE id = :id RETURNING *",
            **due,
            lease=secrets.token_hex(8),
            lease_s=lease_s,
            whole=whole,
            id=found["id"],
        )
        yield row, found["part_size"] != row.part_size


def plan(outbox: Outbox, row: Row, part_size: int) -> Row:
    """Record that an upload begins, before the first request that S3 could remember."""
    return outbox.settle(row, "part_size = :part_size", part_size=part_size)


def remember_upload(outbox: Outbox, row: Row, upload_id: str, *, checksummed: bool) -> Row:
    """Record the multipart upload, before its first part leaves.

    A row that was given up meanwhile gets the id too: by it the upload is aborted.
    """
    try:
        return outbox.settle(
            row,
            "upload_id = :upload_id, checksummed = :checksummed, sent_bytes = 0",
            upload_id=upload_id,
            checksummed=checksummed,
        )
    except LeaseLost:
        outbox.sql.change(
            "UPDATE OR IGNORE log SET upload_id = :upload_id WHERE id = :id"
            " AND upload_id IS NULL AND part_size IS NOT NULL"
            " AND state IN ('dead', 'cancelled')",
            id=row.id,
            upload_id=upload_id,
        )
        raise


def forget_upload(outbox: Outbox, row: Row) -> Row:
    """Record that the multipart upload is gone: the next one begins anew."""
    return outbox.settle(
        row, "upload_id = NULL, part_size = NULL, sent_bytes = 0, stored_at = NULL"
    )


def storing(outbox: Outbox, row: Row, at: int) -> Row:
    """Record when S3 was asked to join the parts, or stored the body, which it may show late.

    ``at``: seconds since 1970 by S3's clock.
    """
    return outbox.settle(row, _STORED, at=at)


def stored_whole(outbox: Outbox, row: Row, at: int, leased_until: float) -> Row:
    """Record at once that S3 stored the body, the whole file, and that this is confirmed.

    As :func:`storing` and :func:`progress` do one after the other.
    """
    return outbox.settle(
        row,
        f"{_STORED}, {_PROGRESS}",
        at=at,
        sent_bytes=row.size,
        sent=1,
        resent=0,
        leased_until=leased_until,
    )


def note_read_back(outbox: Outbox, row: Row, note: str) -> Row:
    """Record how far an object was read back, or that it is wrong (JSON)."""
    return outbox.settle(row, "read_back = :note", note=note)


def progress(
    outbox: Outbox, row: Row, leased_until: float, *, sent_bytes: int, sent: int, resent: int
) -> Row:
    """Record confirmed bytes, count parts sent and re-sent, and extend the lease.

    Bytes that are sent for the first time reset the number of failures; bytes that S3 lost or
    never confirms, and that are sent again and again, do not.
    """
    return outbox.settle(
        row,
        _PROGRESS,
        sent_bytes=sent_bytes,
        sent=sent,
        resent=resent,
        leased_until=leased_until,
    )


def compared(outbox: Outbox, row: Row) -> Row:
    """Record that a file that changed is no proven log; what was noted of its object stays."""
    return outbox.settle(row, "read_back = iif(stored_at IS NULL, NULL, read_back)")


def change_key(outbox: Outbox, row: Row, key: str) -> Row:
    """Record another key for the log, before its first byte is sent."""
    return outbox.settle(row, "key = :key, stored_at = NULL, read_back = NULL", key=key)


def verified(
    outbox: Outbox, row: Row, receipt: Receipt, *, same_as: int | None = None, sent: int = 0
) -> Row:
    """Record the proof that the log is in the bucket; ``sent``: bodies that were not counted yet.

    Rows that are proven by the object of this one, which was sent again, get the new receipt.
    """
    told, settled_s = json.dumps(receipt.__dict__), ages.count(outbox)
    with outbox.sql.write():
        done = outbox.settle(
            row,
            "state = 'verified', lease = NULL, upload_id = NULL, sent_bytes = size, code = '',"
            " reason = '', failures = 0, receipt = :receipt, same_as = :same_as, key = :key,"
            " stored_at = NULL, read_back = NULL, settled_s = :settled_s, gone = '',"
            " parts_sent = parts_sent + :sent",
            receipt=told,
            settled_s=settled_s,
            sent=sent,
            same_as=same_as,
            key=receipt.key,
        )
        outbox.sql.change(
            "UPDATE log INDEXED BY twins SET receipt = :receipt, key = :key, same_as = :origin,"
            " settled_s = :settled_s, gone = '' WHERE same_as = :id AND same_as IS NOT NULL",
            receipt=told,
            settled_s=settled_s,
            key=receipt.key,
            origin=row.id if same_as is None else same_as,
            id=row.id,
        )
        return done


def defer(outbox: Outbox, row: Row, due_at: float, code: str, reason: str) -> Row:
    """Put the row back with its reason; the next attempt is at ``due_at``."""
    return outbox.settle(
        row,
        "state = 'queued', lease = NULL, due_at = :due_at, failures = failures + 1,"
        " code = :code, reason = :reason",
        due_at=due_at,
        code=code,
        reason=reason,
    )


def release(outbox: Outbox, row: Row, code: str = "", reason: str = "") -> Row:
    """Put the row back as it was: the attempt was interrupted, not failed."""
    return outbox.settle(
        row,
        "state = 'queued', lease = NULL, due_at = 0, attempts = max(0, attempts - 1),"
        " code = :code, reason = :reason",
        code=code,
        reason=reason,
    )


def mark_dead(outbox: Outbox, row: Row, code: str, reason: str) -> Row:
    """Record that this row can never be sent, and why."""
    return outbox.settle(
        row,
        "state = 'dead', lease = NULL, code = :code, reason = :reason, dismissed = 0",
        code=code,
        reason=reason,
    )
