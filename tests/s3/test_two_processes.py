"""Two processes on one outbox: both take logs in, one sends, and the other goes on when it dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from others import other_process, start_other
from robot import SMALL, THREE_PARTS, Robot, until

from petal_s3.outbox import queries


@pytest.mark.guarantee(
    "device",
    "two processes enter the same logs and others at once, and the one that drains is killed",
    "one row for each log; the other drains on, and nothing that is confirmed is sent again",
)
async def test_both_take_logs_in_one_drains_and_the_other_goes_on_when_it_is_killed(
    robot: Robot,
) -> None:
    drains = await start_other(robot, "drain", Path())
    try:
        assert drains.stdout is not None
        assert await asyncio.wait_for(drains.stdout.readline(), 30) == b"drains\n"
        service = await robot.run(concurrency=1)
        large = robot.write("large.ulg", THREE_PARTS, seed=99)
        small = [robot.write(f"{number}.ulg", SMALL, seed=number) for number in range(6)]

        robot.link.rate_bytes_s = 8e6
        ours, theirs = await asyncio.gather(
            asyncio.gather(*(service.enqueue(path, priority=5) for path in small)),
            asyncio.gather(*(other_process(robot, "land", path) for path in small[:2])),
        )
        slow = await service.enqueue(large, priority=0)
        await robot.first_part_confirmed(slow)
        await until(lambda: robot.flying(part=2))
        drained_by, held = (await service.status()).drained_by, service.lock.held
        late = await service.enqueue(robot.write("late.ulg", SMALL, seed=50))
        drains.kill()
        await drains.wait()
        robot.link.rate_bytes_s = 0
        for row in (*ours, slow, late):
            await robot.until_state(row, "verified")
    finally:
        if drains.returncode is None:
            drains.kill()
        await drains.communicate()

    assert (drained_by, held, service.lock.held) == (drains.pid, False, True)
    assert [int(said) for said in theirs] == [row.id for row in ours[:2]]
    assert (await service.outbox(queries.counts))["verified"] == 8 == len(robot.stored())
    robot.assert_sent_once(await robot.row(slow), large)
    for row, path in zip(ours, small, strict=True):
        robot.assert_sent_once(await robot.row(row), path)
        assert len(robot.ledger.requests("PutObject", row.key)) == 1
