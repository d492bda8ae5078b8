"""A limit of our own on what leaves: bytes per second, evenly, however many bodies share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from petal_s3.core.clock import Clock

_AT_ONCE_S = 0.0125
_LEAST_AT_ONCE = 512  # bytes; below that headers would be most of what travels
_CAUGHT_UP_S = 0.02

Backlog = Callable[[], int]
"""How many bytes wait in buffers of this machine: they would leave together with the next ones."""


def _none() -> int:
    return 0


class RateLimit:
    """Share a number of bytes per second among the tasks of a loop; 0 is no limit.

    What leaves in any stretch of time is at most the rate times that stretch and 20 ms more, and
    one piece of 12.5 ms: a link that others use sees no bursts, and a process that runs late by
    up to 20 ms keeps to the rate all the same. ``now``: any steady clock, in seconds.
    """

    def __init__(self, bytes_per_s: float, *, now: Clock = time.monotonic) -> None:
        self.bytes_per_s = bytes_per_s
        self._now = now
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    @property
    def max_read(self) -> int | None:
        """Bytes to ask for at once, so that they leave evenly; none without a limit."""
        return self._most_waiting if self.bytes_per_s else None

    @property
    def _most_waiting(self) -> int:
        return max(_LEAST_AT_ONCE, int(self.bytes_per_s * _AT_ONCE_S))

    def take(self, size: int) -> float:
        """Let ``size`` bytes leave now, and return 0; else how many seconds to wait before asking
        again.

        Nothing is promised ahead: whoever wakes late does not leave together with the next.
        """
        if not self.bytes_per_s:
            return 0.0
        now = self._now()
        if self._free_at > now:
            return self._free_at - now
        self._free_at = max(self._free_at, now - _CAUGHT_UP_S) + size / self.bytes_per_s
        return 0.0

    async def pause(self, size: int, backlog: Backlog = _none) -> None:
        """Wait until the ``backlog`` has left and ``size`` more may, in the order of asking."""
        if self.bytes_per_s:
            while backlog() > self._most_waiting:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(_AT_ONCE_S)
            async with self._turn:
                while (wait_s := self.take(size)) > 0:  # noqa: ASYNC110 - time alone ends it
                    await asyncio.sleep(wait_s)
