"""Whether the host can hear its autopilot: its locks are looked at, never taken.

petal-app-manager 0.2.7 reads MAVLink under one lock. A download from the autopilot, as
petal-flight-log makes it, holds that lock and a second one from its first byte to its last: no
heartbeat reaches a handler meanwhile. The host's own threads take the first lock a thousand times a
second, so that it looks held at nearly every moment: alone it says nothing. It is held by somebody
else where the host is not connected (then it does not read), or where what it has to send stays
unsent, and nothing was heard at all meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Protocol, cast

LOOK_S = 0.5
"""How often to look."""
STUCK_S = 2.0
"""How long the first lock must be seen held, with nothing heard: two heartbeats of an autopilot."""

DOWNLOAD_LOCK, MAVLINK_LOCK, SEND_QUEUES = "_download_lock", "_mav_lock", "_send"
"""Private attributes of the host's ``ext_mavlink``; a test holds them to the installed host."""


class _Lock(Protocol):
    def locked(self) -> bool: ...


class Hearing:
    """Looks at the host's ``ext_mavlink``; times are seconds of one steady clock, passed in."""

    def __init__(self, mavlink: object) -> None:
        self._mavlink = mavlink
        self._heard_at = 0.0
        self._stuck_since: float | None = None
        self._downloaded_at: float | None = None

    def heard(self, now: float) -> None:
        """Take in that a message came, whoever sent it."""
        self._heard_at = now

    def is_possible(self, now: float) -> bool:
        """Look whether the host can hear now; also true of a host without these locks."""
        if self.downloads(now):
            return False
        if not self._is_stuck():
            self._stuck_since = None
            return True
        if self._stuck_since is None:
            self._stuck_since = now
        return now - max(self._stuck_since, self._heard_at) < STUCK_S

    def downloads(self, now: float) -> bool:
        """Whether the host lists or fetches files of the autopilot at this moment."""
        if self._locked(DOWNLOAD_LOCK):
            self._downloaded_at = now
            return True
        return False

    def downloaded_within(self, seconds: float, now: float) -> bool:
        """Whether it was seen to do so a moment ago: it lets go between two files."""
        downloads = self.downloads(now)
        return downloads or (self._downloaded_at or float("-inf")) > now - seconds

    def _is_stuck(self) -> bool:
        if not self._locked(MAVLINK_LOCK):
            return False
        queues = cast("Mapping[str, Sized]", getattr(self._mavlink, SEND_QUEUES, {}))
        connected = bool(getattr(self._mavlink, "connected", True))
        return not connected or any(len(queue) for queue in list(queues.values()))

    def _locked(self, name: str) -> bool:
        lock = cast("_Lock | None", getattr(self._mavlink, name, None))
        return lock is not None and lock.locked()
