"""Waiting for asyncio tasks, several at a time and to their end."""

from __future__ import annotations

import asyncio

import pytest

from petal_s3.core.tasks import (
    cancel_and_wait,
    cancelled_meanwhile,
    in_parallel,
    to_end,
)


async def test_items_are_taken_in_order_and_so_many_at_a_time() -> None:
    begun: list[int] = []
    running = most = 0

    async def take(item: int) -> None:
        nonlocal running, most
        begun.append(item)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await in_parallel(range(5), take, 2)

    assert (begun, most) == ([0, 1, 2, 3, 4], 2)


async def test_nothing_at_all_is_taken_of_nothing() -> None:
    async def take(_: int) -> None:
        raise AssertionError("there is no item")

    await in_parallel([], take, 3)


async def test_after_a_failure_nothing_new_begins_and_what_has_begun_ends() -> None:
    ended: list[int] = []
    go_on = asyncio.Event()

    async def take(item: int) -> None:
        if item == 1:
            go_on.set()
            raise ValueError("the first failure")
        await go_on.wait()
        await asyncio.sleep(0)
        ended.append(item)

    with pytest.raises(ValueError, match="the first failure"):
        await in_parallel(range(4), take, 2)

    assert ended == [0]


async def test_the_first_of_two_failures_is_raised() -> None:
    go_on = asyncio.Event()

    async def take(item: int) -> None:
        if item == 0:
            await go_on.wait()
            raise ValueError("second")
        go_on.set()
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await in_parallel(range(2), take, 2)


async def test_a_cancelled_caller_leaves_nothing_running() -> None:
    ended: list[int] = []

    async def take(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    work = asyncio.ensure_future(in_parallel(range(4), take, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancel_and_wait(work)

    assert work.cancelled()
    assert sorted(ended) == [0, 1]


async def test_work_that_has_to_end_ends_before_its_caller() -> None:
    told: list[str] = []
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        told.append("work")

    async def caller() -> None:
        try:
            await to_end(work())
        finally:
            told.append("caller")

    calling = asyncio.ensure_future(caller())
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert told == ["work", "caller"]


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_cancellation_is_told_when_the_work_has_ended(cancel: bool) -> None:
    go_on = asyncio.Event()
    work = asyncio.ensure_future(go_on.wait())
    waiting = asyncio.ensure_future(cancelled_meanwhile(work))
    await asyncio.sleep(0)
    if cancel:
        waiting.cancel()
    await asyncio.sleep(0)
    go_on.set()

    assert await waiting is cancel
    assert work.done()
