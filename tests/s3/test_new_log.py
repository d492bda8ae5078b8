"""A new log is found and tried, even after a scan that failed or while the drain waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from robot import Robot, refusal, until

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import LocalStorageError
from petal_s3.intake.watcher import Watcher


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


@pytest.mark.parametrize(
    ("failure", "trouble"),
    [(LocalStorageError("No space left."), "No space left."), (ValueError("unforeseen"), "")],
)
async def test_a_scan_that_fails_does_not_end_the_watch(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, failure: Exception, trouble: str
) -> None:
    watcher, met = robot.service.watcher, []
    monkeypatch.setattr(Watcher, "retry_s", 0.05)
    monkeypatch.setattr(Watcher, "poll_s", 0.05)

    def fails_at_first(paths: Iterable[str]) -> set[str]:
        met.append(watcher.trouble)
        if len(met) < 3:
            raise failure
        return set()

    robot.service.intake.open_for_writing = fails_at_first
    path = robot.write("flight.ulg")
    watching = asyncio.create_task(watcher.watch())
    await until(lambda: robot.sql("SELECT path FROM log") == [(str(path),)])
    await until(lambda: not watcher.trouble)
    await cancel_and_wait(watching)

    assert met[:3] == ["", trouble, trouble]
