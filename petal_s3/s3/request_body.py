"""Request bodies read from files: a part of a file, its speed limit, and how far it has come."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import struct
import termios
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import SourceChanged
from petal_s3.s3.checksums import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RateLimit:
    """Share a number of bytes per second among threads; 0 is no limit."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def max_read(self) -> int | None:
        """Bytes to ask for at once: more would be a long wait, which looks like a stall."""
        return max(1, int(self.bytes_per_s / 4)) if self.bytes_per_s else None

    def wait(self, size: int) -> None:
        """Block this thread until ``size`` more bytes may leave."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + size / self.bytes_per_s
        time.sleep(max(0.0, start - now))


class ByteCounter:
    """Counts the bytes of bodies that were sent; those that are sent again are not counted."""

    def __init__(self) -> None:
        self.total = 0
        """Handed to the network."""
        self.acknowledged = 0
        """Of these, acknowledged by the peer of the connection."""

    def add(self, size: int) -> None:
        """Count ``size`` bytes more that were handed to the network."""
        self.total += size

    def acknowledge(self, size: int) -> None:
        """Count ``size`` bytes more that the peer has acknowledged."""
        self.acknowledged += size


class FilePart(io.RawIOBase):
    """A part of an open file as a request body; remembers how far it was read, and when.

    ``digest``: of its bytes, as they were read before.
    """

    def __init__(
        self,
        fd: int,
        offset: int,
        digest: Digest,
        *,
        limit: RateLimit | None = None,
        counter: ByteCounter | None = None,
        now: Clock = clock.now,
    ) -> None:
        super().__init__()
        self.digest = digest
        self.size = digest.size
        self.position = 0
        self.farthest = 0
        self.acknowledged = 0
        """How far the peer has it, as of the last look; never less than before."""
        self.moved_at = now()
        self.transport: asyncio.WriteTransport | None = None  # once it is being sent
        self.written: Callable[[], int] = lambda: self.position
        """How many bytes were handed to the connection; the last ones read may not be yet."""
        self.now = now
        self._fd = fd
        self._offset = offset
        self._limit = limit
        self._counter = counter

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: botocore rewinds to 0."""
        return True

    def tell(self) -> int:
        """Position within the part."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move within the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on; raises :class:`SourceChanged` where the file ends early."""
        view = memoryview(buffer)[: max(0, self.size - self.position)]
        if not view:
            return 0
        if self._limit is not None:
            view = view[: self._limit.max_read]
            self._limit.wait(len(view))
        read = os.preadv(self._fd, [view], self._offset + self.position)
        if read == 0:
            raise SourceChanged("The file became shorter while it was sent.")
        self.position += read
        self.moved_at = self.now()
        if self.position > self.farthest:
            if self._counter is not None:
                self._counter.add(self.position - self.farthest)
            self.farthest = self.position
        return read

    def unacknowledged(self) -> int | None:
        """Bytes handed to the connection that its peer has not acknowledged; none when unknown."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return None
        connection = transport.get_extra_info("socket")
        try:
            told = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except (AttributeError, OSError):
            return None
        return int(transport.get_write_buffer_size()) + int(struct.unpack("i", told)[0])

    def look(self, *, answered: bool = False) -> int:
        """How many bytes the peer has acknowledged now; all of them once it has ``answered``.

        What lies in buffers of this machine is not on its way yet: a slow link takes minutes for
        it. Where the connection does not tell, it is as far as it was.
        """
        left = None if answered else self.unacknowledged()
        reached = self.size if answered else 0 if left is None else self.written() - left
        if reached > self.acknowledged:
            if self._counter is not None:
                self._counter.acknowledge(reached - self.acknowledged)
            self.acknowledged = reached
        return self.acknowledged
