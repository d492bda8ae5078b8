"""Whoever looks is told within two seconds that the link is gone, and that it is back."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace

import pytest
from robot import DROP, HOME, PART, Robot, until

from petal_s3.service.endings import ENDINGS
from petal_s3.service.views.status import StatusView

SLOW = 1_500_000  # bytes per second
WITHIN_S = 2.0
MORE_S = 1.0  # for a machine that has other things to do


async def told(robot: Robot, code: str, within_s: float = 20) -> StatusView:
    """The first status with this code, as somebody hears of it who looks all the time."""
    deadline = time.monotonic() + within_s
    while (said := await robot.service.status()).code != code:
        assert time.monotonic() < deadline, (said.code, said.headline)
        await asyncio.sleep(0.05)
    return said


async def under_way(robot: Robot) -> None:
    await robot.run(spread=1.0)
    robot.link.rate_bytes_s = SLOW
    await robot.land("large.ulg", 6 * PART)
    await until(lambda: robot.flying(part=1))


@pytest.mark.guarantee(
    "links",
    "the link is cut while a log is sent, and somebody looks",
    "within two seconds the status says why nothing is sent, since when, and what would end it",
)
async def test_a_link_that_is_cut_is_told_within_two_seconds(robot: Robot) -> None:
    await under_way(robot)
    robot.link.cut()
    began = time.monotonic()
    said = await told(robot, "offline")
    assert time.monotonic() - began < WITHIN_S + MORE_S
    assert "No link" in said.headline
    assert said.since is not None
    assert said.ends == ENDINGS["offline"]


@pytest.mark.guarantee(
    "links",
    "the link falls silent while a log is sent, and neither side is told",
    "within two seconds of the last byte that arrived the status says so, until more do",
)
async def test_a_link_that_falls_silent_is_told_within_two_seconds(robot: Robot) -> None:
    await under_way(robot)
    robot.link.silence()
    # What fits into the buffers of the link itself is acknowledged for some time yet.
    said = await told(robot, "stalled", within_s=60)
    still_s = re.search(r"has arrived for (\d+) s", said.reason)
    assert still_s is not None, said.reason
    assert int(still_s[1]) <= WITHIN_S + MORE_S
    [row] = await robot.service.rows(state="uploading")
    assert row.code == "stalled"
    robot.link.go_on()
    await told(robot, "uploading")


@pytest.mark.guarantee(
    "links",
    "the link was gone for an hour and is back, and somebody looks",
    "within two seconds the status says so, and in how many seconds sending begins",
)
async def test_a_link_that_is_back_is_told_within_two_seconds(robot: Robot) -> None:
    service = await robot.run(spread=1.0)
    robot.link.cut()
    await robot.land()
    drainer = service.drainer
    await until(lambda: drainer.pause.seen_down)
    assert drainer.block is not None
    assert drainer.pause.down_since is not None
    drainer.pause.down_since -= 3600
    drainer.pause.block = replace(drainer.block, since=drainer.block.since - 3600)
    await told(robot, "offline")

    robot.link.forward()
    began = time.monotonic()
    said = await told(robot, "link_back")
    assert time.monotonic() - began < WITHIN_S + MORE_S
    assert said.next_try_s is not None
    left_s = re.fullmatch(r"The link is back, sending begins in (\d+) s\.", said.reason)
    assert left_s is not None, said.reason
    assert abs(int(left_s[1]) - said.next_try_s) <= 1
    assert said.reason in said.headline
    later = await service.status()
    assert int(re.findall(r"in (\d+) s", later.reason)[0]) <= int(left_s[1])
    assert {row.code for row in await service.rows()} == {"link_back"}


async def test_an_answer_to_another_call_says_when_sending_begins(robot: Robot) -> None:
    """S3 answers a listing: what failed is tried at the next probe, not after the backoff."""
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6
    robot.always("PutObject", DROP)
    await robot.land()
    block = await until(lambda: service.drainer.block)
    assert block.until - block.tried_at > 30
    await service.objects.page(HOME)
    said = await told(robot, "link_back")
    assert said.next_try_s is None or said.next_try_s <= 5
