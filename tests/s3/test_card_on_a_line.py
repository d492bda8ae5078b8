"""The loop with its real client, over MAVLink: listed, cut, gone on with, proven in the bucket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from robot import HOME, Robot, until

from petal_s3.demo.logs import write_ulog
from petal_s3.host.own_autopilot import own_autopilot
from petal_s3.service import card_verbs
from petal_s3.service.service import Service

pytest.importorskip("pymavlink")
from tests.support.autopilot import Autopilot

SIZE = 400_000
NEW = "fs/microsd/log/2026-11-30/14_25_00.ulg"
OPEN_FILE, READ_FILE = 4, 5


@pytest.fixture
def autopilot(tmp_path: Path) -> Iterator[Autopilot]:
    root = tmp_path / "card"
    (root / "fs/microsd/log/2026-11-29").mkdir(parents=True)
    (root / NEW).parent.mkdir()
    with Autopilot(root, beat_s=0.1).flying() as made:
        yield made


@pytest.fixture
async def aboard(robot: Robot, autopilot: Autopilot) -> AsyncIterator[Aboard]:
    made = Aboard(robot, autopilot)
    await made.start()
    yield made
    await made.stop()


class Aboard:
    """A service that drains, and listens to the autopilot; it may be started anew."""

    def __init__(self, robot: Robot, autopilot: Autopilot) -> None:
        self.robot = robot
        self.autopilot = autopilot
        self.settings = {"fetch": "all", "autopilot": f"udpin:127.0.0.1:{autopilot.port}"}
        self.service: Service
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        self.service = await self.robot.run(**self.settings)
        await self._stack.enter_async_context(own_autopilot(self.service))

    async def stop(self) -> None:
        await self._stack.aclose()
        await self.service.stop()

    def fetched_bytes(self) -> int:
        found = self.robot.sql("SELECT fetched_bytes FROM card")
        return int(found[0][0]) if found else 0

    async def proven(self) -> bytes:
        """The bytes in the bucket, once the log is proven."""
        await until(lambda: self.robot.sql("SELECT 1 FROM log WHERE state = 'verified'"), 120)
        [key] = self.robot.stored()
        assert key == f"{HOME}20261130_142500_14_25_00.ulg"
        return self.robot.body(key)


async def test_a_log_comes_over_the_line_and_is_proven(aboard: Aboard) -> None:
    write_ulog(aboard.autopilot.root / NEW, SIZE)
    assert await aboard.proven() == (aboard.autopilot.root / NEW).read_bytes()
    shown = await card_verbs.show(aboard.service)
    assert [(one.path, one.state) for one in shown.files] == [(f"/{NEW}", "proven")]
    assert shown.heard
    assert aboard.autopilot.server.resets == 0


@pytest.mark.guarantee(
    "card",
    "the line to the autopilot loses messages and is cut, and the process ends",
    "the log arrives byte-identical; what was here is not read again",
)
async def test_a_line_that_is_cut_and_a_process_that_ends_cost_only_what_was_on_the_way(
    aboard: Aboard,
) -> None:
    aboard.autopilot.bytes_s = 92_160.0
    aboard.autopilot.loss = 0.01
    write_ulog(aboard.autopilot.root / NEW, SIZE)
    await until(lambda: aboard.fetched_bytes() > SIZE // 5, 120)
    aboard.autopilot.is_silent = True
    await until(lambda: not aboard.service.fetcher.is_heard, 60)
    aboard.autopilot.is_silent = False
    await until(lambda: aboard.fetched_bytes() > SIZE // 2, 120)
    await aboard.stop()
    await aboard.start()
    assert await aboard.proven() == (aboard.autopilot.root / NEW).read_bytes()
    whole = SIZE / 239
    assert aboard.autopilot.asked(READ_FILE) < 1.5 * whole


@pytest.mark.guarantee(
    "card",
    "the vehicle is armed during a real transfer",
    "no request later than a second after that",
)
async def test_an_armed_vehicle_is_asked_nothing_more_within_a_second(aboard: Aboard) -> None:
    aboard.autopilot.bytes_s = 92_160.0
    write_ulog(aboard.autopilot.root / NEW, SIZE)
    await until(lambda: aboard.fetched_bytes() > SIZE // 5, 120)
    aboard.autopilot.is_armed = True
    armed_at = time.monotonic()
    flight = aboard.service.flight
    await until(lambda: flight.state(aboard.service.now()) == "armed")
    await until(lambda: time.monotonic() > armed_at + 3)
    assert max(at for at, _ in aboard.autopilot.requests) < armed_at + 1
    kept = aboard.fetched_bytes()
    assert 0 < kept < SIZE
    aboard.autopilot.is_armed = False
    assert await aboard.proven() == (aboard.autopilot.root / NEW).read_bytes()
