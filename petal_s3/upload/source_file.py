"""Hold one file open, and notice when it is no longer the one that was entered."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from petal_s3.errors import (
    NotAFlightLog,
    S3FileNotFoundError,
    SourceAway,
    SourceChanged,
    SourceGone,
)
from petal_s3.logs.opening import Identity, open_log, was_deleted
from petal_s3.outbox.rows import printable


class SourceFile:
    """An open file of known identity; everything is read through its one descriptor."""

    def __init__(self, path: Path, identity: Identity, *, real: bool = False) -> None:
        """Open ``path``; blocking. ``real``: no link in a folder may lead away from it.

        ``identity`` is the file that was entered. Raises :class:`SourceGone` when it was deleted,
        :class:`SourceAway` when it cannot be read for now, :class:`SourceChanged` when size or
        time of change differ. The inode is not compared: some file systems give new ones at
        each mount, and resumed parts are compared by content anyway.
        """
        self.path = path
        try:
            self.fd = open_log(path, real=real)
        except S3FileNotFoundError as error:
            raise missing(path, identity) from error
        except NotAFlightLog as error:
            if error.code != "unreadable":
                raise
            # It was a log when it was entered, and a permission can be given back.
            raise SourceAway(
                f"The file {path.name} cannot be read now: permission denied."
            ) from error
        self.identity = Identity.of(os.fstat(self.fd))
        if not _alike(self.identity, identity):
            self.close()
            raise _changed(path)
        self._named = _at(path) == self.identity

    @property
    def size(self) -> int:
        """Bytes, at the time of opening."""
        return self.identity.size

    def check(self) -> None:
        """Raise :class:`SourceChanged` unless the file is still as it was when opened.

        Also where another file of the same size and time has its name now: by these a scan
        would take it for this one. Any other is found by a scan, while this one is sent.
        """
        if Identity.of(os.fstat(self.fd)) != self.identity:
            raise _changed(self.path)
        there = _at(self.path) if self._named else None
        if there is not None and there != self.identity and _alike(there, self.identity):
            raise _changed(self.path)

    def close(self) -> None:
        """Close the descriptor; nothing may be reading any more."""
        os.close(self.fd)


def _at(path: Path) -> Identity | None:
    """The file that has this name now; none where that cannot be told; blocking."""
    try:
        return Identity.of(path.lstat())
    except OSError:
        return None


def renamed(path: Path, identity: Identity) -> Path | None:
    """Where the file lies now that was rotated away from ``path``: beside it; blocking.

    None where no file there is the one that was entered.
    """
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.inode() == identity.ino and entry.name == printable(entry.name)
                if found and Identity.of(entry.stat(follow_symlinks=False)) == identity:
                    return path.with_name(entry.name)
    return None


def replaced(path: Path, identity: Identity) -> bool:
    """Whether another file has the name of the one that was entered; blocking."""
    with contextlib.suppress(OSError):
        return path.lstat().st_ino != identity.ino
    return False


def missing(path: Path, identity: Identity) -> SourceGone | SourceAway:
    """Tell a deleted file from one whose file system is not mounted."""
    if was_deleted(path, identity.dev):
        return SourceGone(f"The file {path.name} was deleted before it was proven in S3.")
    return SourceAway(f"The file {path.name} cannot be reached: is its disk or card mounted?")


def _alike(one: Identity, other: Identity) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _changed(path: Path) -> SourceChanged:
    return SourceChanged(
        f"The file {path.name} changed since it was entered; it is examined again."
    )
