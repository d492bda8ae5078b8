"""Proven files whose time or inode changed: their rows are found by path and size.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.logs.log_file import Identity
from petal_s3.outbox.outbox import Outbox, columns
from petal_s3.outbox.rows import Row, row_of


def proven_at(outbox: Outbox, path: str, size: int) -> Row | None:
    """The latest proven row of a file of ``size`` bytes at ``path``, a copy in the spool aside."""
    found = outbox.sql.records(
        "SELECT * FROM log WHERE id = (SELECT max(id) FROM log INDEXED BY same_file"
        " WHERE path = :path AND size = :size AND state = 'verified' AND spooled = 0)",
        path=path,
        size=size,
    )
    return row_of(found[0]) if found else None


def known_again(outbox: Outbox, row: Row, identity: Identity) -> None:
    """Record that the file of a proven row has another time or inode, and the same bytes.

    Every row that was proven of this file takes on the new identity, except where that has a row.
    """
    assert row.receipt is not None
    outbox.sql.change(
        "UPDATE OR IGNORE log INDEXED BY same_file SET dev = :dev, ino = :ino,"
        " mtime_ns = :mtime_ns, local = 'kept' WHERE path = :path AND size = :size"
        " AND mtime_ns = :before AND state = 'verified' AND spooled = 0"
        " AND json_extract(receipt, '$.checksum') = :checksum",
        **columns(identity),
        path=row.path,
        before=row.mtime_ns,
        checksum=row.receipt.checksum,
    )


def found_at(outbox: Outbox, row: Row, identity: Identity) -> Row:
    """Record under which inode the file of a claimed row was opened: at each mount another one.

    Its size and time are those of the row. Where another row has this very file, nothing changes.
    """
    found = outbox.sql.records(
        "UPDATE OR IGNORE log SET dev = :dev, ino = :ino WHERE id = :id AND lease = :lease"
        " AND size = :size AND mtime_ns = :mtime_ns RETURNING *",
        **columns(identity),
        id=row.id,
        lease=row.lease,
    )
    return row_of(found[0]) if found else row
