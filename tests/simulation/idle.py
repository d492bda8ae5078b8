"""An hour in which nothing happens: what does petal-s3 ask for?"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.simulation.drone import Drone, in_this_world
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import World

HOUR_S = 3600.0


@dataclass(frozen=True)
class Hour:
    """What was asked for in an idle hour, the start not counted."""

    fetches: int
    requests: int
    sleeps: int
    asked: int
    """How often threads were given work."""


def idle_hour(life_s: float = 900.0) -> Hour:
    """Boot a drone that has nothing to send and let an hour pass; ``life_s``: of its tokens.

    File-system events are listened to, and none come; no autopilot is heard.
    """
    home = Path(tempfile.mkdtemp(prefix="petal-idle-"))
    loop = VirtualLoop()
    world = World(random.Random(0), loop)
    world.tokens.life_s = life_s

    async def pass_it() -> Hour:
        drone = Drone(world, loop, home, quiet=True)
        await drone.boot()
        await asyncio.sleep(60.0)
        fetches, requests = world.tokens.fetches, world.requests
        sleeps, asked = loop.sleeps, loop.asked
        await asyncio.sleep(HOUR_S)
        hour = Hour(
            world.tokens.fetches - fetches,
            world.requests - requests,
            loop.sleeps - sleeps,
            loop.asked - asked,
        )
        await drone.do(drone.service.stop())
        return hour

    try:
        with in_this_world(world, quiet=True), mock.patch.dict(os.environ, {"PETAL_S3_CONFIG": ""}):
            return loop.run_until_complete(pass_it())
    finally:
        loop.close()
        shutil.rmtree(home, ignore_errors=True)
