"""How long to leave alone what failed."""

from __future__ import annotations

_LONGEST_S = 900.0
_SHORTEST_S = 5.0


class Backoff:
    """Each failure in a row doubles the wait, from 5 s to a quarter of an hour."""

    def __init__(self) -> None:
        self._failures = 0
        self.until = float("-inf")

    def failed(self, now: float) -> None:
        """It failed at ``now``."""
        self.until = now + min(_LONGEST_S, _SHORTEST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
