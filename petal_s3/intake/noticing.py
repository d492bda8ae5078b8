"""Say when the log directories are to be scanned: after an event, when asked, by the clock."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.intake.file_events import DELETED, Change, FileEvents
from petal_s3.intake.log_directories import log_directories
from petal_s3.intake.looking import Found
from petal_s3.intake.places import Places, places_of
from petal_s3.logs.sniff import named_like

OFTEN_S = 30.0
"""Seconds between scans where file-system events do not tell every new file."""
_LOOK_S = 1.0


class Noticing:
    """When the next scan is due. ``busy``: whether the file at a path is watched already."""

    def __init__(self, settings: Settings, now: Clock, busy: Callable[[str], bool]) -> None:
        self._settings = settings
        self._now = now
        self._busy = busy
        self._kinds = frozenset[str]().union(*(one.kinds for one in log_directories(settings)))
        self.events = FileEvents(self._on_changes)
        self._changed = threading.Event()
        self._begun = False
        self._places: Places | None = None
        self._all_read = True
        self._look_at = self._scanned_at = self._scan_at = now()
        self._rest_until = self._scan_at
        self.asked = asyncio.Event()

    # -- when

    def due(self) -> bool:
        """Whether it is time to scan."""
        now = self._now()
        changed = self._changed.is_set() and now >= self._rest_until
        return self.asked.is_set() or changed or now >= self._scan_at

    def at_once(self) -> None:
        """A scan is due now."""
        self._scan_at = self._now()

    def begins(self) -> None:
        """A scan begins. What happens from now on needs another one; so does a failure of this."""
        self.asked.clear()
        self._changed.clear()
        self._scanned_at = self._now()
        self.at_once()

    async def ended(self, found: Found, files: Executor) -> None:
        """A scan has ended and ``found`` what it found; events of new folders are listened to."""
        self._all_read = not found.unread
        if self._begun:
            self._places = await run_in(files, places_of, self._settings.directories)
            await run_in(files, self.events.listen, found.folders)
        took_s = self._now() - self._scanned_at
        # Where there is very much to look through, logs that come one by one wait a little.
        self._rest_until = self._now() + max(_LOOK_S, 10 * took_s)
        self._scan_at = self._now() + self.interval_s

    @property
    def interval_s(self) -> float:
        """Seconds between two scans when nothing tells of a change."""
        often = self._begun and (self.blindness or not self._all_read)
        return min(OFTEN_S, self._settings.scan_interval) if often else self._settings.scan_interval

    # -- events

    def begin(self) -> None:
        """Listen to events from the next scan on, until :meth:`end`."""
        self._begun = True
        self.at_once()

    async def look(self, files: Executor) -> None:
        """Once a second: see if a log directory was made, moved or mounted, or events fail."""
        if not self._begun or self._now() < self._look_at:
            return
        self._look_at = self._now() + _LOOK_S
        if await run_in(files, places_of, self._settings.directories) != self._places:
            self.events.set_anew()
            self.at_once()
        self._scan_at = min(self._scan_at, self._now() + self.interval_s)

    async def end(self, files: Executor) -> None:
        """Listen no longer."""
        self._begun = False
        await run_in(files, self.events.close)

    def _on_changes(self, changes: set[Change]) -> None:
        """On the thread of the events. No change: anything may have come before it listened."""
        if not changes or any(map(self._matters, changes)):
            self._changed.set()

    def _matters(self, change: Change) -> bool:
        what, path = change
        if what == DELETED or self._busy(path):
            return False
        return named_like(os.path.basename(path), self._kinds) or os.path.isdir(path)  # noqa: PTH112, PTH119

    # -- why not

    @property
    def blindness(self) -> str:
        """Why events do not tell every new file; empty where they do."""
        if self.events.failure:
            return self.events.failure
        blind = self._places.blind if self._places is not None else []
        return "; ".join(f"{point} is of the type {kind}" for point, kind in blind)

    @property
    def advice(self) -> list[str]:
        """What a person may do about events that fail; empty where that is nothing."""
        if not self._begun or not self.events.failure:
            return []
        return [
            f"New logs are noticed every {self.interval_s:g} s only, not by file-system events:"
            f" {self.events.failure}."
        ]
