"""Many robots that lost one link do not come back in one second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import cast

import pytest

from petal_s3.errors import Offline
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.link_state import LinkState
from petal_s3.upload.backoff import RETURN_CAP_S
from petal_s3.upload.pause import LINK_BACK, Pause, Timing
from tests.simulation.crowd import most_in_a_second, returned
from tests.simulation.loop import VirtualLoop

ROBOTS = 1000
OUTAGE_S = 600.0
NO_LINK = Offline("No link.", peer=("s3.test", 443))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_without_jitter_all_robots_ask_in_the_same_second() -> None:
    found = returned(ROBOTS // 10, OUTAGE_S, jitter=False)

    assert most_in_a_second(found.s3) == 2 * ROBOTS // 10
    assert most_in_a_second(found.tokens) == ROBOTS // 10


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.guarantee(
    "links",
    "a thousand robots lose one link for ten minutes, and it is back",
    "in no second come more than 5 % of the requests that would come in one without jitter, to S3"
    " and to the token service; each robot is through within a minute",
)
def test_a_thousand_robots_do_not_come_back_at_once(*, silent: bool) -> None:
    found = returned(ROBOTS, OUTAGE_S, jitter=True, silent=silent, seed=1)

    assert most_in_a_second(found.s3) <= 0.05 * 2 * ROBOTS
    assert most_in_a_second(found.tokens) <= 0.05 * ROBOTS
    assert max(found.waited) < 60


def waiting(loop: VirtualLoop, up: list[bool]) -> Pause:
    """The waiting of a drain whose link is ``up``, or not; each wait is the longest."""

    async def probe(_: tuple[str, int]) -> bool:
        return up[0]

    async def outbox(*_: object) -> int:
        return 0

    timing = Timing(loop.time, lambda: 1.0, probe)
    return Pause(cast("OutboxThread", outbox), timing, LinkState())


async def rest_until(pause: Pause, loop: VirtualLoop, at: float) -> None:
    while loop.time() < at:
        await pause.rest(min(60.0, at - loop.time()))


async def rest_until_back(pause: Pause, loop: VirtualLoop) -> None:
    ends_at = loop.time() + 100.0
    while pause.block is not None and pause.block.code != LINK_BACK and loop.time() < ends_at:
        await pause.rest(60.0)


def test_a_link_that_comes_and_goes_after_a_long_outage_costs_the_wait_once() -> None:
    loop, up, waits = VirtualLoop(), [False], []

    async def live() -> None:
        pause = waiting(loop, up)
        for gone_s in (3600.0, 10.0):
            up[0], ends_at = False, loop.time() + gone_s
            await pause.blocked(NO_LINK)
            await rest_until(pause, loop, ends_at)
            up[0] = True
            await rest_until_back(pause, loop)
            waits.append(pause.blocked_for_s())

    loop.run_until_complete(live())
    loop.close()
    assert waits[0] == RETURN_CAP_S
    assert 1 < waits[1] < 5


def test_a_link_that_is_back_as_an_attempt_fails_is_found_by_the_next_connect() -> None:
    loop, up = VirtualLoop(), [False]

    async def live() -> float:
        pause = waiting(loop, up)
        pause.failures = 6
        await pause.blocked(NO_LINK)
        await rest_until(pause, loop, 10.0)
        up[0] = True
        await pause.blocked(NO_LINK)  # of an attempt that began before
        await rest_until_back(pause, loop)
        return loop.time()

    found_at = loop.run_until_complete(live())
    loop.close()
    assert found_at < 10.0 + 2.0


def test_after_a_short_outage_no_robot_waits_long() -> None:
    found = returned(ROBOTS // 10, 10.0, jitter=True)

    assert max(found.waited) < 5
