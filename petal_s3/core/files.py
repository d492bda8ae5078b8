"""Create files safely, and make them survive a power cut; all of it blocks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, BinaryIO

SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags with which a file of our own is opened: no link is followed, no pipe waited for."""


def create_private(path: Path) -> BinaryIO:
    """A new file for this user alone, whatever stood there; raises ``OSError``."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600), "wb")


def flush_to_disk(file: IO[bytes] | IO[str]) -> None:
    """Write out what is buffered of an open file, so that it survives a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a directory, survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
