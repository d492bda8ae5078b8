"""The values of the outbox: a row, what is to become one, and the receipt of a proof."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from petal_s3.core import clock
from petal_s3.core.kinds import Way
from petal_s3.errors import S3IntegrationError
from petal_s3.logs.log_file import content_type_of
from petal_s3.logs.opening import Identity
from petal_s3.outbox.database import Record

REFUSED = "refused"
"""The verdict of a file that is no log: its row is dead."""

FLIGHT = "flight"
"""Of a ULog: the fact that names its flight, by folder and start of the flight's first file."""
LIMIT = "max_bytes"
"""Of a file that was refused as too large: the fact that says by which limit, in bytes."""
OTHER_LIMIT = (
    f"(:{LIMIT} IS NOT NULL AND json_extract(facts, '$.{LIMIT}') IS NOT CAST(:{LIMIT} AS TEXT))"
)


SENT_AGAIN = (
    "Its object is gone from the bucket, or is another one: row {id}, of the same bytes, was queued"
    " to send it again."
)
"""Of a proven row whose object another row brings again: why it is gone, as it is shown."""


@dataclass(frozen=True)
class Receipt:
    """The proof that an object holds the file's bytes.

    ``proof``: ``crc32+etag``, ``etag`` or ``crc32``: what S3 said and we recomputed; or
    ``read-back``: the bytes themselves.
    ``verified_at``: seconds since 1970 by S3's clock.
    """

    key: str
    etag: str
    checksum: str
    size: int
    proof: str
    verified_at: int


@dataclass(frozen=True)
class Entry:
    """A log that is to enter the outbox."""

    path: str
    identity: Identity
    key: str
    name: str
    kind: str
    verdict: str
    facts: Mapping[str, str]
    logged_at: int
    landed_at: int
    asked_key: str = ""
    spooled: bool = False
    session_id: str | None = None
    priority: int = 0
    content_type: str = ""
    received_by: Way = ""


@dataclass(frozen=True)
class Row:
    """One log in the outbox; columns as in :mod:`petal_s3.outbox.schema`."""

    id: int
    path: str
    dev: int
    ino: int
    size: int
    mtime_ns: int
    asked_key: str
    key: str
    name: str
    kind: str
    verdict: str
    facts: dict[str, str]
    spooled: bool
    session_id: str | None
    priority: int
    logged_at: int
    landed_at: int
    state: str
    boot_id: str
    due_at: float
    lease: str | None
    attempts: int
    failures: int
    code: str
    reason: str
    upload_id: str | None
    part_size: int | None
    checksummed: bool
    sent_bytes: int
    parts_sent: int
    parts_resent: int
    receipt: Receipt | None
    same_as: int | None
    pinned: bool = False
    local: str = "kept"
    content_type: str = ""
    stored_at: int | None = None
    read_back: str | None = None
    dismissed: bool = False
    settled_s: float = 0.0
    gone: str = ""
    received_by: Way = ""

    @property
    def media_type(self) -> str:
        """What the object is stored as."""
        return self.content_type or content_type_of(self.kind, self.name)

    @property
    def identity(self) -> Identity:
        """The file as it was entered."""
        return Identity(self.dev, self.ino % (1 << 64), self.size, self.mtime_ns)

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in {"verified", "dead", "cancelled"}

    @property
    def has_copy(self) -> bool:
        """Whether its copy lies in the spool, as far as the outbox knows."""
        return self.spooled and self.state != "verified" and self.local == "kept"

    @property
    def sent_again(self) -> str:
        """That another row was queued to bring its object again; empty where none was."""
        return self.gone if self.gone == SENT_AGAIN.format(id=self.same_as) else ""

    @property
    def lost(self) -> bool:
        """Whether S3 lost what was sent from a copy in the spool: only its file can bring it."""
        return self.state == "verified" and self.spooled and self.local == "deleted"

    def failed_by(self, error: S3IntegrationError) -> bool:
        """Whether its last attempt failed by the same answer to the same request."""
        if not self.failures or self.code != error.code:
            return False
        return error.told is None or f"{error.told.operation} " in self.reason

    def next_attempt_s(self, now: float) -> float | None:
        """Seconds until the next attempt while queued; none in any other state."""
        if self.state != "queued":
            return None
        return max(0.0, self.due_at - now) if self.boot_id == clock.boot_id() else 0.0


def printable(text: str) -> str:
    """A path or name as it is written in a row: bytes that are not UTF-8 become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_COLUMNS = tuple(field.name for field in fields(Row))


def row_of(record: Record) -> Row:
    """The row that a record of the table ``log`` stands for."""
    values = {name: record[name] for name in _COLUMNS}
    values["facts"] = json.loads(values["facts"])
    values["spooled"] = bool(values["spooled"])
    values["checksummed"] = bool(values["checksummed"])
    values["pinned"] = bool(values["pinned"])
    values["dismissed"] = values["state"] == "dead" and bool(values["dismissed"])
    if values["receipt"] is not None:
        values["receipt"] = Receipt(**json.loads(values["receipt"]))
    return Row(**values)


SAME_FILE = (
    "SELECT * FROM log WHERE path = :path AND ino = :ino AND size = :size"
    " AND mtime_ns = :mtime_ns AND asked_key = :asked_key"
)


def signed(ino: int) -> int:
    """An inode number as SQLite's signed integers hold it; it is unsigned, 64 bit."""
    return ino - (1 << 64) if ino >= 1 << 63 else ino


def columns(identity: Identity) -> dict[str, int]:
    """The columns that identify a file in a row."""
    return {
        "dev": identity.dev,
        "ino": signed(identity.ino),
        "size": identity.size,
        "mtime_ns": identity.mtime_ns,
    }
