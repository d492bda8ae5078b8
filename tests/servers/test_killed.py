"""kill -9 before every request of an upload and after every change: it arrives, sent once."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.servers.drone import PART, SMALL, THREE_PARTS, Drone

MOST_REQUESTS = 60
SIZES = pytest.mark.parametrize("size", [SMALL, THREE_PARTS])


def killed_at_each(drone: Drone, size: int, plan: Callable[[int], None], *, fewest: int) -> None:
    """Kill at each request in turn until an upload needs no more of them."""
    drone.given["concurrency"] = 1
    wrong = []
    for number in itertools.count(1):
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
    assert number > fewest  # a loop that ends sooner has not tested anything
    assert not wrong, "\n\n".join(wrong)


@SIZES
def test_killed_before_s3_hears_of_a_request_it_resumes(drone: Drone, size: int) -> None:
    killed_at_each(drone, size, drone.kill_before, fewest=3 if size == SMALL else 7)


@SIZES
def test_killed_when_s3_has_made_a_change_but_was_not_heard_it_resumes(
    drone: Drone, size: int
) -> None:
    killed_at_each(drone, size, drone.kill_after, fewest=1 if size == SMALL else 5)


@pytest.mark.parametrize(
    "server",
    ["seaweedfs-4.48", "seaweedfs-4.39", "juicefs", "ministack", "nanio", "rclone", "localbucket",
     "fauxqs"],
    indirect=True,
)  # fmt: skip
def test_killed_while_complete_is_answered_not_a_byte_is_sent_again(drone: Drone) -> None:
    drone.given["concurrency"] = 1
    path = drone.write(size=THREE_PARTS)
    drone.kill_after(1, "CompleteMultipartUpload")
    drone.start(path)
    assert drone.killed(), drone.story()
    sent = drone.bodies()

    drone.act(None)
    drone.start(path)

    assert not drone.killed()
    drone.assert_arrived(path, most=sent)
