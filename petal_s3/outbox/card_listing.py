"""What is known of the listings of the autopilot's card, and what others ask of the next one.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from petal_s3.outbox import card, facts
from petal_s3.outbox.card import CardFile
from petal_s3.outbox.outbox import Outbox

_LISTED = "card"
BASELINE = "card baseline"
"""A fact: whether what the first listing has shown is left out."""
_ASKED = "card scan"
FLIGHT = "card flight"
"""A fact: a flight was seen before the first listing."""
_COMPARED = "card compared"
_MOST_BLANK = 100


@dataclass(frozen=True)
class Found:
    """A log that a listing has shown; ``logged_at`` in seconds since 1970, 0: nothing tells it.

    ``dated``: whether its path alone tells that.
    """

    tree: str
    path: str
    size: int
    modified: float | None = None
    logged_at: int = 0
    dated: bool = False


@dataclass(frozen=True)
class Listing:
    """All logs of a card; ``roots``: where each tree lies; ``odd``: names that no request holds;
    ``blank``: tree and path of each folder that shows nothing, as PX4 shows one that it cannot
    read."""

    roots: dict[str, str]
    files: Sequence[Found]
    odd: Sequence[str] = ()
    blank: Sequence[tuple[str, str]] = ()

    @property
    def digest(self) -> str:
        """The same for two listings that agree."""
        known = sorted((one.tree, one.path, one.size) for one in self.files)
        text = json.dumps([known, sorted(self.odd), sorted(self.blank)])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Rules:
    """How files are judged. ``settle_s``: how long two listings that agree lie apart."""

    every: bool
    max_bytes: int
    settle_s: float


@dataclass(frozen=True)
class Listed:
    """What is known of the listings. ``agree``: how many in a row have shown the same, since the
    vehicle was armed last, or petal-s3 began to look. ``at_s``: of the last, in seconds since the
    boot ``boot_id``. ``blank``: folders that may hold logs, though the last has shown none."""

    roots: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    agree: int = 0
    boot_id: str = ""
    at_s: float = 0.0
    at_unix: int = 0
    odd: int = 0
    blank: list[str] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether a card was ever listed."""
        return bool(self.roots)

    @property
    def root(self) -> str:
        """Where the logs lie on the card."""
        return self.roots.get("log", "")

    def full_path(self, file: CardFile) -> str:
        """The path of a file on the card."""
        return f"{self.roots.get(file.tree, '')}/{file.path}"


def listed(outbox: Outbox) -> Listed:
    """What is known of the listings."""
    text = facts.value(outbox, _LISTED)
    return Listed(**json.loads(text)) if text else Listed()


def doubt(outbox: Outbox, *, flies: bool) -> None:
    """What was listed may not be so any more: the vehicle ``flies``, or nothing has looked."""
    now = listed(outbox)
    if flies and is_first(outbox):
        facts.note(outbox, FLIGHT)
    if now.agree:
        facts.keep(outbox, _LISTED, json.dumps(asdict(replace(now, agree=0))))


def ask_scan(outbox: Outbox, number: str) -> None:
    """Ask the process that has the card to list it; ``number`` is new for each question."""
    facts.keep(outbox, _ASKED, number)


def asked_scan(outbox: Outbox) -> str:
    """The number of the last question; empty where it was answered."""
    return facts.value(outbox, _ASKED)


def answered_scan(outbox: Outbox, number: str) -> None:
    """The question was answered."""
    if asked_scan(outbox) == number:
        facts.forget(outbox, _ASKED)


def is_first(outbox: Outbox) -> bool:
    """Whether no listing was taken in since this outbox was created."""
    return not facts.noted(outbox, BASELINE)


def is_to_compare(outbox: Outbox) -> bool:
    """Whether what was left out is still to be compared with what the bucket held before."""
    if facts.noted(outbox, _COMPARED):
        return False
    return bool(card.select(outbox, "card.state = 'skipped' AND card.code = 'baseline' LIMIT 1"))


def compared(outbox: Outbox, newest: int) -> int:
    """What the bucket held before was looked at: its newest log is of ``newest``, in seconds since
    1970, 0 where it held none. What was left out and is newer counts as new; returns how many.

    Where there were logs, an outbox was lost, and with it which ones of the card are old.
    """
    with outbox.sql.write():
        facts.note(outbox, _COMPARED)
        return _newer_than(outbox, newest) if newest else 0


def keep(outbox: Outbox, listing: Listing, now: float) -> Listed:
    """Write down what is known of the listings, with this one; returns it."""
    before = listed(outbox)
    agree = before.agree + 1 if before.digest == listing.digest and before.agree else 1
    made = Listed(
        roots=listing.roots,
        digest=listing.digest,
        agree=agree,
        boot_id=outbox.boot_id,
        at_s=now,
        at_unix=int(time.time()),
        odd=len(listing.odd),
        blank=_doubtful(outbox, listing),
    )
    facts.keep(outbox, _LISTED, json.dumps(asdict(made)))
    return made


def _doubtful(outbox: Outbox, listing: Listing) -> list[str]:
    """Folders that show nothing, though they may well hold logs.

    Those in which a day's logs lie are there only with a log. A whole tree is empty where none was
    made yet; not where one lay in it that is not proven, nor where a card holds no log at all.
    """
    found = [f"{listing.roots[tree]}/{folder}" for tree, folder in listing.blank if folder]
    empty = [tree for tree, folder in listing.blank if not folder]
    for tree in empty:
        gone = "card.state = 'gone' AND card.tree = :tree AND card.size > 0"
        lost = any(not one.proven for one in card.select(outbox, gone, tree=tree))
        if lost or (not listing.files and tree == "log"):
            found.append(listing.roots[tree])
    return sorted(found)[:_MOST_BLANK]


def _newer_than(outbox: Outbox, newest: int) -> int:
    """In doubt a log is new: also one that does not tell when it was made."""
    return outbox.sql.change(
        "UPDATE card SET baseline = 0, state = 'seen', code = '', reason = '' WHERE baseline = 1"
        " AND state = 'skipped' AND code = 'baseline' AND (logged_at > :newest OR logged_at = 0)",
        newest=newest,
    )
