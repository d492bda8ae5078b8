"""Rows for the tests of the outbox: brought into each state by the outbox's own verbs."""

from __future__ import annotations

from typing import Any

from petal_s3.logs.opening import Identity
from petal_s3.outbox import entering, requests, transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Entry, Receipt, Row

LEASE_S = 60.0
STATES = ("queued", "uploading", "verified", "dead", "cancelled")


def identity(ino: int = 1, *, size: int = 1000, mtime_ns: int = 5, dev: int = 7) -> Identity:
    return Identity(dev, ino, size, mtime_ns)


def entry(name: str = "a.ulg", file: Identity | None = None, **more: Any) -> Entry:
    about: dict[str, Any] = {
        "path": f"/logs/{name}",
        "identity": file if file is not None else identity(),
        "key": f"flight_logs/m-1/{name}",
        "name": name,
        "kind": "ulog",
        "verdict": "complete",
        "facts": {"sys-name": "PX4"},
        "logged_at": 1_700_000_000,
        "landed_at": 1_700_000_100,
    }
    return Entry(**{**about, **more})


def as_it_was(row: Row) -> Entry:
    """What an examination of the row's unchanged file finds."""
    return entry(row.name, row.identity, key=row.key, asked_key=row.asked_key)


def receipt(row: Row) -> Receipt:
    return Receipt(row.key, "e" * 32, "crc32:AAAAAA==", row.size, "crc32+etag", 1_700_000_200)


def claim(outbox: Outbox, now: float = 0.0) -> Row:
    row = transitions.claim(outbox, now, LEASE_S)
    assert row is not None
    return row


def with_upload(outbox: Outbox, row: Row) -> Row:
    """A claimed row whose multipart upload has begun and holds 400 confirmed bytes."""
    row = transitions.remember_upload(
        outbox, transitions.plan(outbox, row, 500), "upload-1", checksummed=True
    )
    return transitions.progress(outbox, row, LEASE_S, sent_bytes=400, sent=1, resent=0)


def row_in(outbox: Outbox, state: str, name: str = "a.ulg", **more: Any) -> Row:
    """Land a log in an outbox that has no other due row, and bring it into ``state``."""
    row = entering.enqueue(outbox, entry(name, **more))
    if state == "queued":
        return row
    if state == "cancelled":
        return requests.cancel(outbox, row.id, "Cancelled on request.")
    row = claim(outbox)
    if state == "verified":
        return transitions.verified(outbox, row, receipt(row))
    return (
        transitions.mark_dead(outbox, row, "source_gone", "It was deleted.")
        if state == "dead"
        else row
    )
