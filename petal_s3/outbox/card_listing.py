"""Take in what a listing of the autopilot's card has shown: new files, settled, grown, vanished.

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
_BASELINE = "card baseline"
_ASKED = "card scan"
_FLIGHT = "card flight"
_COMPARED = "card compared"
_BASELINE_SAID = (
    "It was on the card before the first flight that petal-s3 has seen: it is fetched when asked"
    " for, or with PETAL_S3_FETCH=all."
)
_LONGEST_PATH = 239
"""Bytes of a path that one request of MAVFTP can name."""


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
    """All logs of a card; ``roots``: where each tree lies; ``odd``: names that no request holds."""

    roots: dict[str, str]
    files: Sequence[Found]
    odd: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """The same for two listings that agree."""
        known = sorted((one.tree, one.path, one.size) for one in self.files)
        text = json.dumps([known, sorted(self.odd)])
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
    boot ``boot_id``."""

    roots: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    agree: int = 0
    boot_id: str = ""
    at_s: float = 0.0
    at_unix: int = 0
    odd: int = 0

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
        facts.note(outbox, _FLIGHT)
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
    return not facts.noted(outbox, _BASELINE)


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


def take(outbox: Outbox, listing: Listing, now: float, rules: Rules, *, baseline: bool) -> Listed:
    """Take in a whole listing; ``baseline``: no flight was seen before it, as far as is known.

    ``now``: seconds since boot.
    """
    with outbox.sql.write():
        baseline = baseline and is_first(outbox) and not facts.noted(outbox, _FLIGHT)
        there = {(one.tree, one.path): one for one in card.on_card(outbox)}
        for found in listing.files:
            known = there.pop((found.tree, found.path), None)
            if known is not None and known.size != found.size:
                known = _resized(outbox, known, found, now, rules)
            if known is None:
                _insert(outbox, found, now, rules, baseline=baseline)
            else:
                _again(outbox, known, found, now, rules)
        for missing in there.values():
            _gone(outbox, missing)
        if not facts.noted(outbox, _BASELINE):
            facts.keep(outbox, _BASELINE, "kept" if baseline else "none")
        return _keep(outbox, listing, now)


def _keep(outbox: Outbox, listing: Listing, now: float) -> Listed:
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
    )
    facts.keep(outbox, _LISTED, json.dumps(asdict(made)))
    return made


def _judged(found: Found, rules: Rules, *, left_out: bool) -> tuple[str, str, str]:
    """The state of a file of which nothing was fetched, with code and reason."""
    if not found.size:
        return "skipped", "empty", "It is empty: there is nothing to fetch."
    if found.size > rules.max_bytes:
        return (
            "skipped",
            "too_large",
            f"It has {found.size} bytes, more than PETAL_S3_MAX_FILE_SIZE ({rules.max_bytes}).",
        )
    if len(found.path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH - 32:
        return "skipped", "bad_path", "Its path is too long to be asked for over MAVLink."
    if left_out and not rules.every:
        return "skipped", "baseline", _BASELINE_SAID
    return "seen", "", ""


def _insert(outbox: Outbox, found: Found, now: float, rules: Rules, *, baseline: bool) -> None:
    """A file that was not there when the card was listed before."""
    known = card.select(
        outbox,
        "card.state = 'gone' AND card.tree = :tree AND card.path = :path AND card.size = :size"
        " ORDER BY card.id DESC LIMIT 1",
        tree=found.tree,
        path=found.path,
        size=found.size,
    )
    if known and found.dated:  # the card was away; a name without a date may be another file's
        _back(outbox, known[0], now)
        return
    state, code, reason = _judged(found, rules, left_out=baseline)
    outbox.sql.change(
        "INSERT INTO card (tree, path, size, modified, logged_at, state, boot_id, since_s,"
        " baseline, code, reason) VALUES (:tree, :path, :size, :modified, :logged_at, :state,"
        " :boot, :now, :baseline, :code, :reason)",
        tree=found.tree,
        path=found.path,
        size=found.size,
        modified=found.modified,
        logged_at=found.logged_at,
        state=state,
        boot=outbox.boot_id,
        now=now,
        baseline=baseline,
        code=code,
        reason=reason,
    )


def _back(outbox: Outbox, known: CardFile, now: float) -> None:
    whole = known.row_id is not None and known.fetched_bytes == known.size
    outbox.sql.change(
        "UPDATE card SET state = :state, boot_id = :boot, since_s = :now, code = '', reason = '',"
        " row_id = :row_id, fetched_bytes = :fetched_bytes WHERE id = :id",
        id=known.id,
        state="fetched" if whole else "seen",
        row_id=known.row_id if whole else None,
        # What was salvaged of it is not here any more.
        fetched_bytes=known.fetched_bytes if whole or known.row_id is None else 0,
        boot=outbox.boot_id,
        now=now,
    )


def _resized(
    outbox: Outbox, known: CardFile, found: Found, now: float, rules: Rules
) -> CardFile | None:
    """A file grew or shrank: none where what is there now is a file of its own."""
    if known.state == "fetched":
        outbox.sql.change(
            "UPDATE card SET state = 'changed', code = 'changed', reason = :reason WHERE id = :id",
            id=known.id,
            reason=f"It had {known.size} bytes when it was fetched; it has {found.size} now.",
        )
        return None
    state, code, reason = _judged(found, rules, left_out=False)
    outbox.sql.change(
        "UPDATE card SET size = :size, modified = :modified, state = :state, boot_id = :boot,"
        " since_s = :now, baseline = 0, fetched_bytes = 0, crc32 = 0, code = :code,"
        " reason = :reason WHERE id = :id",
        id=known.id,
        size=found.size,
        modified=found.modified,
        state=state,
        boot=outbox.boot_id,
        now=now,
        code=code or "card_changed",
        reason=reason or f"It had {known.size} bytes before and has {found.size} now.",
    )
    return card.get(outbox, known.id)


def _again(outbox: Outbox, known: CardFile, found: Found, now: float, rules: Rules) -> None:
    """A file is there as it was."""
    if known.state == "fetched":
        return
    state, code, reason = _judged(found, rules, left_out=known.baseline and not known.asked)
    since_s, boot_id = known.since_s, known.boot_id
    if boot_id != outbox.boot_id:
        since_s, boot_id = now, outbox.boot_id
    if state == "seen" and known.state in {"settled", "fetching"}:
        state = known.state
    elif state == "seen" and now > since_s and now - since_s >= rules.settle_s:
        state = "settled"
    if state != "skipped":
        code, reason = (known.code, known.reason) if known.state != "skipped" else ("", "")
    if state == "settled" and known.state == "seen":
        code, reason = "", ""
    after = (state, since_s, boot_id, found.modified, code, reason)
    if after != (
        *(known.state, known.since_s, known.boot_id),
        *(known.modified, known.code, known.reason),
    ):
        outbox.sql.change(
            "UPDATE card SET state = :state, since_s = :since_s, boot_id = :boot,"
            " modified = :modified, code = :code, reason = :reason WHERE id = :id",
            id=known.id,
            state=state,
            since_s=since_s,
            boot=boot_id,
            modified=found.modified,
            code=code,
            reason=reason,
        )


def _gone(outbox: Outbox, missing: CardFile) -> None:
    """A file is not there any more; one whose bytes are here is entered all the same."""
    if missing.state == "fetched" and missing.row_id is None:
        return
    outbox.sql.change(
        "UPDATE card SET state = 'gone', code = 'card_gone', reason = :reason WHERE id = :id",
        id=missing.id,
        reason="" if missing.row_id is not None else _said_of_gone(missing),
    )


def _said_of_gone(missing: CardFile) -> str:
    if missing.fetched_bytes:
        return (
            f"It vanished from the card when {missing.fetched_bytes} of its {missing.size} bytes"
            " were fetched."
        )
    return "It vanished from the card before it was fetched."


def _newer_than(outbox: Outbox, newest: int) -> int:
    """In doubt a log is new: also one that does not tell when it was made."""
    return outbox.sql.change(
        "UPDATE card SET baseline = 0, state = 'seen', code = '', reason = '' WHERE baseline = 1"
        " AND state = 'skipped' AND code = 'baseline' AND (logged_at > :newest OR logged_at = 0)",
        newest=newest,
    )
