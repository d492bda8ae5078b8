"""Open the database in turn, and turn what disk and SQLite say into one plain sentence."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LocalStorageError


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
        raise LocalStorageError(
            f"The outbox {path} cannot be used ({error}; it lies in PETAL_S3_STATE_DIR): check free"
            " space, permissions and mounts."
        ) from error
