"""Say when the log directories are to be scanned: after an event, when asked, by the clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor

from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.intake.file_events import Change, FileEvents, Ways
from petal_s3.intake.log_directories import log_directories
from petal_s3.intake.looking import Found
from petal_s3.intake.places import MountTable, Places, look_at
from petal_s3.logs.sniff import named_like

OFTEN_S = 30.0
"""Seconds between scans where file-system events do not tell every new file."""
_LOOK_S = 1.0
_LOOK_SELDOM_S = 60.0


class Noticing:
    """When the next scan is due. ``busy``: whether the file at a path is watched already."""

    def __init__(self, settings: Settings, now: Clock, busy: Callable[[str], bool]) -> None:
        self._settings = settings
        self._now = now
        self._busy = busy
        self._kinds = frozenset[str]().union(*(one.kinds for one in log_directories(settings)))
        self.events = FileEvents(self._on_changes)
        self._changed = False
        self._begun = False
        self._mounts: MountTable | None = None
        self._places: Places | None = None
        self._ways: Ways = {}
        self._all_read = True
        self._look_at = self._scanned_at = self._scan_at = now()
        self._rest_until = self._scan_at
        self._asked = False
        self.stirred = asyncio.Event()
        """Set when something has happened: there may be something to do before :meth:`wait_s`."""

    # -- when

    def ask(self) -> None:
        """A scan is asked for."""
        self._asked = True
        self.stirred.set()

    def due(self) -> bool:
        """Whether it is time to scan."""
        now = self._now()
        changed = self._changed and now >= self._rest_until
        return self._asked or changed or now >= self._scan_at

    def wait_s(self) -> float:
        """Seconds until there is something to do, as far as is known now."""
        at = min(self._scan_at, self._look_at) if self._begun else self._scan_at
        if self._changed:
            at = min(at, self._rest_until)
        return 0.0 if self._asked else max(0.0, at - self._now())

    def at_once(self) -> None:
        """A scan is due now."""
        self._scan_at = self._now()

    def begins(self) -> None:
        """A scan begins. What happens from now on needs another one; so does a failure of this."""
        self._asked = self._changed = False
        self._scanned_at = self._now()
        self.at_once()

    async def ended(self, found: Found, files: Executor) -> None:
        """A scan has ended and ``found`` what it found; events of new folders are listened to."""
        self._all_read = not found.unread
        if self._begun:
            await self._find_places(files)
            if self.events.wants(found.folders, self._ways):
                watches = await run_in(files, self.events.set, found.folders, self._ways)
                self.events.listen(watches, found.folders, self._ways)
        took_s = self._now() - self._scanned_at
        # Where there is very much to look through, logs that come one by one wait a little.
        self._rest_until = self._now() + max(_LOOK_S, 10 * took_s)
        self._scan_at = self._now() + self.interval_s

    async def _find_places(self, files: Executor) -> None:
        directories = self._settings.directories
        self._places, self._ways = await run_in(files, look_at, directories, self._mounts)

    @property
    def interval_s(self) -> float:
        """Seconds between two scans when nothing tells of a change."""
        often = self._begun and (self.blindness or not self._all_read)
        return min(OFTEN_S, self._settings.scan_interval) if often else self._settings.scan_interval

    # -- events

    def begin(self) -> None:
        """Listen to events from the next scan on, until :meth:`end`."""
        self._begun = True
        self._mounts = MountTable()
        if self._mounts.fd is not None:
            asyncio.get_running_loop().add_reader(self._mounts.fd, self._on_mounts)
        self.at_once()

    async def look(self, files: Executor) -> None:
        """See if a log directory was made, moved or mounted: once a second where no event tells."""
        if not self._begun or self._now() < self._look_at:
            return
        before = self._places, self._ways
        await self._find_places(files)
        if (self._places, self._ways) != before:
            self.events.set_anew()
            self.at_once()
        self._scan_at = min(self._scan_at, self._now() + self.interval_s)
        told = self.events.follows_ways and self._mounts is not None and self._mounts.fd is not None
        self._look_at = self._now() + (_LOOK_SELDOM_S if told else _LOOK_S)

    async def end(self) -> None:
        """Listen no longer."""
        self._begun = False
        self.events.close()
        mounts, self._mounts = self._mounts, None
        if mounts is not None:
            if mounts.fd is not None:
                asyncio.get_running_loop().remove_reader(mounts.fd)
            mounts.close()

    def _on_mounts(self) -> None:
        if self._mounts is not None:
            self._mounts.changed()
        self._look_at = self._now()
        self.stirred.set()

    def _on_changes(self, changes: set[Change]) -> None:
        """No change: anything may have come before it listened, or the ways are others."""
        if not changes:
            self._look_at = self._now()
        if not changes or any(map(self.matters, changes)):
            self._changed = True
            self.stirred.set()

    def matters(self, change: Change) -> bool:
        """Whether a change of a path is a reason to look soon."""
        path, is_folder = change
        if self._busy(path):
            return False
        return is_folder or named_like(os.path.basename(path), self._kinds)  # noqa: PTH119

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
