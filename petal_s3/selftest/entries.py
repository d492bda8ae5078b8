"""A log and a proof for the check of the outbox; they name nothing that exists."""

from __future__ import annotations

from pathlib import Path

from petal_s3.logs.opening import Identity
from petal_s3.outbox.rows import Entry, Receipt

_KEY = "flight_logs/selftest/20250727_143022_flight.ulg"


def entry(folder: Path) -> Entry:
    """The same log at each call."""
    return Entry(
        path=str(folder / "flight.ulg"),
        identity=Identity(dev=1, ino=2, size=9, mtime_ns=3),
        key=_KEY,
        name="flight.ulg",
        kind="ulog",
        verdict="complete",
        facts={"sys-name": "PX4"},
        logged_at=1_753_626_622,
        landed_at=0,
    )


def receipt() -> Receipt:
    """The proof of that log."""
    return Receipt(
        key=_KEY,
        etag="25f9e794323b453885f5181f1b624d0b",
        checksum="y/Q5Jg==",
        size=9,
        proof="crc32+etag",
        verified_at=1_753_626_700,
    )
