"""Wait for files until they have not changed for the settle time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from petal_s3.logs.opening import Identity

FoundFile = tuple[str, Identity]
"""The real path of a file, and its state when it was found."""


@dataclass
class _Watched:
    identity: Identity
    since: float


class StableFiles:
    """Files that are watched until they have not changed for the settle time.

    All times are seconds of one steady clock, passed in.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._files: dict[str, _Watched] = {}

    def __len__(self) -> int:
        return len(self._files)

    @property
    def paths(self) -> list[str]:
        """The files that are watched."""
        return list(self._files)

    @property
    def files(self) -> list[FoundFile]:
        """The files that are watched, as they were when last checked."""
        return [(path, watched.identity) for path, watched in self._files.items()]

    def watches(self, path: str) -> bool:
        """Whether the file at ``path`` is watched; from any thread."""
        return path in self._files

    def identity(self, path: str) -> Identity | None:
        """The file at ``path`` as it was when last checked; none where it is not watched."""
        watched = self._files.get(path)
        return None if watched is None else watched.identity

    def watch(self, files: Iterable[FoundFile], now: float) -> int:
        """Watch these files as well; return how many are new."""
        new = 0
        for path, identity in files:
            if path not in self._files:
                self._files[path] = _Watched(identity, now)
                new += 1
        return new

    def check(self, now: float) -> None:
        """Check every file: one that changed waits anew, one that is gone is dropped; blocking."""
        for path, watched in list(self._files.items()):
            try:
                identity = Identity.of(os.lstat(path))
            except OSError:
                self._files.pop(path, None)
                continue
            if identity != watched.identity:
                self._files[path] = _Watched(identity, now)

    def ready(self, now: float, *, not_before: float | None) -> list[str]:
        """Files unchanged for the settle time, which is counted from ``not_before`` at least.

        ``not_before`` is when the flight ended: a recorder may still be closing its file.
        """
        earliest = not_before if not_before is not None else float("-inf")
        return [
            path
            for path, watched in self._files.items()
            if now - max(watched.since, earliest) >= self._settle_s
        ]

    def busy(self, path: str, now: float) -> None:
        """A program still writes to ``path``: check it again within a second."""
        watched = self._files.get(path)
        if watched is not None:
            watched.since = max(watched.since, now - self._settle_s + min(1.0, self._settle_s))

    def done(self, path: str) -> None:
        """Stop watching ``path``: it was accepted or refused."""
        self._files.pop(path, None)
