"""One simulation of a drone: what befalls it is decided by a seed, and so is all that follows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from petal_s3.outbox.rows import Row
from tests.simulation.drone import SCAN_S, Drone, Killed, in_this_world
from tests.simulation.invariants import InvariantBroken
from tests.simulation.logs import Logs
from tests.simulation.loop import VirtualLoop
from tests.simulation.troubles import Troubles
from tests.simulation.world import World

_ROOMS = (Path("/dev/shm"), Path(tempfile.gettempdir()))
_HEAL_S = 1500.0  # a refused row waits a quarter of an hour at most


@dataclass
class Report:
    """How a simulation went."""

    seed: int
    broken: str = ""
    fingerprint: str = ""
    trace: list[str] = field(default_factory=list)
    logs: int = 0
    kills: int = 0
    requests: int = 0
    parts: int = 0
    simulated_s: float = 0.0


def simulate(seed: int, *, minutes: float = 6.0) -> Report:
    """Live one whole simulation; ``broken`` names the invariant that was broken, if one was."""
    rng = random.Random(seed)
    room = next(place for place in _ROOMS if place.is_dir() and os.access(place, os.W_OK))
    home = Path(tempfile.mkdtemp(prefix="petal-simulation-", dir=room))
    loop = VirtualLoop(lambda: rng.random() * 0.004)
    world = World(rng, loop)
    report = Report(seed)
    try:
        with in_this_world(world):
            simulation = Simulation(world, Drone(world, loop, home), rng)
            loop.run_until_complete(simulation.whole(minutes * 60))
    except InvariantBroken as broken:
        report.broken = str(broken)
    finally:
        loop.dead = True
        _end(loop)
        shutil.rmtree(home, ignore_errors=True)
    report.fingerprint, report.trace = world.fingerprint(), world.trace
    report.logs, report.kills = len(world.invariants.proven), simulation.drone.kills
    report.requests, report.parts = world.requests, world.invariants.parts_sent
    report.simulated_s = loop.time()
    return report


def _end(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=5))
    loop.close()


# How often each of it befalls, by weight.
ACTS: dict[str, float] = {
    "new_log": 9,
    "asked": 5,
    "asked_under": 3,
    "event": 2,
    "told": 3,
    "grow": 2,
    "rewrite": 2,
    "replace": 2,
    "touch": 1,
    "delete": 1,
    "sneak": 3,
    "change_midway": 4,
    "raced": 1,
    "lose_part": 2,
    "cut": 4,
    "flap": 4,
    "slow": 3,
    "fault": 12,
    "portal": 2,
    "collect": 1,
    "bucket_gone": 1,
    "quota": 1,
    "forbid": 1,
    "expire": 2,
    "short_tokens": 1,
    "token_trouble": 2,
    "clock_jump": 2,
    "fly": 2,
    "kill": 3,
    "kill_at_request": 5,
    "kill_at_statement": 4,
    "power_cut": 2,
    "damage": 0.4,
    "full_disk": 1,
    "short_disk": 2,
    "cancel": 1,
    "retry": 1,
    "landed": 3,
    # What servers and cards do beside.
    "option": 8,
    "late_reads": 2,
    "gone_uploads": 1,
    "remounted": 3,
}


class Simulation:
    """What befalls the drone, and the invariants looked at after each of it."""

    def __init__(self, world: World, drone: Drone, rng: random.Random) -> None:
        self.world = world
        self.drone = drone
        self.rng = rng
        self.logs = Logs(world, drone, rng)
        self.troubles = Troubles(world, drone, self.logs, rng)
        self._seen = (0, 0)
        self._rows: list[Row] = []
        self._boots = 1

    async def whole(self, length_s: float) -> None:
        """From the first boot to the end, when all is well again."""
        loop = self.world.loop
        self.logs.new_log()
        await self.drone.boot()
        while loop.time() < length_s:
            await self.pass_time(self.rng.expovariate(1 / 8))
            name = self.rng.choices([*ACTS], [*ACTS.values()])[0]
            self.world.note("act", name)
            with contextlib.suppress(Killed):
                happening = self._act(name)()
                if happening is not None:
                    await happening
            self.look()
        await self.until_well()

    def _act(self, name: str) -> Callable[[], Awaitable[None] | None]:
        verbs = (self.logs, self.world.options, self.troubles)
        of = next(one for one in verbs if hasattr(one, name))
        act: Callable[[], Awaitable[None] | None] = getattr(of, name)
        return act

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; a process that dies is started again after a while."""
        loop = self.world.loop
        until = loop.time() + seconds
        while loop.time() < until:
            if self.drone.dead:
                await self.start_again()
            await asyncio.sleep(min(2.0, max(0.0, until - loop.time())))
            if not self.drone.dead:
                self.look()

    async def start_again(self) -> None:
        drone, world = self.drone, self.world
        await drone.bury()
        if self.troubles.spoil:
            self.troubles.spoil = False
            drone.spoil()
            world.invariants.outbox_lost()
            world.note("the outbox is damaged")
        if self.troubles.reboot:
            self.troubles.reboot = False
            self._boots += 1
            world.boot = f"boot-{self._boots}"
            world.booted_at = world.loop.time() - self.rng.uniform(5, 60)
            world.wall_offset_s = self.rng.choice((0.0, -1.7e9, 1.5e8, -3600.0))
        if self.troubles.remount is not None:
            moved_s, other_inodes = self.troubles.remount
            self.troubles.remount = None
            self.logs.remount(moved_s, other_inodes=other_inodes)
        await asyncio.sleep(self.rng.uniform(0.5, 20))
        await drone.boot()

    def look(self) -> None:
        """Hold every invariant against what is there now."""
        if self.world.invariants.verdict:
            raise InvariantBroken(self.world.invariants.verdict)
        if not self.drone.up:
            return
        if self._seen != self.drone.version:
            self._seen = self.drone.version
            self._rows, reasons = self.drone.rows()
            self.world.invariants.on_rows(self._rows, reasons)
        self.world.invariants.on_claims(self.drone.kills, self._rows, self.drone.carried)

    async def until_well(self) -> None:
        """Everything outside is well from now on: every log must come up, by itself."""
        world, drone = self.world, self.drone
        world.note("all is well")
        self.troubles.heal()
        deadline = world.loop.time() + _HEAL_S
        await self.pass_time(SCAN_S + 5.0)
        while True:
            await self.pass_time(10.0)
            if drone.dead:
                continue
            rows, _ = drone.rows()
            if not len(drone.service.watcher.settling) and all(row.settled for row in rows):
                known = {row.path for row in rows}
                if all(path in known for path in self.logs.living):
                    break
            if world.loop.time() > deadline:
                break
        world.invariants.at_the_end(rows, self.logs.living)
        await drone.do(drone.service.stop())
