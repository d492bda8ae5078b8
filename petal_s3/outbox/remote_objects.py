"""Objects that the bucket held before this outbox, or that others put there: possible duplicates.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.logs.sniff import named_like
from petal_s3.outbox import facts
from petal_s3.outbox.outbox import Outbox

_LISTING = "listing "
_LISTED = "inventory"
_STAMP = re.compile(r"[0-9]{8}_[0-9]{6}_")


@dataclass(frozen=True)
class RemoteObject:
    """An object of the bucket that is not of a row of this outbox.

    ``part_size`` and ``crc32`` (of the whole, as S3 writes it) are none before S3 was asked for
    them; then 0 and empty where it does not tell.
    """

    key: str
    etag: str
    part_size: int | None = None
    crc32: str | None = None


def listed_once(outbox: Outbox) -> bool:
    """Whether the bucket was listed to its end since this outbox was created."""
    return facts.noted(outbox, _LISTED)


def complete_listing(outbox: Outbox, found: Iterable[tuple[str, int, str]] = ()) -> None:
    """Record the objects ``found``, ``(key, size, etag)``, and that the listing is complete."""
    with outbox.sql.write():
        _record(outbox, found)
        conn = outbox.sql.conn
        conn.execute("DELETE FROM fact WHERE substr(name, 1, ?) = ?", (len(_LISTING), _LISTING))
        conn.execute("INSERT OR REPLACE INTO fact VALUES (?, 'taken')", (_LISTED,))


def record_page(
    outbox: Outbox, prefix: str, found: Iterable[tuple[str, int, str]], following: str
) -> None:
    """Record a page of the listing of ``prefix``, ``(key, size, etag)``.

    ``following``: the token of the next page, empty after the last.
    """
    with outbox.sql.write():
        _record(outbox, found)
        outbox.sql.conn.execute(
            "INSERT OR REPLACE INTO fact VALUES (?, ?)", (_LISTING + prefix, following)
        )


def next_page(outbox: Outbox, prefix: str) -> str | None:
    """The token of the next page to list; empty after the last, none before the first."""
    fact = _LISTING + prefix
    return facts.value(outbox, fact) if facts.noted(outbox, fact) else None


def restart_listing(outbox: Outbox, prefix: str) -> None:
    """Forget how far the listing of ``prefix`` has come."""
    facts.forget(outbox, _LISTING + prefix)


def add(outbox: Outbox, key: str, size: int, etag: str) -> None:
    """Record an object that was found in the bucket after it was listed."""
    outbox.sql.change(
        "INSERT OR REPLACE INTO remote (key, size, etag) VALUES (:key, :size, :etag)",
        key=key,
        size=size,
        etag=etag,
    )


def newest_log(outbox: Outbox) -> int:
    """When the newest flight log among the recorded objects was made, by its key, in seconds since
    1970; 0 where there is none. Those of rows of this outbox do not count."""
    newest = ""
    for record in outbox.sql.records(
        "SELECT key FROM remote WHERE key NOT IN (SELECT key FROM log)"
    ):
        name = str(record["key"]).rpartition("/")[2]
        found = _STAMP.match(name)
        if found and named_like(name, FLIGHT_KINDS):
            newest = max(newest, found[0])
    with contextlib.suppress(ValueError):
        made = datetime.strptime(newest, "%Y%m%d_%H%M%S_").replace(tzinfo=timezone.utc)
        return int(made.timestamp())
    return 0


def exists(outbox: Outbox, key: str) -> bool:
    """Whether the bucket was seen to hold something at ``key``."""
    return bool(outbox.sql.records("SELECT 1 AS one FROM remote WHERE key = :key", key=key))


_KNOWN = f"""
SELECT EXISTS (SELECT 1 FROM fact WHERE name = '{_LISTED}') AS listed,
    EXISTS (SELECT 1 FROM remote WHERE key = :key) AS held,
    (SELECT count(*) FROM (SELECT 1 FROM log WHERE key = :key LIMIT 2)) AS rows,
    EXISTS (SELECT 1 FROM remote WHERE size = :size) AS alike,
    EXISTS (SELECT 1 FROM log INDEXED BY proven_content
        WHERE state = 'verified' AND size = :size) AS proven
"""


@dataclass(frozen=True)
class Known:
    """What the outbox knows of a key and of files of a size, at one moment.

    ``listed``: whether the bucket was listed to its end; ``held``: whether it was seen to hold
    something at the key; ``shared``: whether more than one row has the key. ``alike``: the recorded
    objects of the size; ``proven``: whether a verified row has a file of it.
    """

    listed: bool
    held: bool
    shared: bool
    alike: list[RemoteObject]
    proven: bool


def known(outbox: Outbox, key: str, size: int) -> Known:
    """All that is known of ``key``, and of files of ``size`` bytes, in one question."""
    found = outbox.sql.record(_KNOWN, key=key, size=size)
    return Known(
        listed=bool(found["listed"]),
        held=bool(found["held"]),
        shared=found["rows"] > 1,
        alike=of_size(outbox, size) if found["alike"] else [],
        proven=bool(found["proven"]),
    )


def of_size(outbox: Outbox, size: int) -> list[RemoteObject]:
    """The recorded objects of ``size`` bytes."""
    found = outbox.sql.records(
        "SELECT key, etag, part_size, crc32 FROM remote WHERE size = :size", size=size
    )
    return [RemoteObject(**record) for record in found]


def describe(outbox: Outbox, found: RemoteObject, size: int) -> None:
    """Record what S3 told of an object of ``size`` bytes when it was asked."""
    outbox.sql.change(
        "INSERT OR REPLACE INTO remote (key, size, etag, part_size, crc32)"
        " VALUES (:key, :size, :etag, :part_size, :crc32)",
        key=found.key,
        size=size,
        etag=found.etag,
        part_size=found.part_size,
        crc32=found.crc32,
    )


def remove(outbox: Outbox, key: str) -> None:
    """Record that an object is no longer in the bucket."""
    outbox.sql.change("DELETE FROM remote WHERE key = :key", key=key)


def _record(outbox: Outbox, found: Iterable[tuple[str, int, str]]) -> None:
    outbox.sql.conn.executemany(
        "INSERT INTO remote (key, size, etag) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " size = excluded.size, etag = excluded.etag, part_size = NULL, crc32 = NULL"
        " WHERE (size, etag) != (excluded.size, excluded.etag)",
        found,
    )
