"""One SQLite database that keeps one row per log; opened here, asked and changed elsewhere.

    queued ──claim──▶ uploading ──verified──▶ verified
      ▲                  │  │
      └──defer, release──┘  ├──mark_dead──▶ dead      retry leads back to queued
                            └──cancel─▶ cancelled

Every settling statement carries the lease of the claim. Times are seconds since boot beside the
boot id; a row from another boot is due. All calls block: they run on one thread (``thread``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import LeaseLost
from petal_s3.outbox.database import Sql, Value
from petal_s3.outbox.journal_triggers import write_journal
from petal_s3.outbox.rows import Row, row_of

STATES = ("queued", "uploading", "verified", "dead", "cancelled")
OPEN = "state IN ('queued', 'uploading')"


def _unknown() -> int | None:
    return None


class Outbox:
    """The rows, in one SQLite database in WAL mode that is on disk when a call returns."""

    def __init__(self, path: Path, *, boot_id: str | None = None, check: bool = False) -> None:
        """Open or create the database at ``path``; raises :class:`LocalStorageError`.

        ``check`` looks through all of it for damage first.
        """
        self.path = path
        self.server_s: Callable[[], int | None] = _unknown
        """S3's time in seconds since 1970; none while it is not known."""
        self.now: Clock = clock.now
        """Seconds of the clock that cannot be set."""
        self.sql = Sql(path, check=check, prepare=lambda made: write_journal(made, self._server_s))
        self.boot_id = boot_id if boot_id is not None else clock.boot_id()

    def _server_s(self) -> int | None:
        return self.server_s()

    def close(self) -> None:
        """Close the connection."""
        self.sql.close()

    def select(self, sql: str, **values: Value) -> list[Row]:
        """The rows that a query or a ``RETURNING`` statement yields."""
        return [row_of(record) for record in self.sql.records(sql, **values)]

    def first(self, sql: str, **values: Value) -> Row | None:
        """The first of :meth:`select`; none where there is none."""
        return next(iter(self.select(sql, **values)), None)

    def one(self, sql: str, **values: Value) -> Row:
        """The first of :meth:`select`; there is one."""
        return self.select(sql, **values)[0]

    def settle(self, row: Row, assignments: str, **values: Value) -> Row:
        """Change a row under its lease; raises :class:`LeaseLost` when that is no longer ours."""
        settled = self.first(
            f"UPDATE log SET {assignments}, boot_id = :boot WHERE id = :row_id"
            " AND lease = :row_lease RETURNING *",
            **values,
            boot=self.boot_id,
            row_id=row.id,
            row_lease=row.lease,
        )
        if settled is None:
            raise LeaseLost(f"Row {row.id} was taken by another worker or cancelled.")
        return settled
