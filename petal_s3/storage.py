"""Open the database in turn, and turn what disk and SQLite say into one plain sentence."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LocalStorageError

DAMAGED = "outbox_damaged"
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26


@contextmanager
def in_turn(directory: Path) -> Iterator[None]:
    """Let those who open an outbox at once take turns: turning WAL on does not wait by itself."""
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
                f"The outbox {path} is damaged ({error}); whoever drains it sets it aside and"
                " rebuilds it from the log directories and the bucket.",
                code=DAMAGED,
            ) from error
        raise LocalStorageError(
            f"The outbox {path} cannot be used ({error}; it lies in PETAL_S3_STATE_DIR): check free"
            " space, permissions and mounts."
        ) from error


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
        place
        for number in range(1, 1 << 30)
        if not (place := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    for companion in ("-wal", "-shm", ""):
        part = path.with_name(path.name + companion)
        if part.exists():
            part.rename(aside.with_name(aside.name + companion))
    return aside
