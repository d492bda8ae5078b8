"""How many connections the stand-alone server holds, and how many of them may be slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web

from petal_s3.errors import Throttled

Connection = web.RequestHandler

MOST_CONNECTIONS = 200
HEAD_S = 15.0  # for the head of a first request


class Gate:
    """Limits connections: to a number, and to a time in which the first request must come.

    A new one takes the place of the oldest that asks nothing now. Where all are being answered,
    it is the new one that is closed.
    """

    def __init__(
        self, server: web.Server, *, most: int = MOST_CONNECTIONS, head_s: float = HEAD_S
    ) -> None:
        self._server = server
        self._most = most
        self._head_s = head_s
        self._silent: dict[Connection, asyncio.TimerHandle] = {}
        self._resting: set[Connection] = set()

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        loop, protocol = asyncio.get_running_loop(), self._server()
        self._silent[protocol] = loop.call_later(self._head_s, self._close, protocol)
        loop.call_later(0, self._make_room)  # once it is connected
        return protocol

    def spoke(self, protocol: Connection) -> None:
        """A request of it has come whole."""
        self._resting.discard(protocol)
        waited = self._silent.pop(protocol, None)
        if waited is not None:
            waited.cancel()

    def rests(self, protocol: Connection) -> None:
        """What it asked is answered; aiohttp closes it when it asks nothing more for long."""
        self._resting.add(protocol)

    @property
    def watched(self) -> int:
        """How many connections are silent or at rest."""
        return len(self._silent) + len(self._resting)

    def _make_room(self) -> None:
        here = [one for one in self._server.connections if is_open(one)]
        self._resting.intersection_update(here)
        surplus = len(here) - self._most
        if surplus > 0:
            idle = [one for one in here if one in self._silent or one in self._resting]
            for protocol in idle[:surplus]:
                self._close(protocol)

    def _close(self, protocol: Connection) -> None:
        self.spoke(protocol)
        if protocol.transport is not None and is_open(protocol):
            protocol.transport.abort()


def is_open(protocol: Connection) -> bool:
    """Whether a connection is neither closed nor being closed."""
    return protocol.transport is not None and not protocol.transport.is_closing()


class Bodies:
    """Counts requests with a body: a slow one holds its connection for as long as it likes.

    A third of ``most`` connections is for forms (uploads, which may also wait for their proof), an
    eighth for other bodies. The rest is left to calls that are short.
    """

    def __init__(self, most: int) -> None:
        self._most = {True: max(1, most // 3), False: max(1, most // 8)}
        self._taken = {True: 0, False: 0}

    @contextlib.contextmanager
    def one(self, *, form: bool) -> Iterator[None]:
        """Count one while the block runs; raises :class:`Throttled` where there are too many."""
        if self._taken[form] >= self._most[form]:
            what = "uploads" if form else "requests with a body"
            raise Throttled(
                f"{self._most[form]} {what} are under way already: try again when one has ended.",
                code="too_many",
                retry_after_s=1,
            )
        self._taken[form] += 1
        try:
            yield
        finally:
            self._taken[form] -= 1
