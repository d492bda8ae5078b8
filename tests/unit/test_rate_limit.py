"""A limit of our own: what leaves in any tenth of a second, whoever shares it, however late."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from petal_s3.s3.rate_limit import RateLimit

RATE = 500_000


def most_in(window_s: float, left: list[tuple[float, int]]) -> int:
    """The most bytes that left within any such time."""
    return max(
        sum(size for at, size in left if begin <= at < begin + window_s) for begin, _ in left
    )


def simulated(
    bodies: int, *, for_s: float, late_s: float = 0.0, busy_s: float = 0.0
) -> list[tuple[float, int]]:
    """When how much left, for so many bodies that ask in turn; each wakes up to ``late_s`` late.

    ``busy_s``: once a second nothing runs for so long.
    """
    clock, left, dice = [0.0], [], random.Random(bodies)
    limit = RateLimit(RATE, now=lambda: clock[0])
    size = limit.max_read
    assert size is not None
    wakes = dict.fromkeys(range(bodies), 0.0)
    while clock[0] < for_s:
        body = min(wakes, key=lambda one: wakes[one])
        clock[0] = max(clock[0], wakes[body])
        if busy_s and int(clock[0]) != int(clock[0] + busy_s):
            clock[0] += busy_s
        wait_s = limit.take(size)
        if not wait_s:
            left.append((clock[0], size))
        wakes[body] = clock[0] + wait_s + (dice.uniform(0, late_s) if wait_s else 0.0)
    return left


@pytest.mark.parametrize("bodies", [1, 2, 8])
@pytest.mark.parametrize("late_s", [0.0, 0.01])
def test_no_tenth_of_a_second_carries_much_more_than_its_share(bodies: int, late_s: float) -> None:
    left = simulated(bodies, for_s=20.0, late_s=late_s)

    assert most_in(0.1, left) <= 1.35 * RATE * 0.1


@pytest.mark.parametrize("bodies", [1, 2, 8])
def test_the_mean_is_the_limit_though_each_wakes_late(bodies: int) -> None:
    left = simulated(bodies, for_s=20.0, late_s=0.01)

    assert sum(size for _, size in left) == pytest.approx(20.0 * RATE, rel=0.01)


def test_a_process_that_stood_still_does_not_catch_up_in_a_burst() -> None:
    left = simulated(2, for_s=20.0, busy_s=0.5)

    assert most_in(0.1, left) <= 1.35 * RATE * 0.1


async def test_bodies_share_a_limit_alike() -> None:
    limit, shares = RateLimit(100_000), [0, 0, 0]

    async def send(body: int) -> None:
        while sum(shares) < 30:
            await limit.pause(1_000)
            shares[body] += 1

    await asyncio.gather(*map(send, range(3)))

    assert min(shares) >= 5  # of 30


def test_without_a_limit_nothing_waits() -> None:
    limit = RateLimit(0)

    assert limit.max_read is None
    assert limit.take(1 << 40) == limit.take(1 << 40) == 0.0


async def test_a_task_waits_without_a_thread() -> None:
    limit = RateLimit(100_000)
    threads, began = threading.active_count(), time.monotonic()

    await asyncio.gather(*(limit.pause(5_000) for _ in range(5)))

    assert time.monotonic() - began >= 0.18  # the fifth leaves when four have had their time
    assert threading.active_count() == threads
