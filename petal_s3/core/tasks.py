"""Wait for the end of asyncio tasks, also when the one that waits is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar, cast

_CANCEL_AGAIN_S = 2.0

T = TypeVar("T")


async def cancel_and_wait(*tasks: asyncio.Future[T]) -> None:
    """Cancel tasks and wait for their end, whatever it is.

    Asked more than once: before Python 3.12 ``asyncio.wait_for`` loses a cancellation that
    comes together with its answer.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def any_of(*events: asyncio.Event, within_s: float) -> None:
    """Wait until one of the events is set, at most ``within_s``."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*waits)


async def to_end(work: Coroutine[object, object, T]) -> T:
    """Await ``work``; a caller that is cancelled meanwhile goes on only when it has ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


async def cancelled_meanwhile(work: asyncio.Future[T]) -> bool:
    """Let ``work`` end, and say whether its caller was cancelled while it went on.

    Where it failed and its caller was cancelled, :class:`asyncio.CancelledError` is raised.
    """
    given_up = False
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            given_up = True
    if given_up and work.exception() is not None:
        raise asyncio.CancelledError
    return given_up


async def in_parallel(
    items: Iterable[int], take: Callable[[int], Coroutine[object, object, None]], workers: int
) -> None:
    """Take one item after the other, ``workers`` at a time; none is left running.

    After a failure no further item is taken, but what has begun goes on to its end; then the
    first failure is raised.
    """
    order = deque(items)
    failed: list[asyncio.Task[None] | None] = []

    async def work() -> None:
        while order and not failed:
            item, done = order.popleft(), False
            try:
                await take(item)
                done = True
            finally:
                if not done:
                    failed.append(asyncio.current_task())

    tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    try:
        await asyncio.wait(tasks)
    finally:
        await cancel_and_wait(*tasks)
    for task in failed:
        if task is not None:
            await task


def driven(work: Coroutine[object, object, T]) -> T:
    """What ``work`` returns, which waits for nothing: no loop is needed, so that any thread can.

    Raises what it raises, and ``RuntimeError`` where it waits after all.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise RuntimeError("A coroutine that was to wait for nothing waits.")
