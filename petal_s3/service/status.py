"""Sum the outbox and the drain up: are my logs up, and if not, why?"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from petal_s3.core import clock
from petal_s3.outbox import capabilities as kept
from petal_s3.outbox import facts, flight_word, queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.outbox.storage_errors import no_room
from petal_s3.s3 import capabilities
from petal_s3.service.headline import Found, Left, headline
from petal_s3.service.reasons import ITS_TURN, NO_DRAIN, Reason, reason
from petal_s3.service.report import Report, Seen, row_reason, sent_bytes
from petal_s3.service.views.card import CardFigures
from petal_s3.service.views.status import StatusView, capabilities_view
from petal_s3.service.views.view import Flight, RowState, iso

_MANY = 1000
_SOON_S = 20 * 3600
CARD = "card"
"""The fact that is noted where a card was listed: :mod:`petal_s3.outbox.card_listing`."""


def summary(outbox: Outbox, seen: Seen, bucket: str) -> StatusView:
    """How things are; blocking.

    ``bucket``: its name by :func:`petal_s3.outbox.capabilities.bucket_name_of`.
    """
    live, counts = seen.live, _counts(outbox)
    left, oldest = left_to_send(outbox, seen)
    troubles = _troubles(outbox, seen)
    trouble = next(iter(troubles), None)
    card, lost = _card(outbox, live)
    why = _in_the_way(oldest, seen, trouble) or seen.stalled or _before_the_card(card)
    waits, gone = (live.settling_count, seen.unscanned), queries.gone(outbox)
    on_card = 0 if card is None else card.to_fetch
    as_of = seen.wall + (live.clock_offset_s or 0.0)
    to_go = _to_go(left, live.rate_bytes_s, as_of)
    found = Found(counts, *waits, seen.drained, why, trouble, live.held, gone, on_card, to_go)
    why = (why if found.open else None) or trouble
    said, eta_s = headline(found), to_go.eta_s
    return StatusView(
        **_of_reason(outbox, seen, why, oldest),
        **_of_report(live, seen),
        headline=said.sentence,
        code=said.code,
        as_of=int(as_of),
        flight_state=_flight_state(outbox, live, drained=seen.drained),
        counts=counts,
        backlog_bytes=left,
        eta_s=eta_s,
        eta_at=None if eta_s is None else iso(as_of + eta_s),
        oldest_unsent_s=max(0, int(time.time()) - oldest.landed_at) if oldest else None,
        outbox=str(outbox.path),
        gone=gone,
        trouble=" ".join(one.sentence for one in troubles),
        advice=list(dict.fromkeys([*live.advice, *seen.advice, *lost])),
        capabilities=capabilities_view(capabilities.read(kept.known_of(outbox, bucket))),
        card=card,
    )


def _of_report(live: Report, seen: Seen) -> dict[str, Any]:
    """The fields of the status that a report and what is seen beside it tell as they are."""
    return {
        "machine_id": seen.place.machine_id,
        "bucket_name": seen.place.bucket_name,
        "read_only": seen.place.read_only,
        "link": live.link,
        "link_seen_s": _heard_s(live, seen),
        "credentials": live.credentials,
        "clock_offset_s": live.clock_offset_s,
        "rate_bytes_s": round(live.rate_bytes_s),
        "next_try_s": _until(live.next_try_at, seen.now),
        "settling": live.settling,
        "held": live.held,
        "drained_by": seen.drained_by,
        "unscanned": seen.unscanned,
        "unread": seen.unread,
    }


def _of_reason(
    outbox: Outbox, seen: Seen, why: Reason | None, oldest: Row | None
) -> dict[str, Any]:
    """The fields of the status that tell why not all is up, since when, and what would end it."""
    since = None if why is None else _held_since(outbox, why, oldest, seen)
    tried_at = seen.live.tried_at
    return {
        "reason": "" if why is None else why.sentence,
        "since": None if since is None else iso(since),
        "ends": "" if why is None else _ending(why),
        "reason_age_s": _age_s(tried_at, seen.now) if why == seen.held_up else None,
    }


def _to_go(left: int, rate_bytes_s: float, as_of: float) -> Left:
    eta_s = round(left / rate_bytes_s) if rate_bytes_s > 0 and left else None
    return Left(left, eta_s, "" if eta_s is None else _clock(as_of + eta_s, eta_s))


def _card(outbox: Outbox, live: Report) -> tuple[CardFigures | None, list[str]]:
    """What is on the autopilot's card, where one is known, and what is lost with it."""
    if not live.card_on and not facts.noted(outbox, CARD):
        return None, []
    from petal_s3.service import card_summary  # noqa: PLC0415 - most robots have none yet

    return card_summary.figures(outbox, live), card_summary.advice(outbox)


def _heard_s(live: Report, seen: Seen) -> int | None:
    """How many seconds ago S3 answered last; none where it never did, as far as is known."""
    heard_s = live.heard_s(seen.now, seen.wall)
    return None if heard_s is None else round(heard_s)


def _before_the_card(card: CardFigures | None) -> Reason | None:
    """Why logs of the card are not fetched; none where none is to be, or nothing is in the way."""
    if card is None or not card.to_fetch or not card.reason:
        return None
    return reason(card.code, card.reason)


def _troubles(outbox: Outbox, seen: Seen) -> list[Reason]:
    """Why there may be logs that are not counted, the gravest first."""
    # A process that cannot write cannot report that either: it is seen from outside.
    full = no_room(outbox.path.parent)
    found = [reason("storage_full", full) if full else None, seen.cannot_look]
    return [one for one in found if one is not None]


def _in_the_way(oldest: Row | None, seen: Seen, trouble: Reason | None) -> Reason | None:
    """Why the oldest is not sent; none where it only waits for its turn, or there is none."""
    if trouble is not None and trouble.code == "storage_full":
        return trouble
    if oldest is None or seen.held_up is not None:
        return seen.held_up
    own = row_reason(oldest, seen)
    return None if own is ITS_TURN else own


def _clock(moment: float, away_s: float) -> str:
    """A moment in seconds since 1970 by the clock of this place, with its zone: ``14:20 UTC``."""
    try:
        local = datetime.fromtimestamp(moment, timezone.utc).astimezone()
    except (ValueError, OverflowError, OSError):  # a clock that is far off
        return ""
    return f"{local:%H:%M %Z}" if away_s < _SOON_S else f"{local:%a %H:%M %Z}"


def _ending(why: Reason) -> str:
    from petal_s3.service.endings import ENDINGS  # noqa: PLC0415 - only where something waits

    return ENDINGS.get(why.code, "")


def _held_since(outbox: Outbox, why: Reason, oldest: Row | None, seen: Seen) -> float | None:
    """Since when ``why`` holds, in seconds since 1970; none where that is not known."""
    live, at = seen.live, None
    if why is NO_DRAIN:
        return _undrained_since(oldest, seen)
    if live.held_up is not None and why.code == live.code:
        at = live.since_at
    elif why.code == "stalled":
        at = live.stalled_at
    if at is not None and live.boot_id == clock.boot_id():
        return seen.wall + (live.clock_offset_s or 0.0) - max(0.0, seen.now - at)
    if oldest is not None and oldest.code == why.code:
        from petal_s3.outbox import journal  # noqa: PLC0415 - only where a row has a reason

        return journal.waits_since(outbox, oldest)
    return None


def _undrained_since(oldest: Row | None, seen: Seen) -> float | None:
    """Since when a log waits and none uploads: it came in, or the last that did was heard of."""
    known = [seen.report.written_unix, None if oldest is None else oldest.landed_at]
    # What was written by another clock may lie in the future of this one.
    return max((at for at in known if at is not None and at <= seen.wall), default=None)


def left_to_send(outbox: Outbox, seen: Seen) -> tuple[int, Row | None]:
    """Bytes that are neither confirmed nor acknowledged, and the row that has waited longest."""
    backlog, oldest = queries.backlog(outbox)
    going = queries.rows(outbox, "uploading", _MANY) if seen.report.moving else []
    ahead = sum(sent_bytes(row, seen) - row.sent_bytes for row in going)
    return max(0, backlog - ahead), oldest


def _age_s(moment: float | None, now: float) -> int | None:
    return None if moment is None else max(0, round(now - moment))


def _until(moment: float | None, now: float) -> int | None:
    return None if moment is None or moment <= now else round(moment - now)


def _flight_state(outbox: Outbox, report: Report, *, drained: bool) -> Flight:
    """What the process that drains keeps to; where none does, what the next one will."""
    said = None if drained else flight_word.said(outbox)
    return "armed" if said is not None and said.armed else report.flight_state


def _counts(outbox: Outbox) -> dict[RowState, int]:
    found = queries.counts(outbox)
    states: tuple[RowState, ...] = ("queued", "uploading", "verified", "dead", "cancelled")
    return {state: found[state] for state in states}
