"""How many requests may be on their way: as many as the line answers without a long queue."""

from __future__ import annotations

LEAST, MOST = 2, 32

_QUEUE_S = 0.1
"""How long a reply may wait behind others of ours: loops and threads are late by that."""
_QUEUE_FRAMES = 3
"""On slow lines so many of them instead: less would leave the line idle now and then."""
_MEASURE_EVERY_S = 60.0
_MEASUREMENTS = 4
_FIRST_RTO_S, _MOST_RTO_S = 1.0, 4.0
_BUSY_S = 0.2
"""So late a machine that is busy may be: what is lost is mostly told by what overtakes it, and who
asks too early gets it twice."""


class Window:
    """Grows by one per round trip while replies do not wait, by one per reply until they do for the
    first time; is halved at loss, but not below what the line itself holds.

    A reply that takes longer than on the idle line waits in a queue, where heartbeats wait behind
    it. How long it takes on the idle line is measured anew every minute, with two requests on
    their way. All times are seconds.
    """

    def __init__(self) -> None:
        self._size = float(LEAST)
        self._is_new = True
        """Nothing has waited or was lost by now."""
        self._held = float(LEAST)
        """How many frames the line holds where none waits."""
        self._smooth: float | None = None
        self._spread = 0.0
        self._idle: float | None = None
        """What a round trip takes on the idle line."""
        self._samples: list[float] = []
        self._measured_at: float | None = None

    @property
    def limit(self) -> int:
        """How many requests may be on their way now."""
        return LEAST if self._idle is None else int(self._size)

    @property
    def patience_s(self) -> float:
        """How long to wait for a reply before its request counts as lost."""
        if self._smooth is None:
            return _FIRST_RTO_S
        return min(_MOST_RTO_S, self._smooth + max(_BUSY_S, 4 * self._spread))

    def answered(self, took_s: float, in_flight: int, now: float) -> None:
        """Take in that a reply came ``took_s`` after its request, one of ``in_flight``."""
        self._estimate(took_s)
        if self._measured_at is None:
            self._measured_at = now
        if self._idle is None:
            self._measure(took_s, in_flight, now)
            return
        self._idle = min(self._idle, took_s)
        self._held += (in_flight * self._idle / took_s - self._held) / 8 if took_s else 0.0
        self._adapt(took_s - self._idle, took_s / in_flight, in_flight)
        if now - self._measured_at >= _MEASURE_EVERY_S:
            self._idle, self._samples = None, []

    def lost(self) -> None:
        """Take in that replies of one round trip are missing."""
        self._is_new = False
        self._size = max(LEAST, self._size / 2, min(self._size, self._held + 1))

    def silent(self) -> None:
        """Take in that nothing came at all."""
        self._is_new = False
        self._size = float(LEAST)

    def _adapt(self, waited_s: float, frame_s: float, in_flight: int) -> None:
        allowed_s = max(_QUEUE_S, _QUEUE_FRAMES * frame_s)
        if waited_s > allowed_s:
            self._is_new = False
        if waited_s > 2 * allowed_s:
            self._size = max(LEAST, self._size - 1 / self._size)
        elif waited_s <= allowed_s and in_flight >= self.limit:
            self._size = min(MOST, self._size + (1.0 if self._is_new else 1 / self._size))

    def _estimate(self, took_s: float) -> None:
        if self._smooth is None:
            self._smooth, self._spread = took_s, took_s / 2
            return
        self._spread += (abs(took_s - self._smooth) - self._spread) / 4
        self._smooth += (took_s - self._smooth) / 8

    def _measure(self, took_s: float, in_flight: int, now: float) -> None:
        if in_flight <= LEAST:
            self._samples.append(took_s)
        if len(self._samples) >= _MEASUREMENTS:
            self._idle, self._measured_at = min(self._samples), now
