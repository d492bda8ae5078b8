"""Sum up what is known of the autopilot's card; the same in every process on the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from petal_s3.outbox import card, card_listing
from petal_s3.outbox.card import CardFile
from petal_s3.outbox.card_listing import Listed
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.report import Report
from petal_s3.service.views.card import CardFigures, CardFileView, CardState, CardView

_AGREE = 2
_SHOWN = 3


@dataclass(frozen=True)
class _Card:
    """All that is known. ``report``: of the process that drains, as far as it is about now."""

    listed: Listed
    files: Sequence[CardFile]
    vanished: Sequence[CardFile]
    report: Report

    def path(self, file: CardFile) -> str:
        return self.listed.full_path(file)


def figures(outbox: Outbox, report: Report) -> CardFigures | None:
    """What is on the card; none where no card is known; blocking.

    ``report``: of the process that drains, an empty one where none does.
    """
    known = _known(outbox, report)
    return None if known is None else CardFigures.model_validate(_figures(known))


def whole(outbox: Outbox, report: Report) -> CardView:
    """The card with all its files, also where none is known; blocking."""
    known = _known(outbox, report) or _Card(Listed(), [], [], report)
    first = sorted(known.files, key=lambda one: one.order)
    shown = [file_view(known.listed, _as_now(file, report)) for file in (*first, *known.vanished)]
    return CardView.model_validate({**_figures(known), "files": shown})


def _as_now(file: CardFile, report: Report) -> CardFile:
    """A file that is being fetched, with what has come since that was written down."""
    if file.id != report.card_fetching or not file.is_open:
        return file
    ahead = min(file.size, report.card_fetched_bytes)
    return replace(file, fetched_bytes=max(file.fetched_bytes, ahead))


def file_view(listed: Listed, file: CardFile) -> CardFileView:
    """A file as it is shown."""
    code, reason = file.code, file.reason
    if file.state == "fetched" and file.row_id is not None and not file.proven:
        code, reason = file.row_code or "", file.row_gone or file.row_reason or ""
    return CardFileView(
        id=file.id,
        path=listed.full_path(file),
        size=file.size,
        time=file.logged_at or None,
        state=cast("CardState", file.shown_state),
        fetched_bytes=file.fetched_bytes,
        code=code,
        reason=reason,
        row=file.row_id,
    )


def advice(outbox: Outbox) -> list[str]:
    """What a person should know of logs that are lost with the card."""
    lost = card.vanished(outbox)
    if not lost:
        return []
    listed = card_listing.listed(outbox)
    names = _named([listed.full_path(one) for one in lost])
    were = "log" if len(lost) == 1 else "logs"
    return [
        f"{len(lost)} {were} vanished from the autopilot's card before they were fetched: {names}."
    ]


def _known(outbox: Outbox, report: Report) -> _Card | None:
    listed = card_listing.listed(outbox)
    if not listed.known and not report.card_on:
        return None
    return _Card(listed, card.on_card(outbox), card.vanished(outbox), report)


def _figures(known: _Card) -> dict[str, object]:
    report, files = known.report, known.files
    to_fetch = [file for file in files if file.is_open]
    going = next((file for file in files if file.id == report.card_fetching), None)
    ahead = max(0, report.card_fetched_bytes - going.fetched_bytes) if going is not None else 0
    not_safe = _not_safe(known)
    oldest = min(
        (file for file in files if file.tree == "log"), key=lambda one: one.age, default=None
    )
    return {
        "root": known.listed.root,
        "heard": report.card_heard,
        "listed_at": known.listed.at_unix or None,
        "on_card": len(files),
        "to_fetch": len(to_fetch),
        "to_fetch_bytes": max(0, sum(file.left_bytes for file in to_fetch) - ahead),
        "fetching": None if going is None else known.path(going),
        "rate_bytes_s": round(report.card_rate_bytes_s),
        "unproven": sum(file.matters for file in files),
        "left_out": sum(file.matters and file.state == "skipped" for file in files),
        "gone": len(known.vanished),
        "deletes_next": None if oldest is None else known.path(oldest),
        "safe_to_erase": not not_safe,
        "not_safe": not_safe,
        "code": report.card_code,
        "reason": report.card_reason,
    }


def _not_safe(known: _Card) -> str:
    report, listed = known.report, known.listed
    if not report.card_on:
        return "No process watches the autopilot's card: what is on it now is not known."
    if not report.card_heard:
        return "The autopilot is not heard: what is on its card now is not known."
    if listed.agree < _AGREE:
        return (
            "The card was not listed twice with the same result since the vehicle was armed, or"
            " since petal-s3 began to look: `petal-s3 card scan` lists it now."
        )
    unproven = [file for file in known.files if file.matters]
    if not unproven:
        return _not_known(listed)
    what = "1 log is" if len(unproven) == 1 else f"{len(unproven)} logs are"
    return f"{what} not proven in the bucket: {_named([known.path(one) for one in unproven])}."


def _not_known(listed: Listed) -> str:
    """What on the card no listing tells."""
    if listed.odd:
        return (
            f"{listed.odd} names on the card cannot be asked for, or lie too deep: what they hold"
            " is not known."
        )
    if listed.blank:
        return (
            "A folder that the autopilot cannot read looks empty, and so does"
            f" {_named(listed.blank)}: what lies there is not known."
        )
    return ""


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"
