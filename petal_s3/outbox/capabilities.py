"""What was learnt of each bucket's server, kept from one process to the next.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.outbox.outbox import Outbox


def known_of(outbox: Outbox, bucket: str) -> str:
    """What was kept of ``bucket`` (endpoint and name), as text; empty for nothing."""
    for record in outbox.sql.records(
        "SELECT value FROM fact WHERE name = :name", name=f"capabilities {bucket}"
    ):
        return str(record["value"])
    return ""


def keep(outbox: Outbox, bucket: str, known: str) -> None:
    """Keep what is known of ``bucket``, in place of what was kept before."""
    outbox.sql.change(
        "INSERT OR REPLACE INTO fact VALUES (:name, :value)",
        name=f"capabilities {bucket}",
        value=known,
    )
