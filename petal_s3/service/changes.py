"""Pass on that something has changed, from the parts that change it to those that wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from petal_s3.outbox.rows import Row

_REMEMBERED = 256


class Changes:
    """One place for the drain to call; subscribers are called in the order they came."""

    def __init__(self) -> None:
        self.on_changed: list[Callable[[], Awaitable[None]]] = []
        """Called when a row or the state of the drain has changed."""
        self.on_settled: list[Callable[[Row], Awaitable[None]]] = []
        """Called with each row that was settled."""
        self.settled_lately: deque[int] = deque(maxlen=_REMEMBERED)
        """The ids of rows that were settled last."""
        self._new = False
        self._waiting: set[asyncio.Future[None]] = set()

    async def changed(self) -> None:
        """A row or the state of the drain has changed."""
        self._tell()
        for call in self.on_changed:
            await call()

    async def settled(self, row: Row) -> None:
        """A row was settled."""
        for call in self.on_settled:
            await call(row)
        self.settled_lately.append(row.id)
        self._tell()

    def _tell(self) -> None:
        self._new = True
        for one in self._waiting:
            _end(one)

    def clear(self) -> None:
        """From now on :meth:`wait` waits for a new change."""
        self._new = False

    async def next(self, at_most_s: float) -> None:
        """Wait until something has changed since the last call, or for so many seconds."""
        await self.wait(at_most_s)
        self.clear()

    async def wait(self, at_most_s: float) -> None:
        """Wait until something changes, or for so many seconds."""
        if self._new:
            return
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        self._waiting.add(told)
        timer = loop.call_later(at_most_s, _end, told)
        try:
            await told
        finally:
            timer.cancel()
            self._waiting.discard(told)


def _end(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
