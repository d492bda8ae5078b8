"""The journal of deletions: what was removed from the disk, and the proof that allowed it.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread. Times are
seconds since 1970 by S3's clock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from petal_s3.outbox import queries
from petal_s3.outbox.database import Record
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row

DONE, KEPT, UNSENT = "done", "kept", "unsent"


@dataclass(frozen=True)
class Deletion:
    """One entry: the file of ``path`` goes by way of the name ``aside``."""

    id: int
    row_id: int
    path: str
    aside: str
    size: int


@dataclass(frozen=True)
class Totals:
    """What was deleted since this outbox was created; ``unsent`` is 0 or petal-s3 has a fault."""

    files: int
    size_bytes: int
    unsent: int


Cursor = tuple[float, int]
"""Where a page of proven rows ended: ``(settled_s, id)``."""


def proven(
    outbox: Outbox, *, pinned: bool, after: Cursor = (-1, 0), limit: int = 50
) -> list[tuple[Cursor, Row]]:
    """Proven rows whose file may still lie on the disk, the oldest proof first.

    ``after``: where the page before ended.
    """
    found = outbox.select(
        "SELECT * FROM log INDEXED BY removable"
        " WHERE state = 'verified' AND spooled = 0 AND local = 'kept' AND pinned = :pinned"
        " AND (settled_s, id) > (:settled_s, :id) ORDER BY settled_s, id LIMIT :limit",
        pinned=int(pinned),
        settled_s=after[0],
        id=after[1],
        limit=limit,
    )
    return [((row.settled_s, row.id), row) for row in found]


def begin(outbox: Outbox, row: Row, aside: str, why: str, now: int) -> int:
    """Write down that a file is about to go, and by what proof; return the entry's id."""
    assert row.receipt is not None
    with outbox.sql.write():
        return int(
            outbox.sql.record(
                "INSERT INTO deletion (row_id, path, aside, key, size, receipt, why, begun_at)"
                " VALUES (:row_id, :path, :aside, :key, :size, :receipt, :why, :now) RETURNING id",
                row_id=row.id,
                path=row.path,
                aside=aside,
                key=row.receipt.key,
                size=row.size,
                receipt=json.dumps(row.receipt.__dict__),
                why=why,
                now=now,
            )["id"]
        )


def end(outbox: Outbox, entry_id: int, state: str, reason: str, now: int) -> None:
    """Write down how it ended: ``done``, ``kept``, or ``unsent`` (what must never happen)."""
    with outbox.sql.write():
        row_id = outbox.sql.record(
            "UPDATE deletion SET state = :state, reason = :reason, ended_at = :now WHERE id = :id"
            " RETURNING row_id",
            state=state,
            reason=reason,
            now=now,
            id=entry_id,
        )["row_id"]
        if state != KEPT:
            outbox.sql.change("UPDATE log SET local = 'deleted' WHERE id = :id", id=row_id)


def left_alone(outbox: Outbox, row: Row) -> None:
    """Record that the file of a proven row is gone or another one: there is nothing to delete."""
    outbox.sql.change("UPDATE log SET local = 'other' WHERE id = :id", id=row.id)


def unfinished(outbox: Outbox) -> list[Deletion]:
    """Entries that were begun and not ended: the process was killed in between."""
    return [
        _deletion(record)
        for record in outbox.sql.records(
            "SELECT id, row_id, path, aside, size FROM deletion WHERE state = 'begun' ORDER BY id"
        )
    ]


def totals(outbox: Outbox) -> Totals:
    """What the journal adds up to."""
    found = outbox.sql.record(
        "SELECT count(*) FILTER (WHERE state != 'kept') AS files,"
        " coalesce(sum(size) FILTER (WHERE state != 'kept'), 0) AS size_bytes,"
        " count(*) FILTER (WHERE state = 'unsent') AS unsent FROM deletion WHERE state != 'begun'"
    )
    return Totals(int(found["files"]), int(found["size_bytes"]), int(found["unsent"]))


def pin(outbox: Outbox, row_id: int, *, pinned: bool) -> Row:
    """Pin the file of a row, or let it go; raises :class:`S3FileNotFoundError`."""
    outbox.sql.change("UPDATE log SET pinned = :pinned WHERE id = :id", pinned=pinned, id=row_id)
    return queries.get(outbox, row_id)


def _deletion(record: Record) -> Deletion:
    return Deletion(**{name: record[name] for name in ("id", "row_id", "path", "aside", "size")})
