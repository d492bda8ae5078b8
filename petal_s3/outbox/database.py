"""Run SQL on one SQLite database that is on disk when a call returns.

What SQLite and the file system say becomes one plain sentence; a file that is no longer the one
that was opened is not written to.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from petal_s3.core.files import check_descriptors
from petal_s3.errors import LocalStorageError
from petal_s3.outbox.schema import migrations

Record = Mapping[str, Any]
"""A record of a query, by column."""

Value = str | int | float | None
"""A value of a statement."""

FileId = tuple[int, int]
"""A file by device and inode."""

DAMAGED = "outbox_damaged"
GONE = "outbox_gone"
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26
_LEAST_BYTES = 64 * 1024  # less than this does not hold a commit


class Sql:
    """One connection, in WAL mode; every error that leaves it is ours. It belongs to one thread."""

    def __init__(self, path: Path, *, check: bool = False) -> None:
        """Open or create the database at ``path``; raises :class:`LocalStorageError`.

        ``check`` looks through all of it for damage first.
        """
        self.path = path
        with storage_errors(path), in_turn(path.parent):
            with suppress(FileExistsError):  # SQLite alone would let every user read it
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(path, timeout=5.0)
            self.db = Database(connection, execute_plugins=False)
            with ExitStack() as on_error:
                on_error.callback(connection.close)
                connection.execute("PRAGMA journal_mode = WAL")
                # Builds of SQLite differ in their default; an entered log must survive power loss.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                if check:
                    _refuse_damage(connection)
                if migrations.pending(self.db):
                    migrations.apply(self.db)
                self.file_id: FileId | None = file_id_of(path)
                on_error.pop_all()

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        # IMMEDIATE: a read that turns into a write would fail at once against another writer.
        with self._there(), ExitStack() as on_error:
            self.db.conn.execute("BEGIN IMMEDIATE")
            on_error.callback(self.db.conn.rollback)
            yield
            on_error.pop_all()
            self.db.conn.commit()

    def change(self, statement: str, **values: Value) -> int:
        """Run a statement; return how many records it changed."""
        with self._there():
            return int(self.db.execute(statement, values).rowcount)

    def records(self, query: str, **values: Value) -> list[Record]:
        """All records that a query or a ``RETURNING`` statement yields."""
        conn = self.db.conn
        # `query` of sqlite-utils would read the statement, and set and release a savepoint.
        with self._there(), nullcontext() if conn.in_transaction else conn:
            found = self.db.execute(query, values)
            names = [column[0] for column in found.description]
            return [dict(zip(names, values, strict=True)) for values in found]

    def record(self, query: str, **values: Value) -> Record:
        """The first record; there is one."""
        return self.records(query, **values)[0]

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Refuse to write into a file that was deleted: SQLite would, and it would be lost."""
        with storage_errors(self.path):
            if file_id_of(self.path) != self.file_id:
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


@contextmanager
def in_turn(directory: Path) -> Iterator[None]:
    """Let processes open an outbox one after another: turning WAL on does not wait by itself."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into one plain sentence."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.Error, OSError) as error:
        if _damaged(error):
            raise LocalStorageError(
                f"The outbox {path} is damaged; the process that uploads sets it aside and"
                " rebuilds it from the log directories and the bucket.",
                code=DAMAGED,
            ) from error
        if isinstance(error, OSError):
            check_descriptors(error)
        # Of a lock nothing is known but that it is held.
        advice = (
            "ask again" if "locked" in str(error) else "check free space, permissions and mounts"
        )
        raise LocalStorageError(
            f"The outbox {path} cannot be used ({_why(error)}; it lies in PETAL_S3_STATE_DIR):"
            f" {advice}."
        ) from error


_SAID = (
    ("locked", "another process holds it"),
    ("readonly", "it is read-only"),
    ("read-only", "it is read-only"),
    ("full", "its disk is full"),
    ("unable to open", "it cannot be opened"),
    ("i/o error", "its disk reports an error"),
)


def _why(error: sqlite3.Error | OSError) -> str:
    """What SQLite or the system said, in our words."""
    if isinstance(error, OSError):
        return str(error.strerror)
    told = (ours for theirs, ours in _SAID if theirs in str(error).lower())
    return next(told, "SQLite failed")


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


def no_room(directory: Path) -> str:
    """Why no process can write in ``directory``, in a sentence; empty where one can."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return ""
    if found.f_flag & os.ST_RDONLY:
        return f"{directory} is mounted read-only: remount it, or check its disk."
    free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    if free * found.f_frsize < _LEAST_BYTES:
        return f"The disk of {directory} is full: free some space."
    return ""


def _damaged(error: sqlite3.Error | OSError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # Python 3.10 has only the words
    words = str(error)
    return code in {_SQLITE_CORRUPT, _SQLITE_NOTADB} or (
        isinstance(error, sqlite3.DatabaseError)
        and ("malformed" in words or "not a database" in words)
    )


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
