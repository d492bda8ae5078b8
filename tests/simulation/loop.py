"""An event loop whose hours pass at once: time jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

Delay = Callable[[], float]

_TICK_S = 1e-6
_SLEEP_S = 1e-3  # less is no sleep, but an answer of a thread


class Stuck(Exception):
    """Everything waits for something that will never happen."""


class _Jump(selectors.SelectSelector):
    """Waits for nothing real: where the loop would sleep, its time moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0
        self.sleeps = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is due, and nobody works")
        self.passed_s += max(0.0, timeout)
        self.sleeps += timeout > _SLEEP_S
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: one thread, one order of events. What is given to executors runs at once,
    in the order of the calls; its result comes after ``delay()`` seconds of the loop's time."""

    def __init__(self, delay: Delay = lambda: 0.0) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._delay = delay
        self.asked = 0
        """How often threads were given work."""
        self.dead = False
        """The process is killed: what it still asks of its threads is not done."""

    @property
    def sleeps(self) -> int:
        """How often it slept: that often it was woken."""
        return self._jump.sleeps

    def time(self) -> float:
        return self._jump.passed_s

    def call_at(self, when: float, callback: Any, *args: Any, **more: Any) -> asyncio.TimerHandle:
        """As ever, but never at this very moment: who waits for less than a float can tell from
        now would wait for ever."""
        return super().call_at(max(when, self.time() + _TICK_S), callback, *args, **more)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()
        if self.dead:
            future.cancel()
            return future
        self.asked += 1
        try:
            tell, found = future.set_result, func(*args)
        except BaseException as error:  # noqa: BLE001 - the waiting task gets it
            tell, found = future.set_exception, error  # type: ignore[assignment]
        self.call_later(self._delay(), _settle, future, tell, found)
        return future


def _settle(future: asyncio.Future[Any], tell: Callable[[Any], None], found: Any) -> None:
    if not future.done():
        tell(found)
