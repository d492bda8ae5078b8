"""Copies in the spool whose rows are not proven: which are needed, which may go.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.outbox.outbox import OPEN, Outbox
from petal_s3.outbox.rows import Row

KEPT = (
    " Its copy in the spool, perhaps the only one, stays for a day: `petal-s3 retry {id}` sends it"
    " after all, `petal-s3 cancel --purge {id}` deletes it now."
)
"""What the reason of a cancelled row adds while its copy is kept."""
PURGED = "Cancelled. Its copy in the spool was deleted on request."
_EXPIRED = "Cancelled. Its copy in the spool was deleted a day later."
_GIVEN_UP = "spooled = 1 AND state IN ('dead', 'cancelled') AND local = 'kept'"


def needed(outbox: Outbox) -> set[str]:
    """Spool copies that are still needed: of rows that are not proven, and may be sent yet."""
    found = outbox.sql.records(
        f"SELECT path FROM log INDEXED BY copy WHERE spooled = 1 AND {OPEN}"
        f" UNION ALL SELECT path FROM log INDEXED BY kept_copy WHERE {_GIVEN_UP}"
    )
    return {str(record["path"]) for record in found}


def held_bytes(outbox: Outbox) -> tuple[int, int]:
    """Bytes of all spool copies that are not proven, and of those among them that were given up."""
    size = "SELECT coalesce(sum(size), 0) AS bytes FROM log"
    found = outbox.sql.records(
        f"{size} INDEXED BY copy WHERE spooled = 1 AND {OPEN}"
        f" UNION ALL {size} INDEXED BY kept_copy WHERE {_GIVEN_UP}"
    )
    waiting, given_up = (int(record["bytes"]) for record in found)
    return waiting + given_up, given_up


def alike(outbox: Outbox, name: str, size: int, asked_key: str) -> list[Row]:
    """Rows of spool copies that came under ``name`` with ``size`` bytes: those that wait, then
    those that were given up."""
    like = "size = :size AND name = :name AND asked_key = :asked_key"
    return [
        row
        for which in (
            f"INDEXED BY copy WHERE spooled = 1 AND {OPEN}",
            f"INDEXED BY kept_copy WHERE {_GIVEN_UP}",
        )
        for row in outbox.select(
            f"SELECT * FROM log {which} AND {like} ORDER BY id",
            name=name,
            size=size,
            asked_key=asked_key,
        )
    ]


def expire(outbox: Outbox, oldest: float) -> list[Row]:
    """Give up the copies of rows that were cancelled at this count or before it.

    Returns the rows: their copies are to be deleted, and no row needs those any more.
    """
    with outbox.sql.write():
        expired = outbox.select(
            f"SELECT * FROM log INDEXED BY kept_copy WHERE {_GIVEN_UP}"
            " AND state = 'cancelled' AND settled_s <= :oldest",
            oldest=oldest,
        )
        for row in expired:
            forget(outbox, row.id, _EXPIRED)
        return expired


def forget(outbox: Outbox, row_id: int, reason: str) -> None:
    """Record that the copy of a cancelled row is to be deleted, and why."""
    outbox.sql.change(
        f"UPDATE log SET local = 'deleted', reason = :reason WHERE id = :id AND {_GIVEN_UP}"
        " AND state = 'cancelled'",
        id=row_id,
        reason=reason,
    )
