"""A bad link for code without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from petal_s3.core.loop_thread import LoopThread

from .chaos import Chaos

T = TypeVar("T")


class ChaosThread:
    """A `Chaos` in a thread of its own; a context manager."""

    def __init__(self, target: str, **options: Any) -> None:
        self.chaos = Chaos(target, **options)
        self._thread = LoopThread("chaos")

    @property
    def url(self) -> str:
        return self.chaos.url

    def tell(self, verb: Callable[[Chaos], T]) -> T:
        """Use a verb in the proxy's own thread, as ``tell(Chaos.cut)``; returns when done."""

        async def told() -> T:
            return verb(self.chaos)

        return self._thread.run(told())

    def __enter__(self) -> ChaosThread:
        self._thread.run(self.chaos.start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.run(self.chaos.stop())
        self._thread.close()
