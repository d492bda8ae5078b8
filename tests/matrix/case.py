"""One case: a chain of operations in front of one personality, and again where a setting helps."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.matrix.chain import Blocked, Chain
from tests.matrix.drone import Drone
from tests.matrix.place import PART, Place, VirtualPlace, on_a_wire
from tests.matrix.sentences import unfounded
from tests.simulation.drone import in_this_world
from tests.simulation.loop import VirtualLoop
from tests.simulation.simulation import _end
from tests.support.personality import Personality

# What may block the drain, the setting that its sentence names, and what an operator then sets.
# Where no setting helps, the server is mended.
_BLOCKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "encryption": ("PETAL_S3_SSE", {"sse": "none"}),
    "address": ("PETAL_S3_ADDRESS_STYLE", {"address_style": "virtual"}),
    "credentials": ("PETAL_S3_SESSION_TOKEN_URL", {}),
    # A policy without that permission: until it is given, what S3 has confirmed is kept.
    "list-parts": ("ListParts was answered 403 AccessDenied", {}),
}
_MUST_BLOCK = {"encryption", "credentials"}
_RAM = Path("/dev/shm")


@dataclass
class Report:
    """How a case went; ``failures`` is empty when all held."""

    name: str
    failures: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    """The sentences that said why nothing could be sent, before a setting was changed."""
    proofs: dict[str, str] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    trace: list[str] = field(default_factory=list)


@dataclass
class Case:
    """What is to be played next of a case, until all odd features of a pair had their turn."""

    personality: Personality
    report: Report
    settings: dict[str, Any] = field(default_factory=dict)
    _unset: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, personality: Personality) -> Case:
        unset = [one for one in _BLOCKERS if personality.how(one)]
        if personality.how("list-parts") != "403 AccessDenied":
            unset = [one for one in unset if one != "list-parts"]
        return cls(personality, Report(str(personality)), {}, unset)

    def judge(self, chain: Chain, blocked: Blocked | None) -> bool:
        """Take in how it was played; whether it is to be played again, with a setting changed."""
        report = self.report
        report.failures += chain.failures
        report.requests += len(chain.drone.place.ledger.requests())
        report.proofs, report.sent = chain.proofs, chain.sent
        report.trace += _trace(chain)
        if blocked is None:
            must = [one for one in self._unset if one in _MUST_BLOCK]
            if must and not chain.failures:
                report.failures.append(f"{must[0]} was refused, and did not block")
            return False
        report.blocked.append(blocked.reason)
        named = next((one for one in self._unset if _BLOCKERS[one][0] in blocked.reason), None)
        if named is None:
            report.failures.append(f"{chain.drone.ears.during}: blocked by {blocked}")
            return False
        self._unset.remove(named)
        setting = _BLOCKERS[named][1]
        self.settings |= setting
        if not setting:
            self.personality = self.personality.without(named)
        return True


async def _played(place: Place, home: Path, part: int, case: Case) -> tuple[Chain, Blocked | None]:
    drone = Drone(place, home, part, **case.settings)
    chain, blocked = Chain(drone, case.personality), None
    with drone.ears.listening():
        try:
            await chain.run()
        except Blocked as error:
            blocked = error
    chain.failures += unfounded(case.personality, drone.ears.heard)
    return chain, blocked


def _trace(chain: Chain) -> list[str]:
    seen = chain.drone.place.ledger.requests()
    asked = [
        f"{one.started:10.3f} {one.op} {one.key.rsplit('/', 1)[-1]} {one.part or ''} {one.range}"
        f" {one.body_bytes} bytes -> {one.status} {one.fault}"
        for one in seen
    ]
    return [*asked, *(f"[{one.during}] {one.text}" for one in chain.drone.ears.heard)]


def in_virtual_time(personality: Personality, part: int = PART) -> Report:
    """Play a case without sockets: hours pass at once."""
    case = Case.of(personality)
    while case.judge(*_virtually(case, part)):
        pass
    return case.report


def _virtually(case: Case, part: int) -> tuple[Chain, Blocked | None]:
    loop = VirtualLoop()
    place = VirtualPlace(loop, case.personality, part)
    with _disk() as home, in_this_world(place):
        try:
            return loop.run_until_complete(_played(place, home, part, case))
        finally:
            loop.dead = True
            _end(loop)


async def on_the_wire(personality: Personality, part: int = PART) -> Report:
    """Play a case over real sockets, in real time."""
    case, again = Case.of(personality), True
    while again:
        async with on_a_wire(case.personality, part) as place:
            with _disk() as home:
                again = case.judge(*await _played(place, home, part, case))
    return case.report


@contextlib.contextmanager
def _disk() -> Iterator[Path]:
    """A directory in memory where there is some, gone in the end."""
    ram = _RAM.is_dir() and os.access(_RAM, os.W_OK)
    path = Path(tempfile.mkdtemp(prefix="petal-case-", dir=_RAM if ram else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
