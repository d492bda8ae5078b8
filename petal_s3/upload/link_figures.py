"""What the link was last seen to carry, and for how long: the sizes of parts go by it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from petal_s3.core.clock import Clock
from petal_s3.outbox import facts
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.request_body import ByteCounter

_FACT = "link"
_TELLING_BYTES = 4 * 1024 * 1024  # of less, most of the time goes into round trips
_TELLING_OF_A_CUT = 256 * 1024
_REST_S = 60.0
_SHORTEST_S = 0.001
_ALIKE = 0.25


@dataclass(frozen=True)
class LinkFigures:
    """What was seen last; 0 is not known."""

    rate_bytes_s: float = 0.0
    """Acknowledged while bodies were on their way."""
    life_s: float = 0.0
    """How long it carried bodies before it broke."""
    cut: bool = False
    """It broke in an upload, and none has passed uncut since."""


class LinkMeter:
    """Measures the link by the bodies that it carries; kept in the outbox for the next process.

    All times are seconds since boot.
    """

    def __init__(self, outbox: OutboxThread, sent: ByteCounter, now: Clock) -> None:
        self.figures = LinkFigures()
        self._outbox = outbox
        self._sent = sent
        self._now = now
        self._kept: LinkFigures | None = None
        self._bodies = 0  # on their way now
        self._began = (0.0, 0)  # when the first of these began, and the counter then
        self._busy_s, self._carried = 0.0, 0  # since it was measured last
        self._up_at: float | None = None

    async def load(self) -> None:
        """Take in what an earlier process has seen, once."""
        if self._kept is None:
            self._kept = self.figures = _read(await self._outbox(facts.value, _FACT))

    async def keep(self) -> None:
        """Write down what was seen, where that is more than a slight change."""
        if self._kept is not None and not _alike(self.figures, self._kept):
            await self._outbox(facts.keep, _FACT, json.dumps(asdict(self.figures)))
            self._kept = self.figures

    @contextlib.contextmanager
    def carries(self) -> Iterator[None]:
        """A body is on its way; the time with at least one of them counts for the rate."""
        if not self._bodies:
            self._began = self._now(), self._sent.acknowledged
            if self._up_at is None or self._now() - self._sent.moved_at > _REST_S:
                self._up_at = self._now()
        self._bodies += 1
        try:
            yield
        finally:
            self._bodies -= 1
            if not self._bodies:
                at, before = self._began
                self._busy_s += max(0.0, self._sent.moved_at - at)
                self._carried += self._sent.acknowledged - before

    def broke(self) -> None:
        """The link broke in an upload."""
        life_s = self.figures.life_s
        if self._up_at is not None:  # else no body has left: nothing is seen of a life
            life_s = max(_SHORTEST_S, self._sent.moved_at - self._up_at)
        self._up_at = None
        self._measure(_TELLING_OF_A_CUT)
        self.figures = replace(self.figures, life_s=life_s, cut=True)

    def passed(self) -> None:
        """An upload has passed uncut."""
        self._measure(_TELLING_BYTES)
        life_s = self.figures.life_s
        if life_s and self._up_at is not None:  # it lives longer now than it did
            life_s = max(life_s, self._sent.moved_at - self._up_at)
        self.figures = replace(self.figures, life_s=life_s, cut=False)

    def _measure(self, least_bytes: int) -> None:
        if self._carried >= least_bytes and self._busy_s > 0:
            rate = self._carried / self._busy_s
            self.figures = replace(self.figures, rate_bytes_s=rate)
        self._busy_s, self._carried = 0.0, 0


def _read(kept: str) -> LinkFigures:
    """What was written, or nothing known where another version wrote something else."""
    try:
        told = json.loads(kept)
        return LinkFigures(float(told["rate_bytes_s"]), float(told["life_s"]), bool(told["cut"]))
    except (ValueError, TypeError, KeyError):
        return LinkFigures()


def _alike(one: LinkFigures, other: LinkFigures) -> bool:
    return one.cut == other.cut and all(
        abs(a - b) <= _ALIKE * max(a, b)
        for a, b in ((one.rate_bytes_s, other.rate_bytes_s), (one.life_s, other.life_s))
    )
