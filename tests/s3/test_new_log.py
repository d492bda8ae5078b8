"""A new log is tried at once, even while the drain waits for something else."""

from __future__ import annotations

from rig import Rig, refusal


async def test_a_new_log_is_tried_at_once_though_the_drain_is_blocked(rig: Rig) -> None:
    rig.service.drainer._spread = lambda: 1.0
    rig.fault("PutObject", refusal(403, "AccessDenied"))
    await rig.attempt(await rig.land("first.ulg"))
    blocked = rig.service.drainer.block
    assert blocked is not None
    assert blocked.until > rig.service._now()

    new = await rig.land("second.ulg", seed=1)
    await rig.service.drainer._turn()

    assert (await rig.row(new)).state == "verified"


async def test_a_new_log_respects_that_s3_asked_for_patience(rig: Rig) -> None:
    rig.fault("PutObject", refusal(503, "SlowDown", Retry_After="90"))
    await rig.attempt(await rig.land("first.ulg"))

    new = await rig.land("second.ulg", seed=1)
    await rig.service.drainer._turn()

    assert (await rig.row(new)).state == "queued"
