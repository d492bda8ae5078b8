"""Say in one plain sentence why the disk, or SQLite on it, does not hold the outbox."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petal_s3.core.files import check_descriptors
from petal_s3.errors import LocalStorageError

DAMAGED = "outbox_damaged"
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26
_LEAST_BYTES = 64 * 1024  # less than this does not hold a commit


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
