"""Nothing on the disk of the device is deleted that is not proven, however long it waits."""

from __future__ import annotations

import pytest
from robot import MACHINE, SMALL, Robot, refusal
from timed import HOUR_S, jitter, passing, timed


@pytest.mark.guarantee(
    "retention",
    "logs wait for hours, refused, cancelled or dead, and the disk is short of room",
    "every file of the log directories stays as it is",
)
async def test_no_log_is_deleted_to_make_room(robot: Robot) -> None:
    robot.given |= {"retention_days": 1, "min_free_bytes": 1 << 60}
    await robot.restart()
    sent = await robot.finish(await robot.land("sent.ulg"))
    robot.always("PutObject", refusal(403, "QuotaExceeded"))
    waiting = await robot.land("waiting.ulg", seed=1)
    cancelled = await robot.service.cancel((await robot.land("cancelled.ulg", seed=2)).id)
    dead = await robot.land("dead.ulg", seed=3)
    (robot.logs / "dead.ulg").write_bytes(b"no log any more")
    before = {path: path.read_bytes() for path in robot.logs.iterdir() if path.name != "sent.ulg"}
    service, now = await timed(robot, spread=jitter())

    await passing(service, now, 3 * HOUR_S)
    await service.scan()

    states = [(await robot.row(row)).state for row in (sent, waiting, cancelled, dead)]
    assert states == ["verified", "queued", "cancelled", "dead"]
    assert len(before) == 3
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.guarantee(
    "retention",
    "the file of a caller is gone, and its copy in the spool waits for hours",
    "the copy stays until it is proven, and goes then",
)
async def test_a_copy_that_exists_nowhere_else_stays_until_it_is_proven(robot: Robot) -> None:
    path = robot.tmp / "elsewhere" / "flight.ulg"
    robot.store.copy(path, SMALL, 0)
    data = path.read_bytes()
    robot.always("PutObject", refusal(403, "AccessDenied"))
    row = await robot.service.enqueue(path, key=f"{MACHINE}/a.ulg")
    path.unlink()
    service, now = await timed(robot, spread=jitter())
    await passing(service, now, 3 * HOUR_S)
    held = [copy.read_bytes() for copy in (robot.state / "spool").glob("[!.]*")]

    robot.heal()
    done = await robot.finish(row)

    assert held == [data]
    assert (done.state, robot.body(done.key)) == ("verified", data)
    assert list((robot.state / "spool").iterdir()) == []
