"""kill -9 when the server has acted and its answer is not heard: the log arrives, sent once."""

from __future__ import annotations

import pytest

from tests.servers.drone import EVERY, SMALL, THREE_PARTS, Drone
from tests.servers.killing import killed_at_each


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
def test_killed_when_s3_has_made_a_change_but_was_not_heard_it_resumes(
    drone: Drone, size: int
) -> None:
    if size == SMALL:
        killed_at_each(drone, size, drone.kill_after, fewest=8)
    else:  # what is sent before the first byte is sent for a small log, too
        killed_at_each(drone, size, drone.kill_after, fewest=4, first=10)


@EVERY
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
