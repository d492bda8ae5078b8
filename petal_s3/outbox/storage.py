"""Open the database in turn, and turn what disk and SQLite say into one plain sentence."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petal_s3.core.files import check_descriptors
from petal_s3.errors import (
    LocalStorageError,
)

DAMAGED = "outbox_damaged"
GONE = "outbox_gone"
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26
_LEAST_BYTES = 64 * 1024  # less than this holds no commit

Place = tuple[int, int]
"""A file by device and inode."""


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
        if isinstance(error, OSError):
            check_descriptors(error)
        raise LocalStorageError(
            f"The outbox {path} cannot be used ({error}; it lies in PETAL_S3_STATE_DIR): check free"
            " space, permissions and mounts."
        ) from error


def place_of(path: Path) -> Place | None:
    """Which file lies at ``path``; none when there is none. Raises ``OSError``."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def is_away(path: Path, device: int) -> bool:
    """Whether the file system ``device``, on which ``path`` lay, is no longer mounted there."""
    for directory in path.parents:
        there = place_of(directory)
        if there is not None:
            return there[0] != device
    return True


def no_room(directory: Path) -> str:
    """Why nobody can write in ``directory``, in a sentence; empty when somebody can."""
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
        place
        for number in range(1, 1 << 30)
        if not (place := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    for companion in ("-wal", "-shm", ""):
        part = path.with_name(path.name + companion)
        if part.exists():
            part.rename(aside.with_name(aside.name + companion))
    return aside
