"""Simulations of a card: what befalls card, link, vehicle and process is decided by a seed.

Those of even seeds have a card in memory, those of odd ones the same behind MAVFTP.

python -m tests.simulation.card [FIRST [COUNT]]
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from petal_s3.autopilot.ftp_client import Held, Silence
from petal_s3.demo.logs import write_ulog
from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from tests.simulation.card_wire import Broken, WiredCard
from tests.simulation.loop import VirtualLoop
from tests.support.card_model import ARMED, MISSIONS, ROOT, CardModel, held, refused
from tests.support.card_robot import CardRobot, Killed, Known

STEPS = 40
_LEAST_BYTES, _MOST_BYTES = 4_000, 60_000


class CardSimulation:
    """One robot; ``versions``: all that ever lay at each path of its card."""

    def __init__(self, seed: int, folder: Path, loop: VirtualLoop) -> None:
        self.rng = random.Random(seed)
        self.versions: dict[str, list[bytes]] = {}
        self.card = self._card(folder, wired=bool(seed % 2))
        self.robot = CardRobot(folder, self.card)
        self.folder = folder
        self._loop = loop
        self._dying: asyncio.Event = asyncio.Event()
        self._known: dict[int, Known] = {}
        self._listed: dict[tuple[int, int], int] = {}
        """How often a path had changed when a file of it was first listed with this size."""
        self._changes: dict[str, int] = {}
        self.made = 0
        self.kills = 0
        self.boots = 1
        self._kill_at_statement = 0
        self._blocks_to_trouble = 0
        self._trouble: Callable[[str], None] = lambda path: None
        self.card.before_block = self._before_block

    def _card(self, folder: Path, *, wired: bool) -> CardModel:
        hashes = self.rng.random() < 0.5
        if not wired:
            return CardModel(block_bytes=self.rng.choice([239, 1000, 4000]), hashes=hashes)
        card = WiredCard(folder / "card", self.rng, self.versions, hashes=hashes)
        card.may_ask, card.die = self._may_ask, self._kill_at_once
        card.is_armed = lambda: self.robot.last_beat == ARMED
        return card

    async def whole(self) -> None:
        """From the first start to the end, when all is well again; raises :class:`Broken`."""
        await self._start(settle_seconds=1.0)
        await self._rest()
        for _ in range(STEPS):
            self.rng.choice(
                [
                    *([self.new_log] * 4),
                    *([self.grow, self.shrink, self.vanish, self.swap, self.format]),
                    *([self.fly] * 3),
                    *([self.trouble_soon] * 4),
                    *([self.kill_soon] * 2),
                ]
            )()
            for _ in range(self.rng.randint(1, 6)):
                await self._step()
            await self.check()
        self._trouble = lambda path: None
        self._kill_at_statement = 0
        if isinstance(self.card, WiredCard):
            self.card.calm()
        self.robot.fly()
        await self._rest()
        await self.check()
        await self.check_complete()

    def told(self) -> tuple[object, ...]:
        """What a second run of the same seed must tell, too."""
        asked = len(self.card.asked), self._loop.asked, self._loop.time()
        return (*asked, self.made, self.kills)

    # -- what befalls it

    def log(self, size: int) -> bytes:
        self.made += 1
        place = self.folder / "made.ulg"
        write_ulog(place, size, seed=self.rng.randrange(1 << 30))
        return place.read_bytes()

    def put(self, path: str, content: bytes) -> None:
        root = MISSIONS if path.startswith("m") else ROOT
        whole = f"{root}/{path}"
        self.versions.setdefault(whole, []).append(content)
        self._changed(whole)
        self.card.put(path, content, root)

    def _changed(self, whole: str) -> None:
        self._changes[whole] = self._changes.get(whole, 0) + 1

    def new_log(self) -> None:
        day, second = self.rng.randint(1, 28), self.made
        path = f"2026-11-{day:02}/10_{second // 60 % 60:02}_{second % 60:02}.ulg"
        if self.rng.random() < 0.3:
            path = f"sess{self.rng.randint(1, 9):03}/log{self.rng.randint(1, 9):03}.ulg"
        size = self.rng.randint(_LEAST_BYTES, _MOST_BYTES)
        if f"{ROOT}/{path}" not in self.card.files:
            self.put(path, self.log(self._fresh(path, size)))

    def _some(self) -> str | None:
        logs = sorted(path for path in self.card.files if path.startswith(ROOT))
        return self.rng.choice(logs).removeprefix(f"{ROOT}/") if logs else None

    def grow(self) -> None:
        if (path := self._some()) is not None:
            known = self.card.files[f"{ROOT}/{path}"]
            size = self._fresh(path, len(known) + self.rng.randint(1, 5000))
            self.put(path, known + self.rng.randbytes(size - len(known)))

    def shrink(self) -> None:
        if (path := self._some()) is not None:
            known = self.card.files[f"{ROOT}/{path}"]
            size = self._fresh(path, max(_LEAST_BYTES, len(known) - 1000))
            if size < len(known):
                self.put(path, known[:size])

    def swap(self) -> None:
        """Another log of the same path; of another size, as nearly every one is."""
        if (path := self._some()) is not None:
            size = len(self.card.files[f"{ROOT}/{path}"]) + self.rng.choice([-100, 100, 1000])
            self.put(path, self.log(self._fresh(path, max(_LEAST_BYTES, size))))

    def _fresh(self, path: str, size: int) -> int:
        """A size that no log of this path had: two of one size are told apart by nobody."""
        known = {len(one) for one in self.versions.get(f"{ROOT}/{path}", ())}
        return next(one for one in itertools.count(size) if one not in known)

    def vanish(self) -> None:
        if (path := self._some()) is not None:
            del self.card.files[f"{ROOT}/{path}"]
            self._changed(f"{ROOT}/{path}")

    def format(self) -> None:
        if self.rng.random() < 0.3:
            for whole in self.card.files:
                self._changed(whole)
            self.card.erase()

    def fly(self) -> None:
        self.robot.fly()

    def trouble_soon(self) -> None:
        self._blocks_to_trouble = self.rng.randint(0, self.rng.choice([40, 250]))
        troubles = [self._hold, self._silence, self._refuse, self._arm]
        if isinstance(card := self.card, WiredCard):
            troubles += [lambda _: card.steal(), lambda _: card.chatter()]
        self._trouble = self.rng.choice(troubles)

    def _hold(self, _: str) -> None:
        raise held("silent")

    def _silence(self, _: str) -> None:
        raise Silence("The autopilot does not answer.")

    def _refuse(self, _: str) -> None:
        raise refused(1)

    def _arm(self, _: str) -> None:
        self.robot.hear(ARMED)
        raise held("armed")

    def _die(self, _: str) -> None:
        raise Killed

    def kill_soon(self) -> None:
        if self.rng.random() < 0.5:
            self._kill_at_statement = self.rng.randint(1, 30)
        else:
            self._blocks_to_trouble = self.rng.randint(0, self.rng.choice([40, 250]))
            self._trouble = self._die

    def _before_block(self, path: str, _: int) -> None:
        self._blocks_to_trouble -= 1
        if self._blocks_to_trouble < 0:
            trouble, self._trouble = self._trouble, lambda path: None
            trouble(path)

    def _on_statement(self, text: str) -> None:
        if self._kill_at_statement and not text.startswith(("SELECT", "PRAGMA")):
            self._kill_at_statement -= 1
            if not self._kill_at_statement:
                self._kill_at_once()
                raise Killed

    def _may_ask(self) -> Held | None:
        hold = self.robot.service.flight.ask_hold(self.robot.time)
        return None if hold is None else Held(hold.sentence, reason=hold.code)

    def _kill_at_once(self) -> None:
        """From now on nothing that this process still does reaches the disk."""
        self._loop.dead = True
        self._dying.set()

    # -- its process

    async def _start(self, **settings: object) -> None:
        self._loop.dead = False
        self._dying.clear()
        if isinstance(self.card, WiredCard):
            self.card.boot()
        await self.robot.start(**settings)

    async def _step(self) -> float:
        step, dying = (
            asyncio.ensure_future(one) for one in (self.robot.step(), self._dying.wait())
        )
        await asyncio.wait({step, dying}, return_when=asyncio.FIRST_COMPLETED)
        killed = self._dying.is_set() or isinstance(_error(step), Killed)
        for one in (step, dying):
            one.cancel()
        await asyncio.wait({step, dying})
        if killed:
            await self._again()
            return 0.0
        pause_s: float = step.result()
        self._check_kept()
        self.robot.wait(min(pause_s, 30.0))
        return pause_s

    async def _again(self) -> None:
        """Another process goes on; now and then the power was cut, too."""
        self.kills += 1
        power_cut = self.rng.random() < 0.4
        if power_cut:
            self.boots += 1
            self._tear()
        await self._start()
        if power_cut:
            kept = f"UPDATE card SET kept_boot = 'before {self.boots}'"
            await self.robot.service.outbox(lambda outbox: outbox.sql.change(kept))
        await self.robot.service.outbox(self._watch_statements)

    def _watch_statements(self, outbox: Outbox) -> None:
        change = outbox.sql.change

        def watched(statement: str, **values: str | int | float | None) -> int:
            self._on_statement(statement)
            return change(statement, **values)

        outbox.sql.change = watched  # type: ignore[method-assign]

    def _tear(self) -> None:
        """What was not yet durable of a file is lost, or other bytes lie there."""
        known = self.robot.kept()
        for number, kept in known.items():
            for part in (self.robot.state / "fetching" / str(number)).rglob("*.ulg"):
                whole = part.read_bytes()
                lost = self.rng.randint(0, max(0, len(whole) - kept))
                torn = whole[: kept + lost] + bytes(max(0, len(whole) - kept - lost))
                part.write_bytes(torn)

    async def _rest(self) -> None:
        for _ in range(600):
            if await self._step() > 100:
                return
        raise Broken("it never rests")

    # -- invariants

    def _check_kept(self) -> None:
        """No file is begun anew that is the one which was listed."""
        for number, file in self.robot.known().items():
            before = self._known.get(number, file)
            anew = file.kept < before.kept or (file.begun_anew and not before.begun_anew)
            changes = self._changes.get(file.whole, 0)
            if anew and self._listed[number, before.size] == changes:
                raise Broken(f"{file.whole} was begun anew, though nothing had changed")
            self._listed.setdefault((number, file.size), changes)
            self._known[number] = file

    async def check(self) -> None:
        """What is to be sent of each log is what lay on the card once, or its beginning."""
        if isinstance(self.card, WiredCard) and self.card.asked_in_flight:
            raise Broken("the autopilot was asked in flight")
        for row in await self.robot.service.outbox(queries.rows, None, 10_000):
            if row.state != "dead":
                self._check_row(row)

    def _check_row(self, row: Row) -> None:
        body = Path(row.path).read_bytes()
        known = [one for path, all_of in self.versions.items() for one in all_of]
        if not any(one == body for one in known):
            prefix = any(one.startswith(body) for one in known)
            if not prefix:
                raise Broken(f"row {row.id} of {row.name} holds bytes of no version")

    async def check_complete(self) -> None:
        """Each log that lies on the card has a row with its very bytes."""
        rows = await self.robot.service.outbox(queries.rows, None, 10_000)
        have = {Path(row.path).read_bytes() for row in rows}
        for path, content in self.card.files.items():
            if path.endswith(".ulg") and content not in have:
                raise Broken(f"{path} is not in the outbox")


def _error(task: asyncio.Future[float]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def _live(seed: int, folder: Path, loop: VirtualLoop) -> CardSimulation:
    simulation = CardSimulation(seed, folder, loop)
    try:
        await simulation.whole()
    finally:
        loop.dead = False
        await simulation.robot.stop()
    return simulation


def simulate(seed: int) -> CardSimulation:
    """Live one simulation; raises :class:`Broken`. The same seed runs the same way again."""
    folder = Path(tempfile.mkdtemp(prefix="petal-card-", dir="/dev/shm"))
    loop, before = VirtualLoop(), random.getstate()
    random.seed(seed)
    try:
        with mock.patch.dict(os.environ, {"PETAL_S3_CONFIG": ""}):
            return loop.run_until_complete(_live(seed, folder, loop))
    finally:
        random.setstate(before)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    broken = kills = logs = 0
    for seed in range(first, first + count):
        try:
            done = simulate(seed)
        except Broken as error:
            broken += 1
            print(f"seed {seed}: {error}", flush=True)  # noqa: T201
            continue
        kills, logs = kills + done.kills, logs + done.made
    print(f"{count} simulations, {logs} logs, {kills} kills: {broken} broken")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
