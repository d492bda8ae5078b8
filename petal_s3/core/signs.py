"""Signs of life of a loop, so that one that hangs is noticed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from petal_s3.core.clock import Clock


class Signs:
    """When a loop was last seen to go on; while it only waits to be woken it is well."""

    def __init__(self, now: Clock, longest_s: float) -> None:
        """``longest_s``: seconds that it may work without a sign."""
        self._now = now
        self._longest_s = longest_s
        self._given_at = now()
        self._rests = False

    @property
    def are_fresh(self) -> bool:
        """Whether the loop rests, or has given a sign within the longest time."""
        return self._rests or self._now() - self._given_at <= self._longest_s

    def give(self) -> None:
        """The loop goes on."""
        self._given_at = self._now()

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """The loop waits for as long as the block runs."""
        self._rests = True
        try:
            yield
        finally:
            self._rests = False
            self.give()
