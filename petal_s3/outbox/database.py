"""Run SQL on one SQLite database that is on disk when a call returns."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from petal_s3.errors import LocalStorageError
from petal_s3.outbox.schema import migrations
from petal_s3.outbox.storage import GONE, Place, in_turn, place_of, storage_errors

Record = Mapping[str, Any]


class Sql:
    """One connection, in WAL mode; every error that leaves it is ours. It belongs to one thread."""

    def __init__(self, path: Path, *, check: bool = False) -> None:
        """Open or create the database at ``path``; raises :class:`LocalStorageError`.

        ``check`` looks through all of it for damage first.
        """
        self.path = path
        with storage_errors(path), in_turn(path.parent):
            with suppress(FileExistsError):  # SQLite alone would let everybody read it
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(path, timeout=5.0)
            self.db = Database(connection, execute_plugins=False)
            try:
                self.db.conn.execute("PRAGMA journal_mode = WAL")
                # Builds of SQLite differ in their default; a landed log must survive power loss.
                self.db.conn.execute("PRAGMA synchronous = FULL")
                self.db.conn.execute("PRAGMA foreign_keys = ON")
                if check:
                    _refuse_damage(connection)
                if migrations.pending(self.db):
                    migrations.apply(self.db)
                self.place: Place | None = place_of(path)
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        # IMMEDIATE: a read that turns into a write would fail at once against another writer.
        with self._there():
            self.db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.conn.rollback()
                raise
            self.db.conn.commit()

    def change(self, statement: str, **values: Any) -> int:
        """Run a statement; return how many records it changed."""
        with self._there():
            return int(self.db.execute(statement, values).rowcount)

    def records(self, query: str, **values: Any) -> list[Record]:
        """All records that a query or a ``RETURNING`` statement yields."""
        with self._there():
            return list(self.db.query(query, values))

    def record(self, query: str, **values: Any) -> Record:
        """The first record; there is one."""
        return self.records(query, **values)[0]

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Refuse to write into a file that was deleted: SQLite would, and it would be lost."""
        with storage_errors(self.path):
            if place_of(self.path) != self.place:
                raise LocalStorageError(
                    f"The outbox {self.path} is no longer there: it was deleted or replaced, or"
                    " its disk was unmounted. It is opened again as soon as that can be.",
                    code=GONE,
                )
            yield


def _refuse_damage(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {found}")
