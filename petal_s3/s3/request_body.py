"""Request bodies read from files: a part of a file, and how far it has come."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import struct
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import SourceChanged
from petal_s3.s3 import checksums
from petal_s3.s3.checksums import Digest
from petal_s3.s3.rate_limit import RateLimit
from petal_s3.s3.tcp import acknowledged, unsent

BLOCK_BYTES = 512 * 1024
"""Handed to a connection at once, at most."""
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ByteCounter:
    """Counts the bytes of bodies that were sent; those that are sent again are not counted."""

    def __init__(self) -> None:
        self.total = 0
        """Handed to the network."""
        self.acknowledged = 0
        """Of these, acknowledged by the peer of the connection."""
        self.moved_at = float("-inf")
        """When that became more."""

    def add(self, size: int) -> None:
        """Count ``size`` bytes more that were handed to the network."""
        self.total += size

    def acknowledge(self, size: int, at: float) -> None:
        """Count ``size`` bytes more that the peer has acknowledged ``at`` this time."""
        self.acknowledged += size
        self.moved_at = at


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
        self.limit = limit or RateLimit(0)
        self._counter = counter
        self._acked_before: int | None = None
        """What the connection will have had acknowledged when this body's turn comes."""

    def with_md5(self) -> Digest:
        """Its digest with the md5; blocking. Raises :class:`SourceChanged` for other bytes."""
        whole = checksums.digest(self._fd, self._offset, self.size)
        if whole.crc32 != self.digest.crc32:
            raise SourceChanged("The file changed while it was sent.")
        return whole

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
        read = os.preadv(self._fd, [view], self._offset + self.position)
        if read == 0:
            raise SourceChanged("The file became shorter while it was sent.")
        return self._moved(read)

    def read_at_hand(self, buffer: WriteableBuffer) -> int:
        """Read on what lies in memory; 0 where a disk would have to be waited for."""
        view = memoryview(buffer)[: max(0, self.size - self.position)]
        return self._moved(self._peek(view, self.position))

    def hand_over(self, connection: int) -> int:
        """Have the kernel send on what lies in memory, uncopied; 0 where it takes nothing now.

        ``connection``: the descriptor of a socket without TLS, on which nothing else waits.
        """
        size = min(BLOCK_BYTES, self.size - self.position)
        byte = memoryview(bytearray(1))
        at_hand = self._peek(byte, self.position) and self._peek(byte, self.position + size - 1)
        if not at_hand:
            return 0
        try:
            return self._moved(
                os.sendfile(connection, self._fd, self._offset + self.position, size)
            )
        except OSError:
            return 0  # it is full; or broken, as the next write will be told

    def _peek(self, view: memoryview, position: int) -> int:
        """Read what lies in memory; 0 where it does not, or cannot be read (a thread hears why)."""
        if _NO_WAIT is None:
            return 0
        try:
            return os.preadv(self._fd, [view], self._offset + position, _NO_WAIT)
        except OSError:
            return 0

    def _moved(self, read: int) -> int:
        if not read:
            return 0
        self.position += read
        self.moved_at = self.now()
        if self.position > self.farthest:
            if self._counter is not None:
                self._counter.add(self.position - self.farthest)
            self.farthest = self.position
        return read

    def waiting(self) -> int:
        """Bytes that this machine has not sent yet, of all that were handed to the connection."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return 0
        kernel = unsent(transport.get_extra_info("socket"))
        return int(transport.get_write_buffer_size()) + kernel

    def unacknowledged(self) -> int | None:
        """Bytes handed to the connection that its peer has not acknowledged; none when unknown."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return None
        acked = acknowledged(transport.get_extra_info("socket"))
        if acked is not None and self._acked_before is not None:
            return max(0, self.written() - (acked - self._acked_before))
        return _underway(transport)

    def leaves_by(self, transport: asyncio.WriteTransport | None) -> None:
        """It is sent over this connection from now on."""
        self.transport, self._acked_before = transport, None
        if transport is not None:
            acked = acknowledged(transport.get_extra_info("socket"))
            underway = _underway(transport)
            if acked is not None and underway is not None:
                self._acked_before = acked + underway

    def look(self, *, answered: bool = False) -> int:
        """How many bytes the peer has acknowledged now; all of them once it has ``answered``.

        What lies in buffers of this machine is not on its way yet: a slow link takes minutes for
        it. Where the connection does not tell, it is as far as it was.
        """
        left = None if answered else self.unacknowledged()
        reached = self.size if answered else 0 if left is None else self.written() - left
        if reached > self.acknowledged:
            if self._counter is not None:
                self._counter.acknowledge(reached - self.acknowledged, self.now())
            self.acknowledged = reached
        return self.acknowledged


def _underway(transport: asyncio.WriteTransport) -> int | None:
    """Bytes in the buffers of a connection, and those sent that its peer has not acknowledged.

    None where the kernel does not tell. Over TLS the buffer below it is not seen.
    """
    try:
        socket = transport.get_extra_info("socket").fileno()
        told = fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError):
        return None
    return int(transport.get_write_buffer_size()) + int(struct.unpack("i", told)[0])
