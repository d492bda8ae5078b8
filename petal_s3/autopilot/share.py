"""Leave others their share of the line: what they sent before we read is what they may send now."""

from __future__ import annotations

from collections import deque

_LOOK_S = 1.0
_OVER_S = 4.0
"""Over how many seconds messages are counted: a heartbeat comes once in one."""
_KNOWN_AFTER_S = 5.0
_LEAST = 0.8
"""So much of its rate may be missing by chance; and one message."""
_SLOWER, _FASTER = 1.3, 0.93
_NO_PAUSE_S = 0.0005
_MOST_SLOWER = 16.0
"""Others who are heard no more often although reading is so much slower were not kept out by it."""


class Share:
    """Counts what others send while nothing is read, and slows reading down where it is less then.

    Where that does not help, they send less by themselves: that is what they may send from then on.
    Times are seconds, passed in.
    """

    def __init__(self) -> None:
        self.interval_s = 0.0
        """How long to wait between two requests, so that others are heard."""
        self._idle_since: float | None = None
        self._idle_count = 0
        self._usual: float | None = None
        """Messages of others in a second, while nothing was read."""
        self._heard: deque[tuple[float, int]] = deque()
        self._begun_at: float | None = None
        self._looked_at = 0.0
        self._unhindered_s = 0.0
        """The time between two requests before reading was slowed down."""
        self._sent = 0

    def heard(self, count: int, now: float) -> None:
        """Take in that others sent so many messages."""
        if self._begun_at is not None:
            self._heard.append((now, count))
            return
        if self._idle_since is None:
            self._idle_since = now
        self._idle_count += count

    def begin(self, now: float) -> None:
        """Reading begins."""
        if self._idle_since is not None and now - self._idle_since >= _KNOWN_AFTER_S:
            self._usual = self._idle_count / (now - self._idle_since)
        self._heard.clear()
        self._begun_at = self._looked_at = now
        self._sent = 0

    def end(self, now: float) -> None:
        """Reading has ended."""
        self._begun_at = None
        self._idle_since, self._idle_count = now, 0

    def sent(self, now: float) -> None:
        """Take in that a request was sent; now and then look whether others are heard."""
        self._sent += 1
        passed_s = now - self._looked_at
        if self._begun_at is None or self._usual is None or passed_s < _LOOK_S:
            return
        if now - self._begun_at >= _OVER_S:
            self._adapt(passed_s / self._sent, now)
        self._looked_at, self._sent = now, 0

    def _adapt(self, spacing_s: float, now: float) -> None:
        while self._heard and self._heard[0][0] < now - _OVER_S:
            self._heard.popleft()
        count = sum(one for _, one in self._heard)
        if count < _LEAST * (self._usual or 0.0) * _OVER_S - 1:
            if not self.interval_s:
                self._unhindered_s = spacing_s
            self.interval_s = _SLOWER * max(spacing_s, self.interval_s)
            if self.interval_s > _MOST_SLOWER * self._unhindered_s:
                self._usual, self.interval_s = count / _OVER_S, 0.0
        else:
            self.interval_s *= _FASTER
            if self.interval_s < _NO_PAUSE_S:
                self.interval_s = 0.0
