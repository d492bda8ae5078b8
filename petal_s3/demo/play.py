"""Play a flight and what comes after it, act by act, and watch the logs on their way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from math import ceil
from typing import Any, TypeVar

from rich.filesize import decimal

from petal_s3.demo.audit import Bucket, Finding, find
from petal_s3.demo.bag_recorder import BagRecorder
from petal_s3.demo.flown_logs import Log, logs_of
from petal_s3.demo.screen import Bar, Screen, footer
from petal_s3.demo.stage import BUCKET, MACHINE, PART_BYTES, SETTLE_S, Stage
from petal_s3.demo.ulog_recorder import UlogRecorder

_TICKS = 24
_TICK_S = 0.25
_TAKE_OFF_TICK = 4
_POLL_S = 0.2
_QUICK_S = 0.02
_PATIENCE_S = 60.0
_CUT_AT = 0.4
_BODIES = ("UploadPart", "PutObject")

_T = TypeVar("_T")
_Row = dict[str, Any]


class ShowFailed(Exception):
    """What was promised did not come about."""


class Show:
    """One performance on a stage."""

    def __init__(self, stage: Stage, screen: Screen, big_bytes: int) -> None:
        self.stage = stage
        self.screen = screen
        now = datetime.now(timezone.utc)
        self.earlier, self.flown = logs_of(stage.log_dir, big_bytes, now)
        self.logs = [*self.flown, self.earlier]
        self.big = self.flown[1]
        self.big_parts = ceil(self.big.size / PART_BYTES)
        self.held = 0
        self.landed_at = 0.0

    def play(self) -> list[Finding]:
        """All acts; raises when one fails."""
        self.switch_on()
        self.fly()
        self.land()
        self.cut()
        self.resume()
        return self.prove()

    def switch_on(self) -> None:
        self.screen.act("The vehicle is switched on; an earlier flight's log was never sent")
        with self.earlier.recorded() as log:
            log.write(self.earlier.size)
            log.close()
        self.stage.host.start()
        self.stage.host.wait_ready(_PATIENCE_S)
        self.until("the petal hears the armed vehicle", self.heard("armed"))
        self.screen.facts(self.addresses())
        self.stage.ask("/outbox", {"path": str(self.earlier.path)})
        self.screen.say("the earlier log is asked for over REST: it enters the outbox, and waits")

    def addresses(self) -> list[tuple[str, str]]:
        stage = self.stage
        rate = decimal(int(stage.link.link.rate_bytes_s))
        return [
            ("S3 server", f"{stage.s3.url}  bucket {BUCKET}"),
            ("link to S3", f"{stage.link.url}  {rate}/s, counts every byte, can be cut"),
            ("session tokens", stage.tokens.url),
            ("host", stage.host.url),
            ("petal", f"{stage.petal_url}/status"),
            ("log directory", str(stage.log_dir)),
        ]

    def fly(self) -> None:
        self.screen.act("In the air: the recorders write, and nothing is sent")
        with contextlib.ExitStack() as stack:
            running = [(log, stack.enter_context(log.recorded())) for log in self.flown]
            self.record(running)
            status = self.stage.ask("/status")
            body_bytes = self.stage.link.ledger.body_bytes
            self.screen.facts(
                [
                    ("petal", status["reason"]),
                    ("link", f"{body_bytes} bytes of any log were sent while armed"),
                ]
            )
            if status["flight_state"] != "armed" or body_bytes:
                raise ShowFailed(f"{body_bytes} bytes went out while {status['flight_state']}")
            self.landed_at = time.monotonic()
            self.stage.flight.land()
            self.stage.flight.disarm()
            for _, log in running:
                log.close()

    def record(self, running: Sequence[tuple[Log, UlogRecorder | BagRecorder]]) -> None:
        written = dict.fromkeys(self.flown, 0)
        with self.screen.board() as board:
            for tick in range(_TICKS):
                if tick == _TAKE_OFF_TICK:
                    self.stage.flight.take_off()
                for log, machine in running:
                    due = ceil(log.size * (tick + 1) / _TICKS) - written[log]
                    written[log] += machine.write(due) if due > 0 else 0
                bars = [Bar(log.name, written[log], log.size, "recording") for log in self.flown]
                waiting = Bar(self.earlier.name, 0, self.earlier.size, "waits")
                sent = self.stage.link.ledger.body_bytes
                board.show([*bars, waiting], f"armed; {sent} bytes of any log sent to S3")
                time.sleep(_TICK_S)

    def land(self) -> None:
        self.screen.act(f"Landed and disarmed; what is still for {SETTLE_S} s is sent")
        self.watch(lambda rows: self.confirmed(rows) >= _CUT_AT * self.big_parts)
        first = self.first_body(self.landed_at)
        assert first is not None
        self.screen.say(f"first byte on the wire {first - self.landed_at:.1f} s after the landing")

    def cut(self) -> None:
        self.screen.act("In the middle of it the link is cut and the host is killed (SIGKILL)")
        key = self.row(self.stage.ask("/outbox")["rows"], self.big)["key"]
        self.stage.link.cut()
        self.stage.host.kill()
        with Bucket(self.stage.s3.url, BUCKET) as bucket:
            sizes = bucket.held(key)
        self.held = len(sizes)
        self.screen.say(
            f"S3 has confirmed {self.held} of the {self.big_parts} parts of {self.big.name}"
            f" ({decimal(sum(sizes))})"
        )
        if not 0 < self.held < self.big_parts:
            raise ShowFailed("the cut did not fall into the middle of the large log")

    def resume(self) -> None:
        self.screen.act("Link and host come back")
        began = time.monotonic()
        self.stage.link.forward()
        self.stage.host.start()
        self.stage.host.wait_ready(_PATIENCE_S)
        ready = time.monotonic()
        self.until("the petal hears the disarmed vehicle", self.heard("disarmed"))
        known = time.monotonic()
        first = self.until("the upload resumes", lambda: self.first_body(began))
        self.screen.say(
            f"host ready after {ready - began:.1f} s, vehicle heard after {known - began:.1f} s,"
            f" next part on the wire {max(0.0, first - known):.2f} s later"
        )
        self.watch(lambda rows: all(row["state"] == "verified" for row in rows))
        self.count_parts_since(began)

    def count_parts_since(self, began: float) -> None:
        key = self.row(self.stage.ask("/outbox")["rows"], self.big)["key"]
        travelled = sum(
            request.started > began
            for request in self.stage.link.ledger.requests("UploadPart", key)
        )
        missing = self.big_parts - self.held
        self.screen.say(f"{missing} parts were missing in S3, {travelled} parts travelled")
        if travelled != missing:
            raise ShowFailed(f"{travelled} parts travelled, though only {missing} were missing")

    def prove(self) -> list[Finding]:
        self.screen.act("The proof: every object, read back from S3 and compared with the disk")
        ledger = self.stage.link.ledger
        with Bucket(self.stage.s3.url, BUCKET) as bucket:
            rows = self.stage.ask("/outbox")["rows"]
            findings = [find(bucket, ledger, self.row(rows, log)) for log in self.logs]
            left_open = len(bucket.open_uploads())
        self.screen.findings(BUCKET, f"flight_logs/{MACHINE}/", findings)
        self.screen.say(f"multipart uploads left open in the bucket: {left_open}")
        if left_open:
            raise ShowFailed(f"{left_open} multipart uploads were left open")
        return findings

    # -- looking

    def until(self, what: str, true: Callable[[], _T | None]) -> _T:
        """Wait for what ``true`` finds; raises when it does not come."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := true()):
            if time.monotonic() > deadline:
                raise ShowFailed(f"{what}: not within {_PATIENCE_S:.0f} s")
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
                if len(rows) == len(self.logs) and done(rows):
                    return
                if self.stage.link.ledger.body_bytes != seen:
                    moved_at, seen = time.monotonic(), self.stage.link.ledger.body_bytes
                if time.monotonic() - moved_at > _PATIENCE_S:
                    raise ShowFailed(f"nothing moves: {status['reason'] or 'no reason is given'}")
                time.sleep(_POLL_S)

    def bar(self, rows: Sequence[_Row], status: _Row, log: Log) -> Bar:
        found = [row for row in rows if row["path"] == str(log.path)]
        if not found:
            return Bar(log.name, 0, log.size, "settles")
        row = found[0]
        if row["state"] == "verified":
            return Bar(log.name, log.size, log.size, "proven", row["receipt"]["proof"])
        if row["state"] == "uploading":
            rate = f"{decimal(status['rate_bytes_s'])}/s" if status["rate_bytes_s"] else ""
            return Bar(log.name, row["sent_bytes"], log.size, "sending", rate)
        return Bar(log.name, row["sent_bytes"], log.size, "waits")

    def row(self, rows: Sequence[_Row], log: Log) -> _Row:
        return next(row for row in rows if row["path"] == str(log.path))

    def confirmed(self, rows: Sequence[_Row]) -> int:
        """Parts of the large log that S3 has confirmed."""
        return self.stage.link.ledger.parts(self.row(rows, self.big)["key"]).confirmed

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
