"""Write files that survive a power cut, and say when no more files can be opened."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from petal_s3.errors import BadInput, LocalStorageError, S3IntegrationError

_NO_DESCRIPTORS = "too_many_files"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_NO_PLACE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
    | {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENXIO, errno.EOPNOTSUPP}
)
_LINKS = 40  # as many as Linux follows
SAFE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags of ``os.open`` that follow no link, wait for no peer and leak to no child process."""


class LedAstray(OSError):
    """A link of another user lies there, or what is no file."""


def check_links(path: Path) -> None:
    """Raise :class:`LedAstray` where a link on the way to ``path`` is a trap; blocking.

    That is one that another user has made, to what is not that user's and could be written by this
    one. Whoever writes there by a name that a person gave asks this first. What is no path at all
    passes: to open it says so.
    """
    if "\0" not in str(path):
        _check_links(path, _LINKS)


def _check_links(path: Path, left: int) -> Path:
    """Where ``path`` leads."""
    whole = path.absolute()
    way = Path(whole.anchor)
    for part in whole.parts[1:]:
        step = way.parent if part == ".." else way / part
        try:
            link = step.lstat()
        except FileNotFoundError:
            return whole.resolve()
        if not stat.S_ISLNK(link.st_mode):
            way = step
            continue
        if not left:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        way = _check_links(way / step.readlink(), left - 1)
        _check_link(link.st_uid, way)
    return way


def _check_link(maker: int, target: Path) -> None:
    this = os.geteuid()
    if maker in {0, this}:
        return
    owner = (target if target.exists() else target.parent).stat().st_uid
    if owner != maker and this in {0, owner}:
        raise LedAstray(0, "it is a link of another user to what is not that user's")


def create_private(path: Path) -> BinaryIO:
    """Create an empty file at ``path`` that only this user can read, and open it for writing.

    Whatever was at ``path`` is removed. Blocking; raises ``OSError``.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600), "wb")


def flush_to_disk(file: BinaryIO) -> None:
    """Write out what is buffered of an open file, so that it survives a power cut.

    Blocking; raises ``OSError``.
    """
    file.flush()
    os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a directory, survive a power cut.

    Blocking; raises ``OSError``.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def no_descriptors(error: OSError) -> LocalStorageError | None:
    """The error to raise where ``error`` says that no more files can be opened, else none.

    Such an error says nothing about the file or the peer that was to be opened.
    """
    if error.errno is None or error.errno not in {errno.EMFILE, errno.ENFILE}:
        return None
    return LocalStorageError(
        f"petal-s3 cannot open any more files ({os.strerror(error.errno)}): raise the limit of its"
        " process (ulimit -n, LimitNOFILE).",
        code=_NO_DESCRIPTORS,
        status=503,
    )


def check_descriptors(error: OSError) -> None:
    """Raise :class:`LocalStorageError` where :func:`no_descriptors` finds one."""
    found = no_descriptors(error)
    if found is not None:
        raise found from error


def cannot_write(said: str, error: OSError) -> LocalStorageError:
    """The error of a disk or a pipe that takes no more; ``said`` is its sentence."""
    full = error.errno in _FULL
    return LocalStorageError(said, code=None if full else "not_written")


def cannot_write_to(shown: str, error: OSError) -> S3IntegrationError:
    """The error to raise where the file ``shown``, which a person named, cannot be written.

    Where no file can be written at that place it is :class:`BadInput`, else the disk's fault.
    Raises :class:`LocalStorageError` itself when this process can open no more files.
    """
    check_descriptors(error)
    said = f"{shown} cannot be written ({error.strerror})."
    if error.errno in _NO_PLACE:
        return BadInput(said, code="bad_path")
    return cannot_write(said, error)


def remove(file: Path) -> None:
    """Remove a file; that it is not there, or cannot be removed, is no error; blocking."""
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
