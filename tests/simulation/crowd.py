"""A thousand robots lose one link, and it is back: when do their requests arrive?

Each robot is a real drain (worker and pause) with a real client of the token service, on virtual
time; its outbox holds one log, whose attempt is two requests to S3.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import Offline, S3CredentialsError, S3IntegrationError
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.link_state import LinkState
from petal_s3.upload.pause import Timing
from petal_s3.upload.worker import Drainer, DrainHooks
from tests.simulation.loop import VirtualLoop

LATENCY_S = 0.05
_SYN_AGAIN_S = (0.0, 1.0, 3.0, 7.0, 15.0)
"""When Linux sends a SYN that is not answered."""
_PEER = ("s3.test", 443)
_LONG_S = 60.0
"""So long an outage is lived through; what is longer passes at once."""


@dataclass
class Arrivals:
    """When requests arrived, in seconds; never those of a link that is down."""

    s3: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    """Of each robot: when it was through, in seconds since the link was back."""


@dataclass
class Air:
    """The link that all robots share."""

    loop: VirtualLoop
    silent: bool
    """A link that is down loses packets; else connections are refused."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    up: bool = True

    async def connect(self, within_s: float) -> bool:
        """Whether a connection comes about."""
        for at, following in zip(_SYN_AGAIN_S, (*_SYN_AGAIN_S[1:], within_s), strict=True):
            if self.up:
                await asyncio.sleep(LATENCY_S)
                return True
            if not self.silent:
                await asyncio.sleep(LATENCY_S)
                return False
            await asyncio.sleep(max(0.0, min(following, within_s) - at))
            if following >= within_s:
                break
        return False


class Member:
    """One robot of many."""

    def __init__(self, air: Air, spread: Callable[[], float], ahead: list[float]) -> None:
        self.air, self.ahead = air, ahead
        self.sent_at = 0.0
        self.drainer = self._drainer(spread)
        self.tokens = TokenService("http://tokens.test", timeout_s=30, clock=self.now)
        self.tokens.post = self._post  # type: ignore[method-assign]
        self.tokens.spread = spread
        self.drainer.step = self._step  # type: ignore[method-assign]
        self._due_at = float("inf")
        self._failures = 0

    @property
    def sent(self) -> bool:
        return self.sent_at > 0

    def now(self) -> float:
        return self.air.loop.time() + self.ahead[0]

    def _drainer(self, spread: Callable[[], float]) -> Drainer:
        nothing = SimpleNamespace(link_state=LinkState())
        settings = load_settings(bucket_name="logs", machine_id="one")

        async def heard(*_: object) -> None:
            return None

        made = Drainer(
            settings,
            cast("Any", self._outbox),
            cast("Any", nothing),
            cast("Any", nothing),
            DrainHooks(lambda: None, heard, heard),
            Timing(self.now, spread, lambda _: self.air.connect(3.0)),
        )
        made.housekeeping.tidy_at = float("inf")
        return made

    async def _outbox(self, verb: Callable[..., object], *given: Any) -> object:
        """In place of the outbox: what the waiting of a drain asks of it."""
        if verb.__name__ == "make_due":
            self._due_at = min(self._due_at, self.now())
        if verb.__name__ == "next_due_s":
            return None if self.sent else max(0.0, self._due_at - self.now())
        return {"version": 0, "leftovers": [], "newest": 0, "look_on": 0}.get(verb.__name__)

    def land(self) -> None:
        """A log is there."""
        self._due_at = self.now()
        self.drainer.pause.new_log()

    async def _step(self) -> bool:
        """In place of an attempt: credentials, a body, the proof."""
        if self.sent or self._due_at > self.now():
            return False
        try:
            await self.tokens.get()
            await self._ask(self.air.arrivals.s3, Offline)
            await self._ask(self.air.arrivals.s3, Offline)
        except S3IntegrationError as error:
            pause = self.drainer.pause
            await pause.blocked(error)
            self._due_at = self.now() + pause.wait_s(self._failures, error, refused=False)
            self._failures += 1
        else:
            self.sent_at = self.air.loop.time()
            self.drainer.pause.succeeded()
        return True

    async def _ask(self, arrivals: list[float], error: type[S3IntegrationError]) -> None:
        if not await self.air.connect(15.0):
            raise error("No link.", peer=_PEER)
        arrivals.append(self.air.loop.time())
        await asyncio.sleep(LATENCY_S)

    async def _post(self, _: str | None) -> tuple[int, dict[str, str], bytes]:
        await self._ask(self.air.arrivals.tokens, S3CredentialsError)
        keys = '"accessKeyId": "a", "secretAccessKey": "b", "sessionToken": "c"'
        return 200, {}, f"{{{keys}}}".encode()


def returned(
    robots: int, outage_s: float, *, jitter: bool, silent: bool = False, seed: int = 0
) -> Arrivals:
    """Let so many robots lose their link for so long, each with a log; when do requests arrive?

    They all lose it at once, in the middle of an upload. Without ``jitter`` they all do the same.
    """
    dice = random.Random(seed)
    loop = VirtualLoop()
    air, ahead = Air(loop, silent, up=False), [0.0]
    crowd = [Member(air, dice.random if jitter else lambda: 1.0, ahead) for _ in range(robots)]

    async def live() -> None:
        tasks = [asyncio.ensure_future(one.drainer.run()) for one in crowd]
        for one in crowd:
            one.land()
        await asyncio.sleep(min(outage_s, _LONG_S) / 2)
        ahead[0] = max(0.0, outage_s - _LONG_S)
        await asyncio.sleep(min(outage_s, _LONG_S) / 2)
        air.up = True
        back_at = loop.time()
        while not all(one.sent for one in crowd):
            await asyncio.sleep(1.0)
        air.arrivals.waited = [one.sent_at - back_at for one in crowd]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        loop.run_until_complete(live())
    finally:
        loop.close()
    return air.arrivals


def most_in_a_second(arrivals: list[float]) -> int:
    """The most of them within any second."""
    ordered = sorted(arrivals)
    most = begin = 0
    for end, at in enumerate(ordered):
        while ordered[begin] <= at - 1.0:
            begin += 1
        most = max(most, end - begin + 1)
    return most
