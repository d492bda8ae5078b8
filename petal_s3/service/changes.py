"""Pass on that something has changed, from the parts that change it to those that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from petal_s3.outbox.rows import Row


class Changes:
    """One place for the drain to call; subscribers are called in the order they came."""

    def __init__(self) -> None:
        self.on_changed: list[Callable[[], Awaitable[None]]] = []
        """Called when a row or the state of the drain has changed."""
        self.on_settled: list[Callable[[Row], Awaitable[None]]] = []
        """Called with each row that was settled."""
        self._event = asyncio.Event()

    async def changed(self) -> None:
        """A row or the state of the drain has changed."""
        self._event.set()
        for call in self.on_changed:
            await call()

    async def settled(self, row: Row) -> None:
        """A row was settled."""
        for call in self.on_settled:
            await call(row)
        self._event.set()

    def clear(self) -> None:
        """From now on :meth:`wait` waits for a new change."""
        self._event.clear()

    async def next(self, at_most_s: float) -> None:
        """Wait until something has changed since the last call, or for so many seconds."""
        await self.wait(at_most_s)
        self.clear()

    async def wait(self, at_most_s: float) -> None:
        """Wait until something changes, or for so many seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._event.wait(), at_most_s)
