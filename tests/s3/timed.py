"""A service whose clocks a test sets: hours pass without waiting."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import formatdate

from robot import Robot

from petal_s3.core import clock
from petal_s3.outbox import transitions
from petal_s3.s3.server_time import date_s
from petal_s3.service.service import Service
from tests.support.known import KNOWN

HOUR_S = 3600.0
_YEAR_2100_S = 4_102_444_800


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


async def timed(
    robot: Robot,
    *,
    wall: Callable[[], float] | None = None,
    spread: Callable[[], float] = lambda: 0.0,
    **settings: object,
) -> tuple[Service, Hand]:
    """A new process on the outbox of ``robot``, and the hand of its clock; ``wall``: its date."""
    await robot.service.stop()
    now = Hand(clock.now())
    more = {} if wall is None else {"wall": wall}
    kept = robot.service.settings.model_copy(update=settings)
    service = Service(kept, now=now, capabilities=KNOWN, **more)
    service.drainer.timing.spread = spread
    _date_by(service, now)
    robot._services.append(service)
    await service.open()
    await service.outbox(transitions.release_claims)
    return service, now


def _date_by(service: Service, now: Hand) -> None:
    """Let the date that S3 tells move with the hand."""
    learn = service.s3.clock.learn

    def moved(date: str) -> float:
        told = date_s(date)
        if told is None or not 0 < told < _YEAR_2100_S:
            return learn(date)
        return learn(formatdate(told + now.at - clock.now(), usegmt=True))

    service.s3.clock.learn = moved  # type: ignore[method-assign]


async def passing(service: Service, now: Hand, seconds: float) -> None:
    """Let the drain do what it does in so many seconds, without the waiting in between."""
    end = now.at + seconds
    turns = 0
    while now.at < end:
        now.at += await service.drainer.turn()
        turns += 1
        assert turns < seconds, "the drain spins"


def jitter(seed: int = 0) -> Callable[[], float]:
    """Waiting times as in real life, and the same in every run."""
    return random.Random(seed).random
