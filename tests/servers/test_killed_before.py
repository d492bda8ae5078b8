"""kill -9 before the server hears of a request, at each request: the log arrives, sent once."""

from __future__ import annotations

import pytest

from tests.servers.drone import SMALL, THREE_PARTS, Drone
from tests.servers.killing import killed_at_each


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
def test_killed_before_s3_hears_of_a_request_it_resumes(drone: Drone, size: int) -> None:
    if size == SMALL:
        killed_at_each(drone, size, drone.kill_before, fewest=20)
    else:  # what is asked before the first byte is asked for a small log, too
        killed_at_each(drone, size, drone.kill_before, fewest=7, first=18)
