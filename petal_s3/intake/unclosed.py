"""Know bags that a recorder has left unclosed: it died, and no scan will take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from petal_s3.errors import plain
from petal_s3.logs.opening import Identity

LEFT_S = 600.0
"""A recorder that has written nothing for so long, and has the file open no more, is dead."""
LONG_S = 3600.0
"""Last changed so long ago, it is told at once, by a process that has just begun as well."""
_SHOWN = 3


class UnclosedBags:
    """``.bag.active`` files, and since when each has not changed. Times are of one steady clock."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Identity, float]] = {}
        self._left: list[str] = []

    def note(
        self, found: Mapping[str, Identity], writing: Collection[str], now: float, wall: float
    ) -> None:
        """Note what a scan has ``found``, by path, and to which of them a program writes.

        ``wall``: seconds since 1970.
        """
        old = set(unchanged_long(found, writing, wall))
        before, self._since = self._since, {}
        for path, file in found.items():
            known, since = before.get(path, (file, now))
            same = known == file and path not in writing
            self._since[path] = (file, since if same else now)
        self._left = sorted(
            p for p, (_, since) in self._since.items() if now - since >= LEFT_S or p in old
        )

    @property
    def advice(self) -> list[str]:
        """What a person should do about each that was left."""
        return advice_on(self._left)


def unchanged_long(
    found: Mapping[str, Identity], writing: Collection[str], wall: float
) -> list[str]:
    """Of the bags ``found`` those that no program writes to, and whose last change is long ago."""
    old = (p for p, file in found.items() if wall - file.mtime_ns / 1e9 >= LONG_S)
    return sorted(path for path in old if path not in writing)


def advice_on(left: Sequence[str]) -> list[str]:
    """What a person should do about each bag that was ``left``."""
    told = [_told(Path(path)) for path in left[:_SHOWN]]
    more = len(left) - len(told)
    return [*told, f"{more} more .bag.active files were left so."] if more > 0 else told


def _told(path: Path) -> str:
    name, folder = plain(path.name), plain(str(path.parent))
    return (
        f"{name} in {folder} was left by a recorder that died, and is not sent: run"
        f" `rosbag reindex {name}` there, and rename it to {name.removesuffix('.active')}. Only"
        " renamed, it is sent as it is (unindexed)."
    )
