"""What is to be reached: the rows of the table, their bars, and what was measured before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A figure must not be above it, or not below it."""

    value: float
    unit: str = ""
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a figure keeps to it."""
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{'≥' if self.at_least else '≤'} {self.value:g}{unit}"


@dataclass(frozen=True)
class Row:
    """One thing to be reached; ``before``: what it was on 2026-11-29, as measured then."""

    what: str
    before: str
    bars: tuple[Bar, ...]


ROWS: dict[int, Row] = {
    1: Row("CPU over boto3's `upload_file`, https, 1 GiB", "2.8 to 3.4", (Bar(0.6),)),
    2: Row("wall over boto3, https, loopback, 1 GiB", "2.2 to 3.5", (Bar(0.6),)),
    3: Row("CPU over boto3, http, 1 GiB", "2.95", (Bar(0.6),)),
    4: Row(
        "200 logs of 1 MiB through the outbox, each proven: CPU over a loop of `upload_file`",
        "2.7 (3.3 net)",
        (Bar(1.0),),
    ),
    5: Row(
        "200 logs of exactly the same size, likewise; requests a log",
        "8.9; 46",
        (Bar(1.0), Bar(2)),
    ),
    6: Row(
        "goodput over the better of curl and boto3: 16 Mbit/s 20 ms, 16 Mbit/s 300 ms,"
        " 100 Mbit/s 20 ms, 100 Mbit/s 300 ms; share of the link on the first three",
        "0.98, 0.59, 0.79, 0.20",
        (*(Bar(1.0, at_least=True),) * 4, *(Bar(0.92, at_least=True),) * 3),
    ),
    7: Row(
        "`MAX_RATE` 500 kB/s: most bytes in any 100 ms over the rate; the mean off by",
        "3.07",
        (Bar(1.5), Bar(2, "%")),
    ),
    8: Row(
        "peak memory over a drain of one small log: 0.5, 1, 4 GiB",
        "8.9, 10.4, 9.4 MiB",
        (Bar(12, "MiB"),) * 3,
    ),
    9: Row(
        "memory that an idle process keeps after its first upload",
        "27 to 30 MiB",
        (Bar(15, "MiB"),),
    ),
    10: Row(
        "petal imported and constructed in the host: CPU, memory; longest block on its loop",
        "283 ms, 16.5 MiB; 76 ms",
        (Bar(60, "ms"), Bar(6, "MiB"), Bar(10, "ms")),
    ),
    11: Row(
        "idle for 10 minutes with 100,000 rows: CPU, wake-ups a second",
        "0.18 %, 11",
        (Bar(0.05, "%"), Bar(1)),
    ),
    12: Row("CPU of `petal-s3 --version`, `status`", "0.57 s", (Bar(0.15, "s"), Bar(0.25, "s"))),
    13: Row(
        "opening the outbox at 1,000,000 rows; `enqueue` of one file then",
        "13 s, 27.8 s",
        (Bar(0.3, "s"),),
    ),
    14: Row(
        "scan of 100,000 known files: CPU, memory", "3.9 s, 75 MiB", (Bar(0.8, "s"), Bar(10, "MiB"))
    ),
    15: Row("`enqueue` of 200 files in one command: CPU", "3.1 to 4.2 s", (Bar(1.2, "s"),)),
    16: Row(
        "1,000 robots whose link returns at once: most requests in any second, of those without"
        " jitter: S3, token service",
        "not measured",
        (Bar(5, "%"), Bar(5, "%")),
    ),
    17: Row(
        "a log of the autopilot's card, goodput over what fits on the line: 921600 and 57600 baud;"
        " the same at 1 % loss",
        "host 0.46, pymavlink 0.32 to 0.43; at 1 % loss host 0.37",
        (*(Bar(0.95, at_least=True),) * 2, *(Bar(0.90, at_least=True),) * 2),
    ),
    18: Row(
        "listing of a card with 500 logs at 921600 baud", "host 16 s for two logs", (Bar(3, "s"),)
    ),
    19: Row(
        "a log of the autopilot's card through the real host on loopback; heartbeats missed"
        " meanwhile; loop lag of the host, p99; of 20 syncs of petal-flight-log those that succeed"
        " meanwhile; read again after kill -9 of the host, of the autopilot, beyond one window",
        "the host's own client: 42 to 52, all for 25 to 52 s; a prototype: 16 ms; everything",
        (
            Bar(500, "KiB/s", at_least=True),
            Bar(0),
            Bar(10, "ms"),
            Bar(20, at_least=True),
            Bar(64, "KiB"),
            Bar(64, "KiB"),
        ),
    ),
}
