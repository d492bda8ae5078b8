"""Files as a card shows them after a reboot: the same bytes, with another time or inode."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_HOUR_NS = 3600 * 10**9


def an_hour_later(path: Path, hours: int = 1) -> None:
    """What a FAT card shows after a reboot with another idea of local time."""
    known = path.stat()
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + hours * _HOUR_NS))


def mounted_anew(path: Path) -> None:
    """The same file by path, size, time and bytes, under another inode number."""
    known = path.stat()
    other = path.with_name(f".{path.name}.tmp")
    shutil.copyfile(path, other)
    os.utime(other, ns=(known.st_mtime_ns, known.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_ino != known.st_ino
