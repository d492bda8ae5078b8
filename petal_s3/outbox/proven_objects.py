"""Change rows whose object was proven: it was deleted, renamed, lost, or is to be sent again.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json

from petal_s3.errors import Conflict
from petal_s3.logs.opening import Identity
from petal_s3.outbox import ages, queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import SAME_FILE, SENT_AGAIN, Receipt, Row, columns


def delete_proven(outbox: Outbox, key: str, reason: str) -> int:
    """Record that a proven object was deleted on request: its rows become cancelled."""
    return outbox.sql.change(
        "UPDATE log SET state = 'cancelled', receipt = NULL, same_as = NULL,"
        # The copy went when it was proven.
        " local = iif(spooled, 'deleted', local),"
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


# The row that brought an object, and those that are proven by it.
_TWINS = (
    "SET same_as = :id WHERE id = :origin",
    "INDEXED BY twins SET same_as = :id WHERE same_as = :origin AND same_as IS NOT NULL",
)


def resend(outbox: Outbox, row: Row, identity: Identity) -> Row:
    """Queue a proven row again: S3 holds its bytes no longer, and the file, now ``identity``, does.

    The rows that were proven by the same object follow this one from now on, and count as gone
    until it is proven. Raises :class:`Conflict` where the row changed, or another has its file.
    """
    file = columns(identity)
    with outbox.sql.write():
        _unchanged(outbox, row)
        other = outbox.first(
            f"{SAME_FILE} AND id != :id",
            **file,
            path=row.path,
            asked_key=row.asked_key,
            id=row.id,
        )
        if other is not None:
            raise Conflict(f"Its file is that of row {other.id} now.", code="source_changed")
        if row.same_as is not None:
            for twin in _TWINS:
                outbox.sql.change(
                    f"UPDATE log {twin} AND state = 'verified' AND id != :id",
                    id=row.id,
                    origin=row.same_as,
                )
        outbox.sql.change(
            "UPDATE log INDEXED BY twins SET gone = :gone"
            " WHERE same_as = :id AND same_as IS NOT NULL AND state = 'verified'",
            gone=SENT_AGAIN.format(id=row.id),
            id=row.id,
        )
        return outbox.one(
            "UPDATE log SET state = 'queued', receipt = NULL, same_as = NULL, due_at = 0,"
            " code = '', reason = '', failures = 0, sent_bytes = 0, part_size = NULL,"
            " stored_at = NULL, read_back = NULL, gone = '', local = 'kept', dev = :dev,"
            " ino = :ino, mtime_ns = :mtime_ns, size = :size WHERE id = :id RETURNING *",
            **file,
            id=row.id,
        )


def lose_copy(outbox: Outbox, row: Row) -> None:
    """Record that S3 lost what was sent from a copy: its file, entered again, is sent again."""
    outbox.sql.change(
        "UPDATE log SET local = 'deleted' WHERE id = :id AND state = 'verified' AND spooled = 1",
        id=row.id,
    )


def note_object(outbox: Outbox, row: Row, gone: str) -> None:
    """Keep what was seen of the object of a proven row: why it is ``gone``; empty: it is there.

    It holds for all rows of this object. A row that changed meanwhile stays as it is.
    """
    with outbox.sql.write():
        now = queries.get(outbox, row.id)
        if row.receipt is not None and (now.state, now.receipt) == ("verified", row.receipt):
            # By the index of keys: one object has few rows.
            outbox.sql.change(
                "UPDATE log SET gone = :gone WHERE key = :key AND state = 'verified'"
                " AND json_extract(receipt, '$.etag') = :etag AND size = :size AND gone != :gone",
                gone=gone,
                key=row.key,
                etag=row.receipt.etag,
                size=row.size,
            )


def prove_again(outbox: Outbox, row: Row, receipt: Receipt) -> None:
    """Record that the object of a proven row is another one that holds the same bytes.

    Raises :class:`Conflict` where the row changed meanwhile.
    """
    with outbox.sql.write():
        _unchanged(outbox, row)
        # By the index of keys: one object has few rows.
        outbox.sql.change(
            "UPDATE log SET receipt = :receipt, settled_s = :settled_s, gone = ''"
            " WHERE key = :key AND state = 'verified' AND :origin IN (id, same_as)",
            receipt=json.dumps(receipt.__dict__),
            settled_s=ages.count(outbox),
            key=row.key,
            origin=row.id if row.same_as is None else row.same_as,
        )


def _unchanged(outbox: Outbox, row: Row) -> None:
    now = queries.get(outbox, row.id)
    if (now.state, now.receipt) != (row.state, row.receipt):
        raise Conflict(f"Row {row.id} changed meanwhile: ask again.", code="row_changed")
