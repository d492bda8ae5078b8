"""Notice by file-system events that something changes in folders, or on the way to them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from petal_s3.core.event_reader import EventReader
from petal_s3.core.inotify import CHANGES, COMES, ENDS, GOES, IS_FOLDER, OVERFLOWED, Event, Inotify

MOST_FOLDERS = 500
"""So many folders are watched at most: users share the watches that the kernel grants."""
_GATHER_S = 1.0
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_GRANTED = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Change = tuple[str, bool]
"""A path at which something came or changed, and whether it is a folder."""
Ways = Mapping[str, frozenset[str]]
"""Folders, and the names in each by which a way leads on."""


@dataclass
class Watches:
    """Watches that were set: of folders, and of ways by the names that matter."""

    source: Inotify
    folders: dict[int, str] = field(default_factory=dict)
    ways: dict[int, frozenset[str]] = field(default_factory=dict)
    all_ways: bool = True
    """Whether each change on the ways is told."""

    def add_folder(self, folder: str) -> None:
        """Watch a folder; raises ``OSError`` where the kernel grants no more."""
        try:
            self.folders[self.source.watch(folder, COMES | GOES | CHANGES)] = folder
        except OSError as error:
            if error.errno not in {*_NOT_THERE, errno.EACCES}:  # which the scan tells, too
                raise

    def add_way(self, folder: str, names: frozenset[str]) -> None:
        """Watch for ``names`` in a folder; raises as :meth:`add_folder`."""
        try:
            watch = self.source.watch(folder, COMES | GOES)
        except OSError as error:
            if error.errno in _GRANTED:
                raise
            self.all_ways = False
        else:
            self.ways[watch] = self.ways.get(watch, frozenset()) | names


class FileEvents:
    """The events of some folders, not of the folders in them."""

    def __init__(self, changed: Callable[[set[Change]], None]) -> None:
        """``changed`` is called in the loop: with no changes when all may be another now."""
        self.failure = ""
        """Why events do not tell all, as a sentence; empty where they do."""
        self.changed = changed
        self._folders: tuple[str, ...] = ()
        self._ways: Ways = {}
        self._watches: Watches | None = None
        self._reader: EventReader | None = None
        self._stale = False

    @property
    def listens(self) -> bool:
        """Whether events are waited for."""
        return self._reader is not None

    @property
    def follows_ways(self) -> bool:
        """Whether each change on the ways is told."""
        return self._reader is not None and self._watches is not None and self._watches.all_ways

    def wants(self, folders: Sequence[str], ways: Ways) -> bool:
        """Whether watches have to be set for these folders and ways: others are, or none."""
        same = (tuple(sorted(folders)), ways) == (self._folders, self._ways)
        return not same or self._reader is None or self._stale

    def set(self, folders: Sequence[str], ways: Ways) -> Watches | None:
        """Watches on these folders and on the ways; none where ``failure`` says why; blocking."""
        self.failure = ""
        if len(folders) > MOST_FOLDERS:
            self.failure = f"there are {len(folders)} folders, more than {MOST_FOLDERS}"
            return None
        try:
            with ExitStack() as on_error:
                made = Watches(Inotify())
                on_error.callback(made.source.close)
                for folder in folders:
                    made.add_folder(folder)
                for folder, names in ways.items():
                    made.add_way(folder, names)
                on_error.pop_all()
        except OSError as error:
            self.failure = _why(error)
            return None
        return made

    def listen(self, watches: Watches | None, folders: Sequence[str], ways: Ways) -> None:
        """Listen to what :meth:`set` has made for these, and to nothing else, from now on."""
        self.close()
        self._folders, self._ways, self._stale = tuple(sorted(folders)), ways, False
        self._watches = watches
        if watches is not None:
            self._reader = EventReader(watches.source, self._told, self._failed, _GATHER_S)
            self.changed(set())

    def set_anew(self) -> None:
        """Let all watches be set anew: a name may stand for another folder."""
        self._stale = True

    def close(self) -> None:
        """Stop listening."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _told(self, events: list[Event]) -> None:
        changes: set[Change] = set()
        assert self._watches is not None
        folders, ways = self._watches.folders, self._watches.ways
        for watch, what, name in events:
            ended = what & (ENDS | OVERFLOWED)
            if ended or (what & (COMES | GOES) and name in ways.get(watch, ())):
                self.set_anew()
                self.changed(set())
                return
            folder = folders.get(watch)
            if folder is not None and name and not what & GOES:
                changes.add((os.path.join(folder, name), bool(what & IS_FOLDER)))  # noqa: PTH118
        if changes:
            self.changed(changes)

    def _failed(self, error: OSError) -> None:
        self._reader = None
        self.failure = _why(error)
        self.changed(set())


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "the watches of this user are used up: raise fs.inotify.max_user_watches"
            " (sysctl, /etc/sysctl.d)"
        )
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return (
            "this user can have no more inotify instances: raise fs.inotify.max_user_instances"
            " (sysctl, /etc/sysctl.d), or the limit of open files (LimitNOFILE)"
        )
    return f"watching failed ({error.strerror})"
