"""A new log is tried at once, even while the drain waits for something else."""

from __future__ import annotations

from robot import Robot, refusal


async def test_a_new_log_is_tried_at_once_though_the_drain_is_blocked(robot: Robot) -> None:
    robot.service.drainer.timing.spread = lambda: 1.0
    robot.fault("PutObject", refusal(403, "AccessDenied"))
    await robot.attempt(await robot.land("first.ulg"))
    blocked = robot.service.drainer.block
    assert blocked is not None
    assert blocked.until > robot.service.now()

    new = await robot.land("second.ulg", seed=1)
    await robot.service.drainer.turn()

    assert (await robot.row(new)).state == "verified"


async def test_a_new_log_respects_that_s3_asked_for_patience(robot: Robot) -> None:
    robot.fault("PutObject", refusal(503, "SlowDown", Retry_After="90"))
    await robot.attempt(await robot.land("first.ulg"))

    new = await robot.land("second.ulg", seed=1)
    await robot.service.drainer.turn()

    assert (await robot.row(new)).state == "queued"
