"""Change rows on request of a person or another petal, or because the link is back.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from petal_s3.outbox import queries
from petal_s3.outbox.outbox import OPEN, Outbox
from petal_s3.outbox.rows import Row


def cancel(outbox: Outbox, row_id: int, reason: str) -> Row:
    """Cancel a row; the drain aborts its multipart upload afterwards."""
    with outbox.sql.write():
        row = queries.get(outbox, row_id)
        if row.state in {"verified", "cancelled"}:
            return row
        return outbox.one(
            "UPDATE log SET state = 'cancelled', lease = NULL, code = 'cancelled',"
            " reason = :reason WHERE id = :id RETURNING *",
            id=row_id,
            reason=reason,
        )


def delete_proven(outbox: Outbox, key: str, reason: str) -> int:
    """Record that a proven object was deleted on request: its rows become cancelled."""
    return outbox.sql.change(
        "UPDATE log SET state = 'cancelled', receipt = NULL, same_as = NULL,"
        " code = 'deleted', reason = :reason WHERE state = 'verified' AND key = :key",
        key=key,
        reason=reason,
    )


def move_proven(outbox: Outbox, source_key: str, dest_key: str, etag: str) -> int:
    """Record that a proven object was renamed: its rows and receipts follow."""
    return outbox.sql.change(
        "UPDATE log SET key = :dest, receipt = json_set(receipt, '$.key', :dest,"
        " '$.etag', :etag) WHERE state = 'verified' AND key = :source",
        source=source_key,
        dest=dest_key,
        etag=etag,
    )


def retry(outbox: Outbox, row_id: int) -> Row:
    """Try a waiting row now. Any other stays as it is: one that was given up is examined first."""
    with outbox.sql.write():
        row = queries.get(outbox, row_id)
        return queue_again(outbox, row.id) if row.state == "queued" else row


def queue_again(outbox: Outbox, row_id: int) -> Row:
    """Queue a row, due now, inside a transaction that is open; its file has been examined."""
    row = queries.get(outbox, row_id)
    if row.state in {"verified", "uploading"}:
        return row
    return outbox.one(
        "UPDATE log SET state = 'queued', due_at = 0, code = '', reason = '', failures = 0"
        " WHERE id = :id RETURNING *",
        id=row_id,
    )


def refuse_again(
    outbox: Outbox, row_id: int, code: str, reason: str, facts: Mapping[str, str]
) -> None:
    """Record why the file of a dead row is no log now; a row in another state stays as it is."""
    outbox.sql.change(
        "UPDATE log SET code = :code, reason = :reason, facts = json_patch(facts, :facts)"
        " WHERE id = :id AND state = 'dead'",
        code=code,
        reason=reason,
        facts=json.dumps(dict(facts)),
        id=row_id,
    )


def make_due(outbox: Outbox, now: float) -> int:
    """Make every row due that is not due yet, except files that are still settling."""
    return outbox.sql.change(
        f"UPDATE log INDEXED BY waiting SET due_at = 0 WHERE {OPEN} AND state = 'queued'"
        " AND boot_id = :boot AND due_at > :now"
        " AND code NOT IN ('source_changed', 'not_finished')",
        boot=outbox.boot_id,
        now=now,
    )


def clear_upload(outbox: Outbox, row: Row) -> None:
    """Record that nothing is left of the upload of ``row``."""
    outbox.sql.change(
        "UPDATE log SET upload_id = NULL, part_size = NULL WHERE id = :id"
        " AND upload_id IS :upload_id AND state IN ('dead', 'cancelled')",
        id=row.id,
        upload_id=row.upload_id,
    )
