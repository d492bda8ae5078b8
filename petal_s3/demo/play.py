"""Play a flight and what comes after it, act by act, and watch the logs on their way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from math import ceil
from typing import Any

from rich.filesize import decimal

from petal_s3.demo.audit import Bucket, Finding, find
from petal_s3.demo.bag_recorder import BagRecorder
from petal_s3.demo.flown_logs import Log, logs_of
from petal_s3.demo.screen import Bar, Screen
from petal_s3.demo.stage import BUCKET, CARD_BYTES_S, MACHINE, PART_BYTES, SETTLE_S, Stage
from petal_s3.demo.ulog_recorder import UlogRecorder
from petal_s3.demo.watching import PATIENCE_S, Look, ShowFailed

_TICKS = 24
_TICK_S = 0.25
_TAKE_OFF_TICK = 4
_CUT_AT, _FETCHED_AT = 0.4, 0.2
_WELL_UNDER_WAY = 0.6
_CRAWL = 0.02  # of its usual rate: what is ahead waits for the other in its middle
_READ_AGAIN_BYTES = 128 * 1024

_Row = dict[str, Any]


class Show:
    """One performance on a stage."""

    def __init__(self, stage: Stage, screen: Screen, big_bytes: int) -> None:
        self.stage = stage
        self.screen = screen
        now = datetime.now(timezone.utc)
        self.earlier, self.flown = logs_of(stage.log_dir, stage.card.log_dir, big_bytes, now)
        self.logs = [*self.flown, self.earlier]
        self.on_card, self.big = self.flown[:2]
        self.look = Look(stage, screen, self.logs, self.on_card)
        self.big_parts = ceil(self.big.size / PART_BYTES)
        self.held = self.fetched = 0
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
        self.stage.host.wait_ready(PATIENCE_S)
        self.look.until("the petal hears the armed vehicle", self.look.heard("armed"))
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
            ("autopilot's card", f"{stage.card.log_dir}  {decimal(CARD_BYTES_S)}/s"),
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
        self.look.watch(self.is_half_way)
        first = self.look.first_body(self.landed_at)
        assert first is not None
        self.screen.say(f"first byte on the wire {first - self.landed_at:.1f} s after the landing")

    def is_half_way(self, rows: list[_Row]) -> bool:
        """Whether both are well under way: the large log to S3, the autopilot's from its card.

        Whichever is ahead, on a slow or a fast machine, is not let out of its middle.
        """
        if not any(row["path"] == str(self.big.path) for row in rows):
            return False
        sent = self.look.confirmed(rows, self.big) / self.big_parts
        fetched = self.stage.fetched_bytes() / self.on_card.size
        both = sent >= _CUT_AT and fetched >= _FETCHED_AT
        self.stage.slow_down(
            link=_CRAWL if sent >= _WELL_UNDER_WAY and not both else 1.0,
            card=_CRAWL if fetched >= _WELL_UNDER_WAY and not both else 1.0,
        )
        return both

    def cut(self) -> None:
        self.screen.act("In the middle of it the link is cut and the host is killed (SIGKILL)")
        key = self.look.row(self.stage.ask("/outbox")["rows"], self.big)["key"]
        self.stage.link.cut()
        self.stage.host.kill()
        self.stage.slow_down(link=1.0, card=1.0)
        self.fetched = self.stage.fetched_bytes()
        self.screen.say(
            f"{decimal(self.fetched)} of {decimal(self.on_card.size)} of the autopilot's log"
            f" {self.on_card.name} came from its card, and are on the disk"
        )
        with Bucket(self.stage.s3.url, BUCKET) as bucket:
            sizes = bucket.held(key)
        self.held = len(sizes)
        self.screen.say(
            f"S3 has confirmed {self.held} of the {self.big_parts} parts of {self.big.name}"
            f" ({decimal(sum(sizes))})"
        )
        if not 0 < self.held < self.big_parts:
            raise ShowFailed("the cut did not fall into the middle of the large log")
        if not 0 < self.fetched < self.on_card.size:
            raise ShowFailed("the cut did not fall into the middle of the autopilot's log")

    def resume(self) -> None:
        self.screen.act("Link and host come back")
        began = time.monotonic()
        self.stage.link.forward()
        self.stage.host.start()
        self.stage.host.wait_ready(PATIENCE_S)
        ready = time.monotonic()
        self.look.until("the petal hears the disarmed vehicle", self.look.heard("disarmed"))
        known = time.monotonic()
        first = self.look.until("the upload resumes", lambda: self.look.first_body(began))
        self.screen.say(
            f"host ready after {ready - began:.1f} s, vehicle heard after {known - began:.1f} s,"
            f" next part on the wire {max(0.0, first - known):.2f} s later"
        )
        self.look.watch(
            lambda rows: (
                len(rows) == len(self.logs) and all(row["state"] == "verified" for row in rows)
            )
        )
        self.count_parts_since(began)
        self.count_read_again()

    def count_parts_since(self, began: float) -> None:
        key = self.look.row(self.stage.ask("/outbox")["rows"], self.big)["key"]
        travelled = sum(
            request.started > began
            for request in self.stage.link.ledger.requests("UploadPart", key)
        )
        missing = self.big_parts - self.held
        self.screen.say(f"{missing} parts were missing in S3, {travelled} parts travelled")
        if travelled != missing:
            raise ShowFailed(f"{travelled} parts travelled, though only {missing} were missing")

    def count_read_again(self) -> None:
        """What the card was asked for beyond the log itself: to compare, and what the kill cost."""
        again = self.stage.card.read_bytes - self.on_card.size
        self.screen.say(
            f"of the autopilot's log {decimal(max(0, again))} were read again, to compare them and"
            " because of the kill"
        )
        if again > _READ_AGAIN_BYTES:
            raise ShowFailed(f"{again} bytes were read again from the card")

    def prove(self) -> list[Finding]:
        self.screen.act("The proof: every object, read back from S3 and compared with the disk")
        ledger = self.stage.link.ledger
        with Bucket(self.stage.s3.url, BUCKET) as bucket:
            rows = self.stage.ask("/outbox")["rows"]
            findings = [
                find(bucket, ledger, self.look.row(rows, log), log.path) for log in self.logs
            ]
            left_open = len(bucket.open_uploads())
        self.screen.findings(BUCKET, f"flight_logs/{MACHINE}/", findings)
        self.screen.say(f"multipart uploads left open in the bucket: {left_open}")
        if left_open:
            raise ShowFailed(f"{left_open} multipart uploads were left open")
        return findings
