"""Tell whether a program still writes to a file: by a lock file beside it, or by the kernel."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from petal_s3.core.files import SAFE_FLAGS, check_descriptors

_WRITING = os.O_WRONLY | os.O_RDWR
SET_LEASE: int | None = getattr(fcntl, "F_SETLEASE", None)
_SET_OWNER = 15  # F_SETOWN_EX of fcntl(2), which Python does not name
_OWNER_IS_THREAD = 0  # F_OWNER_TID


def locked(path: str) -> bool:
    """Whether a recorder's ``.lock`` file lies beside the file at ``path``; blocking."""
    return os.path.lexists(f"{path}.lock") or os.path.lexists(os.path.splitext(path)[0] + ".lock")  # noqa: PTH122


def open_for_writing(paths: Iterable[str]) -> set[str]:
    """Which of ``paths`` some process has open for writing; blocking.

    The kernel is asked for a read lease on each, which it refuses where anyone has the file open
    for writing. Where it gives none (a file of another user, a file system without leases), /proc
    is read as fuser does: it sees processes of the same user, or all as root.
    Raises :class:`LocalStorageError` when this process can open no more files.
    """
    wanted = {os.path.realpath(path): path for path in paths}
    if not wanted:
        return set()
    told = {real: _told(real) for real in wanted}
    writing = {real for real, written in told.items() if written}
    writing |= _seen_in_proc({real for real, written in told.items() if written is None})
    return {wanted[real] for real in writing}


def _told(path: str) -> bool | None:
    """Whether some process has the file open for writing; none where the kernel does not tell."""
    if SET_LEASE is None:
        return None
    with _breaks_kept_to_this_thread():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | SAFE_FLAGS)
        except OSError as error:
            check_descriptors(error)
            return None
        try:
            owner = struct.pack("ii", _OWNER_IS_THREAD, threading.get_native_id())
            fcntl.fcntl(fd, _SET_OWNER, owner)
            fcntl.fcntl(fd, SET_LEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, SET_LEASE, fcntl.F_UNLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        finally:
            os.close(fd)
        return False


@contextlib.contextmanager
def _breaks_kept_to_this_thread() -> Iterator[None]:
    """Whoever opens a leased file for writing has the kernel send SIGIO, which ends a process that
    does not expect it: here it goes to this thread alone, which blocks it and takes it back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    try:
        yield
    finally:
        if signal.SIGIO not in before:
            while signal.SIGIO in signal.sigpending():
                signal.sigtimedwait({signal.SIGIO}, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _seen_in_proc(wanted: Collection[str]) -> set[str]:
    writing: set[str] = set()
    if not wanted:
        return writing
    for process in filter(str.isdigit, names_in("/proc")):
        for descriptor in names_in(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")  # noqa: PTH115
                if target in wanted and _writes(Path(f"/proc/{process}/fdinfo/{descriptor}")):
                    writing.add(target)
    return writing


def names_in(directory: str) -> list[str]:
    """The names in a directory of ``/proc``; none where it is gone or not ours; blocking."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - thousands of names, four times a second
    except OSError as error:
        check_descriptors(error)
        return []


def _writes(fdinfo: Path) -> bool:
    try:
        text = fdinfo.read_text()
    except OSError as error:
        check_descriptors(error)
        raise
    for line in text.splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & _WRITING)
    return False
