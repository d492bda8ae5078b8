"""Run blocking work on threads, and await it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in(
    executor: Executor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call ``work`` on a thread of ``executor``; returns what it returns, raises what it raises.

    None: asyncio's own threads. A caller that is cancelled stops waiting; work that has begun
    goes on to its end.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, partial(work, *args, **kwargs))
