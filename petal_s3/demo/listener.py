"""A port that can listen, refuse, or lose what knocks, and stays the same throughout."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

_BACKLOG = 512
_SEGMENT_BYTES = 1460
_SMALL_BYTES = 64 * 1024


class Listener:
    """Nothing is accepted until ``listen``."""

    def __init__(self, host: str, port: int, buffer_bytes: int) -> None:
        self.host = host
        self.port = port
        self._buffer_bytes = buffer_bytes
        self._claim: socket.socket | None = None
        self._open: list[socket.socket] = []

    def take_port(self) -> None:
        """Bind without listening: a closed listener keeps its port."""
        self._claim = self._bound()
        self.port = self._claim.getsockname()[1]

    def give_port(self) -> None:
        self.shut()
        if self._claim is not None:
            self._claim.close()

    def listen(self, arrived: Callable[[socket.socket, socket.socket], None]) -> None:
        """Accept; ``arrived`` gets the connection and an unconnected socket to go with it."""
        self.shut()
        listener = self._bound()
        listener.listen(_BACKLOG)
        self._open = [listener]
        asyncio.get_running_loop().add_reader(listener, self._accept, listener, arrived)

    def lose(self) -> None:
        """Let every SYN be lost: neither accepted nor refused (Linux)."""
        self.shut()
        mute = self._bound()
        mute.listen(0)
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(mute.getsockname())  # it takes the only place in the queue
        self._open = [mute, filler]

    def shut(self) -> None:
        """Refuse."""
        for sock in self._open:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._open = []

    def _bound(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._shorten(made)
        # Set before it listens, so that what it accepts begins with a small window.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        made.bind((self.host, self.port))
        made.setblocking(False)
        return made

    def _shorten(self, sock: socket.socket) -> None:
        """Segments as on a real link; those of loopback are larger than a small window."""
        if self._buffer_bytes <= _SMALL_BYTES:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)

    def _accept(
        self,
        listener: socket.socket,
        arrived: Callable[[socket.socket, socket.socket], None],
    ) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _ = listener.accept()
            onward = socket.socket()
            self._shorten(onward)
            onward.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
            for side in (client, onward):
                side.setblocking(False)
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrived(client, onward)
