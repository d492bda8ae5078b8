"""Take in what a listing of the autopilot's card has shown: new files, settled, grown, vanished.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.outbox import card, facts
from petal_s3.outbox.card import CardFile
from petal_s3.outbox.card_listing import (
    BASELINE,
    FLIGHT,
    Found,
    Listed,
    Listing,
    Rules,
    is_first,
    keep,
)
from petal_s3.outbox.outbox import Outbox

_BASELINE_SAID = (
    "It was on the card before the first flight that petal-s3 has seen: it is fetched when asked"
    " for, or with PETAL_S3_FETCH=all."
)
_LONGEST_PATH = 239
"""Bytes of a path that one request of MAVFTP can name."""


def take(outbox: Outbox, listing: Listing, now: float, rules: Rules, *, baseline: bool) -> Listed:
    """Take in a whole listing; ``baseline``: no flight was seen before it, as far as is known.

    ``now``: seconds since boot.
    """
    with outbox.sql.write():
        baseline = baseline and is_first(outbox) and not facts.noted(outbox, FLIGHT)
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
        if not facts.noted(outbox, BASELINE):
            facts.keep(outbox, BASELINE, "kept" if baseline else "none")
        return keep(outbox, listing, now)


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
    # What was salvaged has a reason: it was not compared with the card.
    compared = known.row_id is not None and not known.reason
    whole = compared and known.fetched_bytes == known.size
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
        " since_s = :now, baseline = 0, fetched_bytes = 0, crc32 = 0, kept_boot = '',"
        " code = :code, reason = :reason WHERE id = :id",
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
