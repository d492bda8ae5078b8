"""Know when a file is finished: its name, its writers, and how long it has not changed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.logs.log_file import Identity
from petal_s3.logs.sniff import named_like

_MAX_DEPTH = 16
_WRITING = os.O_WRONLY | os.O_RDWR

File = tuple[str, Identity]


def find_logs(directories: Iterable[Path], kinds: frozenset[str] = FLIGHT_KINDS) -> list[File]:
    """Every file below ``directories`` that looks like one of ``kinds`` by its name; blocking.

    Links are not followed, unreadable directories are passed over, depth is bounded.
    Paths are real paths, so that one file has one path. Raises :class:`LocalStorageError` when
    this process can open no more files: then nothing is known about any of them.
    """
    found: dict[str, Identity] = {}
    for directory in directories:
        found.update(_walk(os.path.realpath(directory), _MAX_DEPTH, kinds))
    return list(found.items())


def _walk(directory: str, depth: int, kinds: frozenset[str]) -> Iterator[File]:
    try:
        entries = list(os.scandir(directory))
    except OSError as error:
        check_descriptors(error)
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                # A hidden directory is a wastebasket, not a place for logs.
                if depth > 0 and not entry.name.startswith("."):
                    yield from _walk(entry.path, depth - 1, kinds)
            elif named_like(entry.name, kinds):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield entry.path, Identity.of(status)


def locked(path: str) -> bool:
    """Whether a recorder left its ``.lock`` beside the file."""
    return os.path.lexists(f"{path}.lock") or os.path.lexists(os.path.splitext(path)[0] + ".lock")  # noqa: PTH122


def open_for_writing(paths: Iterable[str]) -> set[str]:
    """Which of ``paths`` some process has open for writing; blocking.

    Reads /proc as fuser does: it sees processes of the same user, or all as root. Leases
    (F_SETLEASE) would see all, but send SIGIO, which ends a process that does not expect it.
    Raises :class:`LocalStorageError` when this process can open no more files.
    """
    wanted = {os.path.realpath(path): path for path in paths}
    writing: set[str] = set()
    if not wanted:
        return writing
    for process in filter(str.isdigit, _listed("/proc")):
        for descriptor in _listed(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")  # noqa: PTH115
                if target in wanted and _writes(Path(f"/proc/{process}/fdinfo/{descriptor}")):
                    writing.add(wanted[target])
    return writing


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - thousands of names, four times a second
    except OSError as error:
        check_descriptors(error)
        return []


def _writes(fdinfo: Path) -> bool:
    try:
        text = fdinfo.read_text()
    except OSError as error:
        check_descriptors(error)
        raise
    for line in text.splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & _WRITING)
    return False


@dataclass
class _Watched:
    identity: Identity
    since: float


class Settling:
    """Files that are waited for until they have not changed for the settle time."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._files: dict[str, _Watched] = {}

    def __len__(self) -> int:
        return len(self._files)

    @property
    def paths(self) -> list[str]:
        """What is waited for."""
        return list(self._files)

    def identity(self, path: str) -> Identity | None:
        """The file at ``path`` as it was seen last; none where it is not waited for."""
        watched = self._files.get(path)
        return None if watched is None else watched.identity

    def watch(self, files: Iterable[File], now: float) -> int:
        """Wait for these files as well; return how many are new."""
        new = 0
        for path, identity in files:
            if path not in self._files:
                self._files[path] = _Watched(identity, now)
                new += 1
        return new

    def look(self, now: float) -> None:
        """Look at every file: a change starts its wait anew, one that is gone is dropped.

        Blocking.
        """
        for path, watched in list(self._files.items()):
            try:
                identity = Identity.of(os.lstat(path))
            except OSError:
                self._files.pop(path, None)
                continue
            if identity != watched.identity:
                self._files[path] = _Watched(identity, now)

    def ready(self, now: float, *, not_before: float | None) -> list[str]:
        """Files that have been still for the settle time, counted from ``not_before`` at least.

        ``not_before`` is when the flight ended: a recorder may still be closing its file.
        """
        floor = not_before if not_before is not None else float("-inf")
        return [
            path
            for path, watched in self._files.items()
            if now - max(watched.since, floor) >= self._settle_s
        ]

    def busy(self, path: str, now: float) -> None:
        """Somebody still writes to ``path``: look again soon."""
        watched = self._files.get(path)
        if watched is not None:
            watched.since = max(watched.since, now - self._settle_s + min(1.0, self._settle_s))

    def done(self, path: str) -> None:
        """``path`` was accepted or refused."""
        self._files.pop(path, None)
