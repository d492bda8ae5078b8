"""Write the status of the outbox for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from petal_s3.errors import plain
from petal_s3.logs.sniff import shown_name
from petal_s3.service.views.card import card_facts
from petal_s3.service.views.rows import RowView, percent
from petal_s3.service.views.status import StatusView, spoken_s, tries_of, trouble_of
from petal_s3.service.views.view import View

V = TypeVar("V", bound=View)

_NAME_WIDTH = 31
_SHOWN_DEAD = 10
_NARROW = 72
"""Columns below which a row takes two lines."""
_STYLES = {"verified": "green", "uploading": "yellow", "dead": "red", "cancelled": "dim"}


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that prints names as they are: without markup, colours of numbers or emoji."""
    return Console(stderr=stderr, quiet=quiet, markup=False, highlight=False, emoji=False)


def show(screen: Console, parts: Iterable[RenderableType]) -> None:
    """Print ``parts``; sentences are wrapped on a terminal alone, so that grep finds them whole."""
    for part in parts:
        screen.print(part, soft_wrap=isinstance(part, str | Text) and not screen.is_terminal)


# -- status


def status_view(
    status: StatusView,
    rows: Sequence[RowView],
    notes: Iterable[str],
    width: int = 80,
    *,
    brief: bool = False,
) -> list[RenderableType]:
    """The whole answer to ``petal-s3 status``; ``rows`` in the order to show.

    ``width``: columns of the terminal; where it has few, a row takes two lines. ``brief``: what
    is so at any time (of the server, advice, notes) is counted alone.
    """
    status, rows = _harmless(status), [_harmless(row) for row in rows]
    notes = [plain(note) for note in notes]
    dead = [row for row in rows if row.state == "dead"]
    trouble = trouble_of(status)
    parts: list[RenderableType] = [Text(status.headline, style="bold")]
    parts += [trouble] if trouble else []
    living = [row for row in rows if row.state != "dead"]
    if living:
        parts += ["", _table(status, living) if width >= _NARROW else _list(status, living)]
    hidden = _not_shown(status, living)
    parts += [*hidden, *([""] if living or hidden else [])]
    parts += [*_dead(status, dead), *_settling(status), *_unscanned(status), *_facts(status)]
    lasting = [*_lacks(status), *status.advice, *notes]
    if brief and lasting:
        lasting = [f"To note: {len(lasting)}, told by petal-s3 status without --watch."]
    return [*parts, *lasting]


def _harmless(view: V) -> V:
    """The same with every text made plain: file names and answers of servers may hold anything."""
    return type(view).model_validate(_plain(view.model_dump()))


def _plain(found: object) -> object:
    if isinstance(found, str):
        return plain(found)
    if isinstance(found, dict):
        return {name: _plain(value) for name, value in found.items()}
    return [_plain(value) for value in found] if isinstance(found, list) else found


def _table(status: StatusView, rows: Sequence[RowView]) -> Table:
    names = [_name(row) for row in rows]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("log", overflow="fold", width=min(_NAME_WIDTH, max(map(len, names))))
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    ways = any(row.received_by is not None for row in rows)
    if ways:
        table.add_column("by", no_wrap=True)
    table.add_column("proof, or why not", overflow="fold")
    for row, name in zip(rows, names, strict=True):
        table.add_row(
            str(row.id),
            name,
            decimal(row.size),
            _state(status, row),
            *([row.received_by or ""] if ways else []),
            _why(status, row),
        )
    return table


def _list(status: StatusView, rows: Sequence[RowView]) -> Table:
    """The same for few columns: the name, and below it all the rest."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True, vertical="top")
    table.add_column(overflow="fold")
    for row in rows:
        by = f"by {row.received_by}" if row.received_by else ""
        facts = [decimal(row.size), by, _why(status, row)]
        said = _state(status, row)
        said.append(", ".join(["", *filter(None, facts)]), style="default not bold")
        table.add_row(str(row.id), Text(_name(row)) + Text("\n") + said)
    return table


def _name(row: RowView) -> str:
    return row.key.rpartition("/")[2]


def _state(status: StatusView, row: RowView) -> Text:
    """What became of a row, and when; how much of it is up where it is not all."""
    said = str(row.state)
    if row.state == "verified" and row.receipt is not None:
        said = f"proven {clock_time(row.receipt.verified_at, status.as_of)}"
    elif row.sent_bytes and row.state in {"uploading", "queued"}:
        said = f"{row.state} {percent(row)}%"
    return Text(said, style=_STYLES.get(row.state, ""))


def clock_time(moment: int, now: int) -> str:
    """A moment by the time zone of this terminal; with its date where that is not today."""
    then, today = (datetime.fromtimestamp(one, timezone.utc).astimezone() for one in (moment, now))
    if then.date() == today.date():
        return f"{then:%H:%M}"
    return f"{then:%d %b %H:%M}" if then.year == today.year else f"{then:%Y-%m-%d}"


def _why(status: StatusView, row: RowView) -> str:
    if row.state == "verified" and row.receipt is not None and not row.reason:
        twin = f", the same as {row.same_as}" if row.same_as is not None else ""
        return f"{row.receipt.proof}{twin}"
    why = "See above." if row.reason and row.reason == status.reason else str(row.reason)
    if row.next_attempt_s is not None and row.next_attempt_s >= 1:
        why = f"{why} Next try in {spoken_s(round(row.next_attempt_s))}.".strip()
    return why


def _not_shown(status: StatusView, rows: Sequence[RowView]) -> list[str]:
    everything = sum(count for state, count in status.counts.items() if state != "dead")
    hidden = everything - len(rows)
    return [f"... and {hidden} more."] if hidden > 0 else []


def _dead(status: StatusView, rows: Sequence[RowView]) -> list[str]:
    if not rows:
        return []
    lines = [f"  {row.id}  {shown_name(row.path)}: {row.reason}" for row in rows[:_SHOWN_DEAD]]
    hidden = status.counts["dead"] - len(lines)
    more = [f"  ... and {hidden} more."] if hidden > 0 else []
    return ["Not a flight log, or lost; these are not sent:", *lines, *more, ""]


def _settling(status: StatusView) -> list[str]:
    names = [shown_name(Path(path).name) for path in status.settling]
    return [f"Still being written, or changed a moment ago: {', '.join(names)}."] if names else []


def _unscanned(status: StatusView) -> list[str]:
    if not status.unscanned:
        return []
    return [
        f"Not in the outbox yet: {status.unscanned} in the log directories. The host takes them at"
        " its next scan, petal-s3 drain at once."
    ]


def _facts(status: StatusView) -> list[str]:
    facts = []
    if status.backlog_bytes:
        pace = f" at {decimal(status.rate_bytes_s)}/s" if status.rate_bytes_s else ""
        left = f", about {spoken_s(status.eta_s)}" if status.eta_s is not None else ""
        facts.append(f"To send: {decimal(status.backlog_bytes)}{pace}{left}.")
    tries = tries_of(status)
    facts += [tries] if tries else []
    facts += [] if status.card is None else card_facts(status.card, decimal)
    offset, heard = status.clock_offset_s, status.link_seen_s
    if status.drained_by is not None:
        clock = f", clock {offset:+.0f} s off S3's" if offset and abs(offset) >= 1 else ""
        ago = f" (S3 answered {spoken_s(heard)} ago)" if heard is not None else ""
        facts.append(
            f"Link {status.link}{ago}, credentials {status.credentials}, vehicle"
            f" {status.flight_state}{clock}."
        )
    return [*facts, f"Outbox {status.outbox}, drained by {process_name(status.drained_by)}."]


def _lacks(status: StatusView) -> list[str]:
    """What the server lacks and what that costs, each with the answer that showed it, and when."""
    if status.capabilities is None:
        return []
    return [
        f"The server {one.means} ({one.by.rstrip('.')}; first seen {_ago(status, one.since)})."
        for one in status.capabilities.features.values()
        if not one.offered
    ]


def _ago(status: StatusView, since: int) -> str:
    """How long before the status that was; its date where the clocks do not fit."""
    if since <= status.as_of:
        return f"{spoken_s(status.as_of - since)} ago"
    return f"{datetime.fromtimestamp(since, timezone.utc):%Y-%m-%d}"


def process_name(pid: int | None) -> str:
    """Name a process for a sentence; 0 is one that did not say."""
    if not pid:
        return "no process" if pid is None else "another process"
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"
