"""Watch the logs of the show on their way: by what the petal answers, and the link has seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.filesize import decimal

from petal_s3.demo.flown_logs import Log
from petal_s3.demo.screen import Bar, Screen, footer
from petal_s3.demo.stage import Stage

PATIENCE_S = 60.0
_POLL_S = 0.2
_QUICK_S = 0.02
_BODIES = ("UploadPart", "PutObject")

_T = TypeVar("_T")
_Row = dict[str, Any]


class ShowFailed(Exception):
    """What was promised did not come about."""


@dataclass(frozen=True)
class Look:
    """What is looked at: all logs, and which of them lies on the autopilot's card."""

    stage: Stage
    screen: Screen
    logs: Sequence[Log]
    on_card: Log

    def until(self, what: str, true: Callable[[], _T | None]) -> _T:
        """Wait for what ``true`` finds; raises when it does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := true()):
            if time.monotonic() > deadline:
                raise ShowFailed(f"{what}: not within {PATIENCE_S:.0f} s")
            time.sleep(_QUICK_S)
        return found

    def heard(self, state: str) -> Callable[[], bool]:
        return lambda: bool(self.stage.ask("/status")["flight_state"] == state)

    def watch(self, done: Callable[[list[_Row]], bool]) -> None:
        """Show progress until ``done``; raises when a log is given up or nothing moves."""
        moved_at, seen = time.monotonic(), 0
        with self.screen.board() as board:
            while True:
                rows, status = self.stage.ask("/outbox")["rows"], self.stage.ask("/status")
                board.show([self.bar(rows, status, log) for log in self.logs], footer(status))
                lost = [row for row in rows if row["state"] in {"dead", "cancelled"}]
                if lost:
                    raise ShowFailed(f"{lost[0]['path']} was given up: {lost[0]['reason']}")
                if done(rows):
                    return
                moved = self.stage.link.ledger.body_bytes + self.stage.card.read_bytes
                if moved != seen:
                    moved_at, seen = time.monotonic(), moved
                if time.monotonic() - moved_at > PATIENCE_S:
                    raise ShowFailed(f"nothing moves: {status['reason'] or 'no reason is given'}")
                time.sleep(_POLL_S)

    def bar(self, rows: Sequence[_Row], status: _Row, log: Log) -> Bar:
        found = [row for row in rows if self.is_of(row, log)]
        if not found and log is self.on_card:
            return Bar(log.name, self.fetched_bytes(), log.size, "on the card")
        if not found:
            return Bar(log.name, 0, log.size, "settles")
        row = found[0]
        if row["state"] == "verified":
            return Bar(log.name, log.size, log.size, "proven", row["receipt"]["proof"])
        if row["state"] == "uploading":
            rate = f"{decimal(status['rate_bytes_s'])}/s" if status["rate_bytes_s"] else ""
            return Bar(log.name, row["sent_bytes"], log.size, "sending", rate)
        return Bar(log.name, row["sent_bytes"], log.size, "waits")

    def fetched_bytes(self) -> int:
        """How much of the autopilot's log is on this machine."""
        return sum(file["fetched_bytes"] for file in self.stage.ask("/card")["files"])

    def row(self, rows: Sequence[_Row], log: Log) -> _Row:
        return next(row for row in rows if self.is_of(row, log))

    def is_of(self, row: _Row, log: Log) -> bool:
        """Whether it is the row of this log; what came from the card has a path in the spool."""
        if log is self.on_card:
            return bool(row["received_by"] == "card")
        return bool(row["path"] == str(log.path))

    def confirmed(self, rows: Sequence[_Row], log: Log) -> int:
        """Parts of a log that S3 has confirmed."""
        return self.stage.link.ledger.parts(self.row(rows, log)["key"]).confirmed

    def first_body(self, since: float) -> float | None:
        """When the first byte of a log was on the wire after ``since``."""
        return min(
            (
                request.first_byte
                for request in self.stage.link.ledger.requests()
                if request.op in _BODIES and request.first_byte and request.started > since
            ),
            default=None,
        )
