"""Kill a process at each request of an upload in turn, and let another one finish."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.servers.drone import PART, Drone

MOST_REQUESTS = 60


def killed_at_each(
    drone: Drone, size: int, plan: Callable[[int], None], *, fewest: int, first: int = 1
) -> None:
    """Kill at each request in turn, from the ``first``, until an upload needs no more of them."""
    drone.given["concurrency"] = 1
    wrong = []
    for number in itertools.count(first):
        drone.begin()
        path = drone.write(size=size)
        plan(number)
        drone.start(path)
        if not drone.killed():
            break
        last = drone.ledger.requests()[-1]
        drone.act(None)
        drone.start(path)
        try:
            assert not drone.killed()
            drone.assert_arrived(path, most=size + min(PART, size))
        except AssertionError as error:
            wrong.append(f"killed at request {number}, {last.op}: {error}")
        assert number < MOST_REQUESTS
    assert number >= first + fewest  # a loop that ends sooner has not tested anything
    assert not wrong, "\n\n".join(wrong)
