"""What happens in directories, told by Linux: inotify(7), through the C library.

Nothing is polled: the descriptor becomes readable when something has happened.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

MODIFIED, ATTRIBUTES, CLOSED = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATED, DELETED = 0x40, 0x80, 0x100, 0x200
SELF_DELETED, SELF_MOVED, UNMOUNTED = 0x400, 0x800, 0x2000
OVERFLOWED, FORGOTTEN, IS_FOLDER = 0x4000, 0x8000, 0x4000_0000

COMES = CREATED | MOVED_TO
GOES = DELETED | MOVED_FROM
CHANGES = MODIFIED | ATTRIBUTES | CLOSED
ENDS = SELF_DELETED | SELF_MOVED | UNMOUNTED | FORGOTTEN
"""The watch is of no use any more, or its path leads elsewhere."""

_FOLDERS_ONLY, _ADD = 0x0100_0000, 0x2000_0000
_HEAD = struct.Struct("iIII")
_MOST_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What happened to ``name`` in the folder of a watch, as bits; empty: to the folder itself."""

    watch: int
    what: int
    name: str


class Inotify:
    """One descriptor with its watches; to be closed."""

    def __init__(self) -> None:
        """Raises ``OSError`` where this user can have no more of them, or there are none."""
        if not hasattr(_libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def watch(self, folder: str, what: int) -> int:
        """Be told of ``what`` in a folder besides what is told of it already; blocking.

        Returns the number of the watch, the same for each path of one folder. Raises ``OSError``.
        """
        mask = what | SELF_DELETED | SELF_MOVED | _FOLDERS_ONLY | _ADD
        return _checked(_libc.inotify_add_watch(self.fd, os.fsencode(folder), mask), folder)

    def read(self) -> Iterator[Event]:
        """What has happened since the last call; nothing where nothing has. Raises ``OSError``."""
        try:
            while data := os.read(self.fd, _MOST_BYTES):
                yield from _events(data)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Forget all watches; safe to call twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        watch, what, _, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = data[at : at + size].rstrip(b"\0")
        yield Event(watch, what, os.fsdecode(name))
        at += size


def _checked(answer: int, path: str | None = None) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return answer
