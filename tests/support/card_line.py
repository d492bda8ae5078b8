"""A line to an autopilot in virtual time: paced, late, lossy, with a short queue behind it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.ftp_client import Held
from petal_s3.autopilot.mavftp import DATA_BYTES, FRAME_BYTES
from petal_s3.demo.card_server import CardServer

REQUEST_BYTES = 33
"""A read on the line: MAVLink 2 leaves out the zeros at the end."""


@dataclass
class Line:
    """What lies between client and card; times in seconds, rates in bytes per second.

    ``most_waiting``: how many replies may wait to be sent; a request that comes then is dropped.
    """

    bytes_s: float = 92_160.0
    late_s: float = 0.001
    jitter_s: float = 0.0
    loss: float = 0.0
    most_waiting: int = 1000
    duplicates: float = 0.0

    def fits(self, seconds: float) -> float:
        """How many bytes of a file the line carries in so many seconds at best."""
        return self.bytes_s * seconds * DATA_BYTES / FRAME_BYTES


@dataclass
class World:
    """A carrier of payloads; everything happens in the loop's time."""

    server: CardServer
    line: Line = field(default_factory=Line)
    seed: int = 1
    heard: Callable[[bytes], None] | None = None
    sent: list[tuple[float, bytes]] = field(default_factory=list)
    """When each request left, and its payload."""
    received: int = 0
    before_answer: Callable[[bytes], None] = lambda _: None
    change_reply: Callable[[bytes], bytes | None] = lambda reply: reply
    hold: Callable[[], Held | None] = lambda: None
    others_heard: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._loop = asyncio.get_running_loop()
        self._down_free_at = self._up_free_at = 0.0

    @property
    def now(self) -> float:
        return self._loop.time()

    def card(self, *, may_reset: bool = False, max_rate: int = 0) -> MavftpCard:
        """A client at this end of the line."""

        def held() -> Held | None:
            return self.hold()

        terms = Terms(
            may_ask=held,
            may_begin=held,
            now=self._loop.time,
            may_reset=may_reset,
            max_rate=max_rate,
        )
        return MavftpCard(self, terms)

    def let_others_send(self, every_s: float, on_heard: Callable[[], None], queue_s: float) -> None:
        """Others send a frame so often from now on; one that would wait longer is dropped."""
        waits_s = self._down_free_at - self.now
        if waits_s <= queue_s:
            frame_s = FRAME_BYTES / self.line.bytes_s
            self._down_free_at = max(self.now, self._down_free_at) + frame_s
            self._loop.call_at(self._down_free_at, self._hear_other, on_heard)
        self._loop.call_later(every_s, self.let_others_send, every_s, on_heard, queue_s)

    def _hear_other(self, on_heard: Callable[[], None]) -> None:
        self.others_heard += 1
        on_heard()

    def opcodes(self) -> list[int]:
        """What was asked, in order."""
        return [payload[3] for _, payload in self.sent]

    def send(self, payload: bytes) -> None:
        self.sent.append((self.now, payload))
        self._up_free_at = max(self.now, self._up_free_at) + REQUEST_BYTES / self.line.bytes_s
        if not self._happens(self.line.loss):
            self._loop.call_at(self._up_free_at + self._late(), self._answer, payload)

    def _happens(self, share: float) -> bool:
        return self._random.random() < share

    def _late(self) -> float:
        return self.line.late_s + self._random.random() * self.line.jitter_s

    def _answer(self, payload: bytes) -> None:
        self.before_answer(payload)
        seconds = FRAME_BYTES / self.line.bytes_s
        if (self._down_free_at - self.now) / seconds > self.line.most_waiting:
            return
        answer = self.server.answer(payload, self.now)
        reply = None if answer is None else self.change_reply(answer)
        if reply is None:
            return
        self._down_free_at = max(self.now, self._down_free_at) + seconds
        for _ in range(1 + self._happens(self.line.duplicates)):
            if not self._happens(self.line.loss):
                self._loop.call_at(self._down_free_at + self._late(), self._hear, reply)

    def _hear(self, reply: bytes) -> None:
        self.received += 1
        if self.heard is not None:
            self.heard(reply)
