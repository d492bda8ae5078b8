"""Prepare the state directory, and lock it for the one process that drains the outbox."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

from petal_s3.core.files import SAFE_FLAGS, create_private
from petal_s3.errors import LocalStorageError
from petal_s3.outbox.forking import left_to_parent, no_fork

_FILES = ("outbox.db", "outbox.db-wal", "outbox.db-shm", "drain.lock")


def prepare(state_dir: Path) -> Path:
    """Create the state directory and its spool, readable by this user alone; blocking.

    Returns the spool. Raises :class:`LocalStorageError` when that cannot be done, and for a link
    or a directory of another user: a user who may change it decides what is sent. Root may use
    the directory of any user.
    """
    spool = state_dir / "spool"
    try:
        for directory in (state_dir, spool):
            if not directory.is_symlink():
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(directory, 0o700, stat.S_ISDIR)
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                _close_to_others(state_dir / name, 0o600, stat.S_ISREG)
        probe = state_dir / ".writable"
        create_private(probe).close()
        probe.unlink()
    except OSError as error:
        raise LocalStorageError(
            f"The state directory {state_dir} cannot be used ({error.strerror}): set "
            "PETAL_S3_STATE_DIR to a writable directory with free space."
        ) from error
    return spool


def _close_to_others(path: Path, mode: int, expected: Callable[[int], bool]) -> None:
    status = path.lstat()
    if not expected(status.st_mode):
        raise _not_ours(path, "is a link, or something else than expected")
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise _not_ours(path, f"belongs to another user, number {status.st_uid}")
    # By name: to open and close a file of SQLite would take away the locks that it holds.
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(mode)


def _not_ours(path: Path, what: str) -> LocalStorageError:
    return LocalStorageError(
        f"{path} {what}: it decides what is sent, so it must be this user's own, and in its place."
        " Put that right, or set PETAL_S3_STATE_DIR to another directory."
    )


class DrainLock:
    """The right to drain an outbox: one process holds it, and the kernel frees it at its end."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "drain.lock"
        self._fd: int | None = None
        left_to_parent(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def take(self) -> bool:
        """Try to take the lock without waiting; true when this object holds it now.

        Raises :class:`LocalStorageError` when the file of the lock cannot be opened.
        """
        with no_fork():
            return self._fd is not None or self._taken()

    def _taken(self) -> bool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | SAFE_FLAGS, 0o600)
        except OSError as error:
            raise LocalStorageError(
                f"The lock {self._path} cannot be taken ({error.strerror}): check free space and"
                " permissions."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True

    def lost(self) -> bool:
        """Whether the lock held here is no longer the file that other processes would lock."""
        if self._fd is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return True

    def give(self) -> None:
        """Release the lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            # A child that was made without a word to Python may hold a copy of it.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def in_child(self) -> None:
        """Close the child's copy: with it the lock would outlive the process that holds it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def holder(self) -> int | None:
        """The id of the process that drains now (0 if unknown); none when no process does."""
        if self._fd is not None:
            return os.getpid()
        with no_fork():  # a child would hold what is tried here
            return self._other_holder()

    def _other_holder(self) -> int | None:
        try:
            fd = os.open(self._path, os.O_RDONLY | SAFE_FLAGS)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(fd, 32, 0).strip()
            return int(text) if text.isdigit() else 0  # bytes: digits of ASCII alone
        finally:
            os.close(fd)
        return None
