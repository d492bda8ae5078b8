"""One request until it is answered: sent again, under the same number, while nothing comes."""

from __future__ import annotations

import random
from collections.abc import Sequence

from petal_s3.autopilot.mavftp import SEQUENCES, Opcode, Reply, Request

_WAITS_S = (0.4, 0.8, 1.6, 2.0, 2.0)
_CRC_WAITS_S = (20.0, 20.0)
"""The autopilot reads the whole file, and does nothing else meanwhile."""


class Sequence16:
    """Numbers of requests. The first is random: autopilots answer a number they know from before
    with what they answered then."""

    def __init__(self, first: int | None = None) -> None:
        drawn = random.randrange(SEQUENCES)  # noqa: S311 - no secret
        self.last = drawn if first is None else first

    def next(self) -> int:
        """A number that no request on its way has."""
        self.last = (self.last + 1) % SEQUENCES
        return self.last


class Question:
    """Sans-IO: bytes out by :meth:`due`, replies in by :meth:`take`; times are seconds, passed in.

    A repeated request has the same number, so that the autopilot can answer it as it did before:
    to open a file twice would take two sessions.
    """

    def __init__(
        self, request: Request, numbers: Sequence16, *, waits_s: Sequence[float] = ()
    ) -> None:
        self.reply: Reply | None = None
        self.silent = False
        """Nobody has answered, though all requests were sent."""
        self._request = request
        self._numbers = numbers
        self._number = numbers.next()
        usual = _CRC_WAITS_S if request.opcode == Opcode.CRC32 else _WAITS_S
        self._waits = list(waits_s or usual)
        self._again_at: float | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sent, and nothing is waited for."""
        return self.reply is not None or self.silent

    def next_at(self) -> float | None:
        """When :meth:`due` has something to say without any reply; none: now."""
        return self._again_at

    def due(self, now: float) -> bytes | None:
        """What is to be sent now; none where nothing is."""
        if self.done or (self._again_at is not None and now < self._again_at):
            return None
        if not self._waits:
            self.silent = True
            return None
        self._again_at = now + self._waits.pop(0)
        return self._request.payload(self._number)

    def take(self, reply: Reply, now: float) -> None:
        """Take in a reply of any request."""
        if self.done or reply.answers != self._number or self._again_at is None:
            return
        if reply.belongs_to(self._request):
            self.reply = reply
        else:  # what the autopilot answered to this number of another client
            self._number = self._numbers.next()
            self._again_at = now
