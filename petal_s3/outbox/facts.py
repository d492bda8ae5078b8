"""Named facts that last as long as the outbox.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.outbox.outbox import Outbox


def noted(outbox: Outbox, fact: str) -> bool:
    """Whether ``fact`` was noted, or a value kept for it, since this outbox was created."""
    return bool(outbox.sql.records("SELECT 1 AS one FROM fact WHERE name = :fact", fact=fact))


def note(outbox: Outbox, fact: str) -> None:
    """Note ``fact``, which has no value."""
    keep(outbox, fact, "noted")


def value(outbox: Outbox, fact: str) -> str:
    """The value that is kept for ``fact``; empty where none is."""
    for record in outbox.sql.records("SELECT value FROM fact WHERE name = :fact", fact=fact):
        return str(record["value"])
    return ""


def keep(outbox: Outbox, fact: str, value: str) -> None:
    """Keep ``value`` for ``fact``, in place of what was kept before."""
    outbox.sql.change("INSERT OR REPLACE INTO fact VALUES (:fact, :value)", fact=fact, value=value)


def forget(outbox: Outbox, fact: str) -> None:
    """Forget ``fact`` and its value."""
    outbox.sql.change("DELETE FROM fact WHERE name = :fact", fact=fact)
