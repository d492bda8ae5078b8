"""Look through the log directories: which logs lie there, and what could not be looked at."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.settings import Settings
from petal_s3.errors import plain
from petal_s3.intake.log_directories import log_directories
from petal_s3.intake.settling import FoundFile
from petal_s3.logs.opening import Identity
from petal_s3.logs.sniff import named_like

_MAX_DEPTH = 16
_UNCLOSED = ".bag.active"
_CHUNK = 1000
NO_DIRECTORY = os.strerror(errno.ENOTDIR)
"""Why a log directory is unread in whose place something else lies."""
GONE = "it was there, and is gone"
"""Why a log directory is unread that an earlier scan has seen."""
UNMOUNTED = "it is empty, and nothing is mounted there any more"
"""Why a log directory is unread that was a mount point when an earlier scan has seen it."""
_BACK = "Mount it or make it again, or take it out of the settings."
_GIVE = "Give the user of petal-s3 the right to read it."
_ADVICE = {NO_DIRECTORY: "Make it one, or set another.", GONE: _BACK, UNMOUNTED: _BACK}


@dataclass
class Found:
    """What lies in log directories.

    ``files`` (where they are kept) and ``unclosed``: by real path, the logs by their names, and
    the bags whose recorder has not closed them. ``folders``: the real paths of those that were
    looked through.
    ``unread``: why a folder or a file in it could not be looked at, by the folder's real path; a
    log directory that is gone by its path in the settings. ``there``: the log directories that
    are there, by those paths, and whether each is a mount point.
    """

    files: dict[str, Identity] = field(default_factory=dict)
    unclosed: dict[str, Identity] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    there: dict[str, bool] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """One sentence that says what could not be read; empty where all was."""
        if not self.unread:
            return ""
        path, why = min(self.unread.items())
        more = f" and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
        advice = _ADVICE.get(why, _GIVE)
        return (
            f"The log directory {plain(path)}{more} cannot be read ({why}): logs in it are not"
            f" seen. {advice}"
        )


def look_through(settings: Settings, known: Mapping[str, bool] | None = None) -> Found:
    """What lies in the log directories; blocking.

    ``known``: those that were there before (:func:`petal_s3.outbox.known_directories.known`): one
    that is gone is unread, while one that never was there holds no log yet.
    Copies in the spool are left out even where a source surrounds it: they have rows already.
    Raises :class:`LocalStorageError` as :func:`find_named`.
    """
    found = Found()
    for files in in_chunks(settings, found, known):
        found.files.update(files)
    return found


def in_chunks(
    settings: Settings, found: Found, known: Mapping[str, bool] | None = None
) -> Iterator[list[FoundFile]]:
    """As :func:`look_through`, but the files come some hundreds at a time: all of them together
    fill the memory. The rest is in ``found`` at the end. A file may come twice."""
    spool = os.path.realpath(settings.state_dir / "spool")
    for one in log_directories(settings):
        yield from _walk(os.path.realpath(one.directory), one.kinds, found, apart=spool)
    found.folders = list(dict.fromkeys(found.folders))
    for directory in settings.directories:
        with contextlib.suppress(OSError):  # it changes at this moment: the next scan tells
            _compare(str(directory), known or {}, found)


def _compare(directory: str, known: Mapping[str, bool], found: Found) -> None:
    """Note whether a log directory is there, and where it was before and is not, that it is gone.

    A mount point that holds something without its disk is taken for what is meant.
    """
    real = os.path.realpath(directory)
    if real in found.folders:
        found.there[directory] = mounted = os.path.ismount(real)
        if known.get(directory) and not mounted and not os.listdir(real):  # noqa: PTH208
            found.unread[directory] = UNMOUNTED
    elif directory in known and real not in found.unread:
        found.unread[directory] = GONE


def find_logs(settings: Settings) -> list[FoundFile]:
    """Every file in the log directories whose name fits its directory, as :func:`look_through`."""
    return list(look_through(settings).files.items())


def find_named(
    directories: Iterable[Path], kinds: frozenset[str] = FLIGHT_KINDS
) -> list[FoundFile]:
    """Every file below ``directories`` that looks like one of ``kinds`` by its name; blocking.

    Links are not followed, unreadable directories are passed over, depth is bounded.
    Paths are real paths, so that one file has one path. Raises :class:`LocalStorageError` when
    this process can open no more files: then nothing is known about any of them.
    """
    found = Found()
    for directory in directories:
        for files in _walk(os.path.realpath(directory), kinds, found):
            found.files.update(files)
    return list(found.files.items())


def _walk(
    top: str, kinds: frozenset[str], found: Found, *, apart: str = ""
) -> Iterator[list[FoundFile]]:
    """The files below ``top``; of the folder ``apart`` nothing is told but that it is there."""
    left, files = [(top, _MAX_DEPTH)], list[FoundFile]()
    while left:
        directory, depth = left.pop()
        inside: list[str] = []
        into = list[FoundFile]() if apart and _is_below(directory, apart) else files
        try:
            with os.scandir(directory) as entries:
                found.folders.append(directory)
                for entry in entries:
                    _take(directory, entry, kinds, found, into, inside)
                    if len(files) >= _CHUNK:
                        yield files
                        files = into = []
        except OSError as error:
            _unread(directory, error, found, top=depth == _MAX_DEPTH)
        if depth > 0:
            left += [(folder, depth - 1) for folder in inside]
    if files:
        yield files


def _take(
    directory: str,
    entry: os.DirEntry[str],
    kinds: frozenset[str],
    found: Found,
    files: list[FoundFile],
    folders: list[str],
) -> None:
    name = entry.name
    try:
        if entry.is_dir(follow_symlinks=False):
            if not name.startswith("."):  # a hidden one is a wastebasket, not a place for logs
                folders.append(entry.path)
            return
        unclosed = name.endswith(_UNCLOSED) and "rosbag" in kinds
        if unclosed or named_like(name, kinds):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                return
            if unclosed:
                found.unclosed[entry.path] = Identity.of(status)
            else:
                files.append((entry.path, Identity.of(status)))
    except OSError as error:
        _unread(directory, error, found)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _unread(directory: str, error: OSError, found: Found, *, top: bool = False) -> None:
    """Note a folder that may hold logs and cannot be read, unless it is not there (any more).

    ``top``: it is one of the settings; then it counts, too, where something else lies there.
    """
    check_descriptors(error)
    away = {errno.ENOENT} if top else {errno.ENOENT, errno.ENOTDIR}
    if error.errno not in away:
        found.unread[directory] = os.strerror(error.errno or errno.EIO)
