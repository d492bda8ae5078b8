"""What a bad link does over and over, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def alive_and_dead(
    revive: Callable[[], object], alive_s: float, kill: Callable[[], object], dead_s: float
) -> None:
    """Alive for so many seconds, then dead for so many."""
    while True:
        revive()
        await asyncio.sleep(alive_s)
        kill()
        await asyncio.sleep(dead_s)


async def in_turn(
    turns: Sequence[tuple[T, float]], begin: Callable[[T], object], end: Callable[[], object]
) -> None:
    """Each of ``turns`` for its seconds; ``end`` is called before the next begins."""
    while True:
        for one, seconds in turns:
            begin(one)
            await asyncio.sleep(seconds)
            end()
