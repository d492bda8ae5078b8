"""What an outbox remembers beside its rows: the drain's last words, facts, and the inventory.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from petal_s3.outbox.outbox import Outbox


def say(outbox: Outbox, said: Mapping[str, Any]) -> None:
    """Publish what the draining process says of itself, for other processes to read."""
    outbox.sql.change(
        "INSERT INTO drain (id, said) VALUES (1, :said)"
        " ON CONFLICT (id) DO UPDATE SET said = excluded.said",
        said=json.dumps(dict(said)),
    )


def said(outbox: Outbox) -> dict[str, Any]:
    """What the draining process last said of itself; empty before the first time."""
    for record in outbox.sql.records("SELECT said FROM drain WHERE id = 1"):
        return dict(json.loads(record["said"]))
    return {}


def knows(outbox: Outbox, fact: str) -> bool:
    """Whether ``fact`` was noted since this outbox was born."""
    return bool(outbox.sql.records("SELECT 1 AS one FROM fact WHERE name = :fact", fact=fact))


def note(outbox: Outbox, fact: str) -> None:
    """Note ``fact`` for the life of this outbox."""
    outbox.sql.change("INSERT OR REPLACE INTO fact VALUES (:fact, 'noted')", fact=fact)


def told(outbox: Outbox, fact: str) -> str:
    """What :func:`tell` said of ``fact``; empty where nothing was."""
    for record in outbox.sql.records("SELECT value FROM fact WHERE name = :fact", fact=fact):
        return str(record["value"])
    return ""


def tell(outbox: Outbox, fact: str, value: str) -> None:
    """Keep ``value`` under ``fact``, in place of what was kept before."""
    outbox.sql.change("INSERT OR REPLACE INTO fact VALUES (:fact, :value)", fact=fact, value=value)


# -- the inventory

_LISTING = "listing "


@dataclass(frozen=True)
class Held:
    """An object that was in the bucket before this outbox.

    ``part_size`` and ``crc32`` (of the whole, as S3 writes it) are none before S3 was asked for
    them; then 0 and empty where it does not tell.
    """

    key: str
    etag: str
    part_size: int | None = None
    crc32: str | None = None


def inventory_taken(outbox: Outbox) -> bool:
    """Whether the bucket was listed once since this outbox was born."""
    return knows(outbox, "inventory")


def take_inventory(outbox: Outbox, found: Iterable[tuple[str, int, str]] = ()) -> None:
    """Record what the bucket already holds, ``(key, size, etag)``, and that this is all."""
    with outbox.sql.write():
        _hold(outbox, found)
        conn = outbox.sql.db.conn
        conn.execute("DELETE FROM fact WHERE substr(name, 1, ?) = ?", (len(_LISTING), _LISTING))
        conn.execute("INSERT OR REPLACE INTO fact VALUES ('inventory', 'taken')")


def list_on(
    outbox: Outbox, prefix: str, found: Iterable[tuple[str, int, str]], following: str
) -> None:
    """Record one page of a listing; ``following``: where the next begins, empty after the last."""
    with outbox.sql.write():
        _hold(outbox, found)
        outbox.sql.db.conn.execute(
            "INSERT OR REPLACE INTO fact VALUES (?, ?)", (_LISTING + prefix, following)
        )


def listed_to(outbox: Outbox, prefix: str) -> str | None:
    """Where the next page of a listing begins; empty after the last, none before the first."""
    fact = _LISTING + prefix
    return told(outbox, fact) if knows(outbox, fact) else None


def list_anew(outbox: Outbox, prefix: str) -> None:
    """Forget how far a listing came."""
    outbox.sql.change("DELETE FROM fact WHERE name = :fact", fact=_LISTING + prefix)


def remember_object(outbox: Outbox, key: str, size: int, etag: str) -> None:
    """Record an object that was met in the bucket after the inventory was taken."""
    outbox.sql.change(
        "INSERT OR REPLACE INTO remote (key, size, etag) VALUES (:key, :size, :etag)",
        key=key,
        size=size,
        etag=etag,
    )


def object_at(outbox: Outbox, key: str) -> bool:
    """Whether the bucket was seen to hold something at ``key``."""
    return bool(outbox.sql.records("SELECT 1 AS one FROM remote WHERE key = :key", key=key))


def held_of_size(outbox: Outbox, size: int) -> list[Held]:
    """Objects of ``size`` bytes that were there before this outbox."""
    found = outbox.sql.records(
        "SELECT key, etag, part_size, crc32 FROM remote WHERE size = :size", size=size
    )
    return [Held(**record) for record in found]


def hold(outbox: Outbox, held: Held, size: int) -> None:
    """Record what S3 told of an object when it was asked."""
    outbox.sql.change(
        "INSERT OR REPLACE INTO remote (key, size, etag, part_size, crc32)"
        " VALUES (:key, :size, :etag, :part_size, :crc32)",
        key=held.key,
        size=size,
        etag=held.etag,
        part_size=held.part_size,
        crc32=held.crc32,
    )


def no_longer_held(outbox: Outbox, key: str) -> None:
    """Record that an object of the inventory is there no more."""
    outbox.sql.change("DELETE FROM remote WHERE key = :key", key=key)


def _hold(outbox: Outbox, found: Iterable[tuple[str, int, str]]) -> None:
    outbox.sql.db.conn.executemany(
        "INSERT INTO remote (key, size, etag) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " size = excluded.size, etag = excluded.etag, part_size = NULL, crc32 = NULL"
        " WHERE (size, etag) != (excluded.size, excluded.etag)",
        found,
    )
