"""A petal that measures how late the host's event loop is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action

_TICK_S = 0.005


class LagPetal(Petal):  # type: ignore[misc]
    """Sleeps 5 ms again and again, and keeps by how much each sleep was too long."""

    name = "lag"
    version = "1"

    def __init__(self) -> None:
        super().__init__()
        self._late_s: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def async_startup(self) -> None:
        """Begin to measure."""
        self._task = asyncio.create_task(self._measure())

    async def async_shutdown(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()

    async def _measure(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            self._late_s.append(time.perf_counter() - start - _TICK_S)

    @http_action("GET", "/late")
    async def late(self) -> dict[str, Any]:
        """Percentiles in milliseconds since the last call."""
        late, self._late_s = sorted(self._late_s), []
        if not late:
            return {"n": 0}
        pick = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
        at = {name: late[min(len(late) - 1, int(len(late) * part))] for name, part in pick.items()}
        return {"n": len(late), **{name: round(1000 * value, 2) for name, value in at.items()}}
