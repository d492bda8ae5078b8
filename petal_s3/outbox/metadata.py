"""What an outbox remembers beside its rows: the drain's last words, facts, and the inventory.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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


def inventory_taken(outbox: Outbox) -> bool:
    """Whether the bucket was listed once since this outbox was born."""
    return knows(outbox, "inventory")


def take_inventory(outbox: Outbox, found: Iterable[tuple[str, int, str]]) -> None:
    """Record what the bucket already holds: ``(key, size, etag)``."""
    with outbox.sql.write():
        conn = outbox.sql.db.conn
        conn.executemany("INSERT OR REPLACE INTO remote (key, size, etag) VALUES (?, ?, ?)", found)
        conn.execute("INSERT OR REPLACE INTO fact VALUES ('inventory', 'taken')")


def held_of_size(outbox: Outbox, size: int) -> list[tuple[str, str]]:
    """``(key, etag)`` of objects of ``size`` bytes that were there before this outbox."""
    found = outbox.sql.records("SELECT key, etag FROM remote WHERE size = :size", size=size)
    return [(str(record["key"]), str(record["etag"])) for record in found]
