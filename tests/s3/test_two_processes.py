"""Two processes on one outbox: both take logs in, one sends, and the other goes on when it dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rig import SMALL, THREE_PARTS, Rig, until
from test_draining import other_process, start_other

from petal_s3.outbox import queries


@pytest.mark.guarantee(
    "device",
    "two processes enter the same logs and others at once, and the one that drains is killed",
    "one row for each log; the other drains on, and nothing that is confirmed is sent again",
)
async def test_both_take_logs_in_one_drains_and_the_other_goes_on_when_it_is_killed(
    rig: Rig,
) -> None:
    drains = await start_other(rig, "drain", Path())
    try:
        assert drains.stdout is not None
        assert await asyncio.wait_for(drains.stdout.readline(), 30) == b"drains\n"
        service = await rig.run(concurrency=1)
        large = rig.write("large.ulg", THREE_PARTS, seed=99)
        small = [rig.write(f"{number}.ulg", SMALL, seed=number) for number in range(6)]

        rig.link.rate_bytes_s = 8e6
        ours, theirs = await asyncio.gather(
            asyncio.gather(*(service.enqueue(path, priority=5) for path in small)),
            asyncio.gather(*(other_process(rig, "land", path) for path in small[:2])),
        )
        slow = await service.enqueue(large, priority=0)
        await until(lambda: rig.ledger.parts(slow.key).confirmed >= 1)
        await until(rig.flying)
        drained_by, held = (await service.status())["drained_by"], service.lock.held
        late = await service.enqueue(rig.write("late.ulg", SMALL, seed=50))
        drains.kill()
        await drains.wait()
        rig.link.rate_bytes_s = 0
        for row in (*ours, slow, late):
            await rig.until_state(row, "verified")
    finally:
        if drains.returncode is None:
            drains.kill()
        await drains.communicate()

    assert (drained_by, held, service.lock.held) == (drains.pid, False, True)
    assert [int(said) for said in theirs] == [row.id for row in ours[:2]]
    assert (await service.outbox(queries.counts))["verified"] == 8 == len(rig.stored())
    rig.assert_sent_once(await rig.row(slow), large)
    for row, path in zip(ours, small, strict=True):
        rig.assert_sent_once(await rig.row(row), path)
        assert len(rig.ledger.requests("PutObject", row.key)) == 1
