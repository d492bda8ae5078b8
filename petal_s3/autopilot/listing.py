"""Look through the autopilot's card: which logs lie there. Names are the autopilot's: untrusted."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from petal_s3.autopilot.ftp_client import Card, Entry, FtpError, NotFound
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.errors import plain
from petal_s3.logs.log_time import log_time
from petal_s3.logs.sniff import named_like
from petal_s3.outbox.card_listing import Found, Listing

CARDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/fs/microsd", {"log": "log", "mission_log": "mission_log"}),
    ("/APM", {"LOGS": "log"}),
)
"""Where PX4 and ArduPilot mount their card, and the folders in it that hold a tree of logs."""
ALIAS = "@MAV_LOG"
"""What PX4 1.18 and ArduPilot of 2026 call the directory of logs, wherever it lies."""
_DEEPEST = 3
_MOST_FILES = 20_000
_MOST_FOLDERS = 5_000
_SOME_TIME_S = 1_262_304_000  # 2010: an autopilot without a clock counts from 1970 or 1980
_NO_SUCH = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV})


class NoCard(NotFound):
    """The autopilot shows no directory of logs: no card, or none that it can read."""

    code = "no_card"


@dataclass
class _Walk:
    files: list[Found] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    blank: list[tuple[str, str]] = field(default_factory=list)
    folders: int = 0


async def look_through(card: Card) -> Listing:
    """All logs of the card, whole or not at all.

    Raises :class:`NoCard` where there is none, and what ``card`` raises.
    """
    walk = _Walk()
    roots, shown = await _trees(card)
    for tree, root in roots.items():
        await _walk_tree(card, walk, tree, root)
    blank = [(tree, folder) for tree, folder in walk.blank if folder or tree in shown]
    return Listing(roots, walk.files, walk.odd, blank)


async def _trees(card: Card) -> tuple[dict[str, str], Collection[str]]:
    """Where each tree of logs lies, and which of them were seen there; raises :class:`NoCard`.

    PX4 answers for a directory that is not there as for an empty one, and tells every ground
    station that it could not be opened: what a folder is said to hold is asked for, nothing else.
    """
    for mounted, folders in CARDS:
        entries = await _shown(card, mounted)
        there = {entry.name for entry in entries if entry.is_directory}
        trees = {tree: f"{mounted}/{name}" for name, tree in folders.items() if name in there}
        if entries:
            return {"log": f"{mounted}/{next(iter(folders))}"} | trees, set(trees)
    if await _shown(card, ALIAS):
        return {"log": ALIAS}, {"log"}
    raise NoCard(
        "The autopilot shows no directory of logs: look whether its card is inserted.",
        ftp_code=10,
    )


async def _shown(card: Card, path: str) -> Sequence[Entry]:
    """What lies in a directory that may not be there; then nothing."""
    try:
        return await card.list_directory(path)
    except FtpError as error:
        # A server that does not know an alias fails plainly (1).
        if isinstance(error, NotFound) or error.ftp_code == 1 or error.errno in _NO_SUCH:
            return []
        raise


async def _walk_tree(card: Card, walk: _Walk, tree: str, root: str) -> None:
    left = [""]
    while left:
        folder = left.pop()
        walk.folders += 1
        entries = await _inside(card, f"{root}/{folder}" if folder else root)
        if not entries:
            walk.blank.append((tree, folder))
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_sound(entry.name):
                _note_odd(walk, entry)
            elif entry.is_directory:
                if path.count("/") < _DEEPEST and walk.folders + len(left) < _MOST_FOLDERS:
                    left.append(path)
                else:
                    walk.odd.append(path)
            elif named_like(entry.name, FLIGHT_KINDS):
                _take(walk, tree, path, entry)


async def _inside(card: Card, path: str) -> Sequence[Entry]:
    with contextlib.suppress(NotFound):  # PX4 deletes a folder with its last log
        return await card.list_directory(path)
    return []


def _take(walk: _Walk, tree: str, path: str, entry: Entry) -> None:
    if len(walk.files) >= _MOST_FILES:
        walk.odd.append("more files than petal-s3 counts")
        return
    by_path = int(log_time(Path(path), 0).timestamp())
    told = entry.modified if (entry.modified or 0) > _SOME_TIME_S else None
    walk.files.append(
        Found(
            tree,
            path,
            max(0, entry.size),
            modified=told,
            logged_at=by_path or int(told or 0),
            dated=by_path > 0,
        )
    )


def _is_sound(name: str) -> bool:
    """Whether it names one thing in its folder: it becomes part of a path, here and there."""
    return bool(name) and name not in {".", ".."} and "/" not in name and plain(name) == name


def _note_odd(walk: _Walk, entry: Entry) -> None:
    if entry.name not in {"", ".", ".."}:
        walk.odd.append(plain(entry.name)[:120])
