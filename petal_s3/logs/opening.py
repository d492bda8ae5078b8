"""Open a log file safely, and know which file was opened, and in which state."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from petal_s3.core.files import check_descriptors
from petal_s3.errors import S3FileNotFoundError, S3IntegrationError, SourceAway
from petal_s3.logs.sniff import check_text, refused, shown_name

NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


class Identity(NamedTuple):
    """Which file this was, and in which state: device, inode, bytes, mtime in nanoseconds."""

    dev: int
    ino: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Take it from ``os.stat`` or ``os.fstat``; a time beyond 2262 is no 64-bit number."""
        mtime_ns = status.st_mtime_ns
        if not -(1 << 63) <= mtime_ns < 1 << 63:
            mtime_ns = min(max(mtime_ns, -(1 << 63)), (1 << 63) - 1)
        return cls(status.st_dev, status.st_ino, status.st_size, mtime_ns)


def was_deleted(path: Path, device: int) -> bool:
    """Whether a file that lay on ``device`` was deleted, not merely unmounted; blocking.

    The nearest directory that exists lies on the file's own device when the file was deleted,
    and on another one when a card or disk is away.
    """
    for place in (path, *path.parents):
        try:
            found = os.lstat(place) if place == path else os.stat(place)  # noqa: PTH116
        except OSError as error:
            if error.errno not in NO_SUCH_FILE:
                return False
            continue
        return place != path and found.st_dev == device
    return False


def open_log(path: Path, *, real: bool = False) -> int:
    """Open a regular file for reading and give its descriptor, which the caller closes.

    Never follows a link in the last component, never blocks, never opens a device. With ``real``
    the opened file must lie at ``path`` itself: no link in a folder may lead away from it.
    Raises ``NotAFlightLog`` (``bad_path``, ``bad_name``, ``not_allowed``, ``not_regular``,
    ``unreadable``), ``S3FileNotFoundError``, ``SourceAway`` when the disk does not answer, or
    ``LocalStorageError`` when this process can open no more files.
    """
    shown = shown_name(path.name)
    check_text(str(path), shown)
    try:
        check_regular(path.lstat().st_mode, shown)
        fd = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            # It was a file a moment ago: a link was put in its place.
            check_regular(stat.S_IFLNK, shown)
        raise os_refusal(error, shown) from error
    try:
        check_regular(os.fstat(fd).st_mode, shown)
        if real:
            _check_real(fd, path, shown)
    except (OSError, S3IntegrationError) as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise os_refusal(error, shown) from error
        raise
    return fd


def check_regular(mode: int, shown: str) -> None:
    """Raise ``NotAFlightLog`` unless ``mode`` is that of a regular file."""
    if stat.S_ISLNK(mode):
        raise refused("not_allowed", f"{shown} is a symbolic link: name the file itself.")
    if not stat.S_ISREG(mode):
        raise refused("not_regular", f"{shown} is not a regular file.")


def os_refusal(error: OSError, shown: str) -> S3IntegrationError:
    """The error to raise where the file ``shown`` cannot be opened or read.

    Raises :class:`LocalStorageError` itself when this process can open no more files.
    """
    check_descriptors(error)
    if error.errno in NO_SUCH_FILE:
        return S3FileNotFoundError(f"{shown} does not exist.")
    if error.errno == errno.ENAMETOOLONG:
        return refused("bad_name", f"The file name {shown} or its path is too long: shorten it.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return refused("unreadable", f"{shown} cannot be read: permission denied.")
    if error.errno == errno.ENXIO:
        return refused("not_regular", f"{shown} is not a regular file.")
    return SourceAway(f"{shown} cannot be read now: check that its disk or card is mounted.")


def _check_real(fd: int, path: Path, shown: str) -> None:
    if _path_of(fd, path) in {str(path), f"{path} (deleted)"}:
        return
    if os.path.realpath(path.parent) != str(path.parent):
        raise refused("not_allowed", f"{shown} lies behind a link in place of one of its folders.")
    # /proc may spell the name otherwise where upper and lower case are one.
    if not os.path.samestat(path.lstat(), os.fstat(fd)):
        raise S3FileNotFoundError(f"{shown} does not exist any more.")


def _path_of(fd: int, path: Path) -> str:
    """Where the opened file really lies, whatever happened to the names since; "" if unknown."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - the raw text, no Path
    except OSError:
        real = os.path.realpath(path)
        same = os.path.samestat(os.lstat(real), os.fstat(fd))
        return real if same else ""
