"""Read the journal of a row: what became of it, when by this device's clock and by S3's, and why.

:mod:`petal_s3.outbox.journal_triggers` writes it. Functions on an open
:class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row


@dataclass(frozen=True)
class Event:
    """One entry: what the row was from then on.

    ``at``, ``s3_at``: seconds since 1970 by this device's clock, and by S3's (none: not known).
    """

    at: int
    s3_at: int | None
    state: str
    attempts: int
    key: str
    code: str
    reason: str


def waits_since(outbox: Outbox, row: Row) -> int | None:
    """Since when a row waits for what it waits for now, in seconds since 1970; none: not known.

    Attempts that failed in the same way again are passed over.
    """
    found = outbox.sql.record(
        "SELECT min(coalesce(s3_at, at)) AS since FROM journal"
        " WHERE row_id = :id AND state = 'queued' AND code = :code AND id >"
        " (SELECT coalesce(max(id), 0) FROM journal WHERE row_id = :id AND state = 'queued'"
        " AND code NOT IN (:code, ''))",
        id=row.id,
        code=row.code,
    )
    return None if found["since"] is None else int(found["since"])


def of(outbox: Outbox, row_id: int) -> list[Event]:
    """The journal of a row, the oldest entry first; raises :class:`S3FileNotFoundError`.

    Rows from before there was a journal have entries only of what happened since.
    """
    row = queries.get(outbox, row_id)
    found = outbox.sql.records(
        "SELECT at, s3_at, state, attempts, key, code, reason FROM journal WHERE row_id = :id"
        " ORDER BY id",
        id=row.id,
    )
    return [Event(**record) for record in found]
