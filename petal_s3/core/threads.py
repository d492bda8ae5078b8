"""Run what blocks on a thread, and await it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def on_thread(
    threads: Executor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``work`` on one of ``threads`` and return what it returns; none: asyncio's own threads.

    What has started goes on to its end when the caller is cancelled.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, partial(work, *args, **kwargs))
