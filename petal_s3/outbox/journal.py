"""Read the journal of a row: what became of it, when by this device's clock and by S3's, and why.

:mod:`petal_s3.outbox.journal_triggers` writes it. Functions on an open
:class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox


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
