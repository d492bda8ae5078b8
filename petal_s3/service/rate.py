"""The one measured rate: bytes that the peer acknowledged, over ten seconds and more."""

from __future__ import annotations

from collections import deque

_LEAST_S = 10.0
_WINDOW_S = 20.0
_EVERY_S = 0.5


class Rate:
    """Bytes per second over the last ten to twenty seconds, from a counter that only grows.

    Until an upload has gone on for ten seconds no rate is known, and ten seconds in which nothing
    moves are a standstill: both are 0.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._moved_at = 0.0

    def take(self, now: float, total: int) -> float:
        """Take a sample at ``now`` (s) and return bytes per second."""
        samples = self._samples
        if not samples or total > samples[-1][1]:
            self._moved_at = now
        if now - self._moved_at >= _LEAST_S:
            samples.clear()
        if not samples or now - samples[-1][0] >= _EVERY_S:
            samples.append((now, total))
        while len(samples) > 1 and samples[0][1] == samples[1][1]:
            samples.popleft()  # idle before the first byte: no part of the upload's speed
        while len(samples) > 1 and now - samples[1][0] >= _WINDOW_S:
            samples.popleft()
        then, before = samples[0]
        return (total - before) / (now - then) if now - then >= _LEAST_S else 0.0
