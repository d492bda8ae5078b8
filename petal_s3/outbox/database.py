"""Run SQL on one SQLite database that is on disk when a call returns.

What SQLite and the file system say becomes one plain sentence; a file that is no longer the one
that was opened is not written to.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from petal_s3.errors import LocalStorageError
from petal_s3.outbox.forking import closed_by_forks, in_turn, no_fork
from petal_s3.outbox.storage_errors import storage_errors

Record = Mapping[str, Any]
"""A record of a query, by column."""

Value = str | int | float | None
"""A value of a statement."""

FileId = tuple[int, int]
"""A file by device and inode."""

GONE = "outbox_gone"
NEWEST = "m018_codes"
"""The last step of ``outbox.migrations``; what has taken it needs none of that module."""

# FULL: builds differ in their default, and an entered log must survive power loss.
_PRAGMAS = "journal_mode = WAL; synchronous = FULL; foreign_keys = ON; recursive_triggers = ON"


class Sql:
    """One connection, in WAL mode; every error that leaves it is ours. It belongs to one thread.

    It is closed before a fork of the process, and opened anew at its next use.
    """

    def __init__(
        self,
        path: Path,
        *,
        check: bool = False,
        prepare: Callable[[sqlite3.Connection], None] = lambda _: None,
    ) -> None:
        """Open or create the database at ``path``; raises :class:`LocalStorageError`.

        ``check`` looks through all of it for damage first. ``prepare`` is called with each
        connection before its use.
        """
        self.path = path
        self._prepare = prepare
        self._changes_before = 0
        self._closed_for_fork = False
        self._looked = False
        with storage_errors(path), in_turn(path.parent):
            with suppress(FileExistsError):  # SQLite alone would let every user read it
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._connect(check=check)
            self.file_id: FileId | None = file_id_of(path)
        closed_by_forks(self)

    def _connect(self, *, check: bool = False) -> None:
        self.conn = connect(self.path, 5.0)
        with ExitStack() as on_error:
            on_error.callback(self.conn.close)
            for pragma in _PRAGMAS.split("; "):
                self.conn.execute(f"PRAGMA {pragma}")
            if check:
                _refuse_damage(self.conn)
            if _is_behind(self.conn):
                self.bring_up_to_date()
            self._prepare(self.conn)
            on_error.pop_all()

    def bring_up_to_date(self) -> None:
        """Take the steps of the schema that this file has not taken."""
        from petal_s3.outbox.up_to_date import bring_up_to_date  # noqa: PLC0415 - once a release

        with _transaction(self.conn):
            bring_up_to_date(self.conn)

    def close(self) -> None:
        """Close the connection."""
        with no_fork():
            self.conn.close()
            self._closed_for_fork = False

    def before_fork(self) -> None:
        """Close the connection until its next use, unless it is closed for good."""
        with suppress(sqlite3.Error):
            self._changes_before += self.conn.total_changes + 1
            self.conn.close()
            self._closed_for_fork = True

    @contextmanager
    def write(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        with self.there(), _transaction(self.conn):
            yield

    def change(self, statement: str, **values: Value) -> int:
        """Run a statement; return how many records it changed."""
        with self.there():
            return self.conn.execute(statement, values).rowcount

    def records(self, query: str, **values: Value) -> list[Record]:
        """All records that a query or a ``RETURNING`` statement yields."""
        with self.there():
            found = self.conn.execute(query, values)
            records = found.fetchall()
        names = [column[0] for column in found.description] if records else ()
        return [dict(zip(names, record, strict=True)) for record in records]

    def numbers(self, query: str, values: Sequence[Value]) -> list[int]:
        """The first column of a query with placeholders ``?``, whole numbers all of them."""
        with self.there():
            return [int(found[0]) for found in self.conn.execute(query, values)]

    def record(self, query: str, **values: Value) -> Record:
        """The first record; there is one."""
        return self.records(query, **values)[0]

    def changes(self) -> int:
        """A number that grows whenever something was changed through this object."""
        with self.there():
            return self._changes_before + self.conn.total_changes

    def there(self) -> AbstractContextManager[None]:
        """Refuse to write into a file that was deleted: SQLite would, and it would be lost.

        Each statement looks by itself; those inside of such a block have looked together.
        """
        looked = self._looked and not self._closed_for_fork
        return storage_errors(self.path) if looked else self._looking()

    @contextmanager
    def _looking(self) -> Iterator[None]:
        before = self._looked
        with self._look():
            self._looked = True
            try:
                yield
            finally:
                self._looked = before

    @contextmanager
    def _look(self) -> Iterator[None]:
        with storage_errors(self.path), no_fork():
            if file_id_of(self.path) != self.file_id:
                raise LocalStorageError(
                    f"The outbox {self.path} is no longer there: it was deleted or replaced, or"
                    " its disk was unmounted. It is opened again as soon as that can be.",
                    code=GONE,
                )
            if self._closed_for_fork:
                with in_turn(self.path.parent):
                    self._connect()
                self._closed_for_fork = False
            yield


def connect(path: Path, patience_s: float) -> sqlite3.Connection:
    """A connection to the database at ``path``, which is never created.

    It waits up to ``patience_s`` for the locks of others; each statement is a transaction, unless
    one is begun. Raises ``sqlite3.Error``.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    # Whichever thread forks closes it; no two threads ever use it at once.
    return sqlite3.connect(
        address, uri=True, timeout=patience_s, check_same_thread=False, isolation_level=None
    )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    # IMMEDIATE: a read that turns into a write would fail at once against another writer.
    with ExitStack() as on_error:
        connection.execute("BEGIN IMMEDIATE")
        on_error.callback(connection.rollback)
        yield
        on_error.pop_all()
        connection.commit()


def _is_behind(connection: sqlite3.Connection) -> bool:
    table = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    taken = "SELECT 1 FROM _sqlite_migrations WHERE migration_set = 'petal-s3-outbox' AND name = ?"
    there = connection.execute(table).fetchone()
    return there is None or connection.execute(taken, (NEWEST,)).fetchone() is None


def _refuse_damage(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {found}")


def file_id_of(path: Path) -> FileId | None:
    """Which file lies at ``path``; none when there is none. Raises ``OSError``."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def is_away(path: Path, device: int) -> bool:
    """Whether the file system ``device``, on which ``path`` lay, is no longer mounted there."""
    for directory in path.parents:
        there = file_id_of(directory)
        if there is not None:
            return there[0] != device
    return True


def set_aside(path: Path) -> Path:
    """Move a damaged database and its companions out of the way; nothing is deleted; blocking.

    Returns where it lies now. Raises ``OSError``.
    """
    aside = next(
        free
        for number in range(1, 1 << 30)
        if not (free := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    for companion in ("-wal", "-shm", ""):
        part = path.with_name(path.name + companion)
        if part.exists():
            part.rename(aside.with_name(aside.name + companion))
    return aside
