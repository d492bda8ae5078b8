"""A line to an autopilot in time of its own: paced, late, lossy, with a short queue behind it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from petal_s3.autopilot.driving import Talk
from petal_s3.autopilot.mavftp import FRAME_BYTES, parse
from petal_s3.demo.card_server import CardServer

REQUEST_BYTES = 33
"""A read on the line: MAVLink 2 leaves out the zeros at the end."""


@dataclass
class Line:
    """What lies between client and card; times in seconds, rates in bytes per second."""

    bytes_s: float = 92_160.0
    late_s: float = 0.001
    jitter_s: float = 0.0
    loss: float = 0.0
    most_waiting: int = 1000
    """Replies that wait to be sent; a request that comes meanwhile is dropped."""
    duplicates: float = 0.0


@dataclass
class World:
    """Plays client, line and card in virtual time; ``now`` is what a test measures."""

    server: CardServer
    line: Line = field(default_factory=Line)
    seed: int = 1
    now: float = 1000.0
    requests: int = 0
    replies: int = 0
    before_answer: Callable[[World], None] | None = None
    """Called before the card answers each request."""
    before_hearing: Callable[[World], None] | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._free_at = 0.0
        self._up_free_at = 0.0
        self._talk: Talk | None = None

    def run(self, talk: Talk, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let the conversation go on until it is done."""
        self._talk = talk
        while not talk.done and not until():
            while (payload := talk.due(self.now)) is not None:
                self._up(payload)
            if talk.done or until():
                break
            at = talk.next_at()
            if self._events and (at is None or self._events[0][0] <= at):
                self.now, _, event = heapq.heappop(self._events)
                event()
            else:
                assert at is not None, "nothing will ever happen"
                self.now = max(self.now, at)

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _lost(self) -> bool:
        return self._random.random() < self.line.loss

    def _up(self, payload: bytes) -> None:
        self.requests += 1
        size = REQUEST_BYTES
        self._up_free_at = max(self.now, self._up_free_at) + size / self.line.bytes_s
        if not self._lost():
            self._at(self._up_free_at + self._late(), lambda: self._answer(payload))

    def _late(self) -> float:
        return self.line.late_s + self._random.random() * self.line.jitter_s

    def _answer(self, payload: bytes) -> None:
        if self.before_answer is not None:
            self.before_answer(self)
        seconds = FRAME_BYTES / self.line.bytes_s
        if (self._free_at - self.now) / seconds > self.line.most_waiting:
            return
        reply = self.server.answer(payload, self.now)
        if reply is None:
            return
        self.replies += 1
        self._free_at = max(self.now, self._free_at) + seconds
        for _ in range(1 + (self._random.random() < self.line.duplicates)):
            if not self._lost():
                self._at(self._free_at + self._late(), lambda: self._hear(reply))

    def _hear(self, reply: bytes) -> None:
        if self.before_hearing is not None:
            self.before_hearing(self)
        understood = parse(reply)
        assert understood is not None
        assert self._talk is not None
        self._talk.take(understood, self.now)
