"""An event loop whose clock jumps to the next thing that is due: nothing really waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Does not wait for the timeout, but tells of it."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: Callable[[float], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing will ever happen")
        if timeout > 0:
            self.passed(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its ``time()`` is virtual; threads and sockets have none in it."""

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        self._virtual = 1000.0
        selector.passed = self._pass

    def time(self) -> float:
        return getattr(self, "_virtual", 0.0)

    def _pass(self, seconds: float) -> None:
        self._virtual += seconds


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` to its end; raises what it raises."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()
