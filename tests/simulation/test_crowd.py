"""Many robots that lost one link do not come back in one second."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.crowd import most_in_a_second, returned

ROBOTS = 1000
OUTAGE_S = 600.0


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


def test_after_a_short_outage_no_robot_waits_long() -> None:
    found = returned(ROBOTS // 10, 10.0, jitter=True)

    assert max(found.waited) < 5
