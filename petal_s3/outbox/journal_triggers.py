"""Triggers of one connection that write the journal of rows, in the transaction of each change.

No change is without its entry. Of each row the first entries and the last are kept.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

FIRST, LAST = 10, 50
"""How many entries are kept of a row, from its beginning and from its end."""

_WRITE = f"""
INSERT INTO journal (row_id, at, s3_at, state, attempts, key, code, reason)
VALUES (new.id, device_s(), server_s(), new.state, new.attempts, new.key, new.code, new.reason);
DELETE FROM journal WHERE id =
    (SELECT id FROM journal WHERE row_id = new.id ORDER BY id LIMIT 1 OFFSET {FIRST})
AND EXISTS
    (SELECT 1 FROM journal WHERE row_id = new.id ORDER BY id LIMIT 1 OFFSET {FIRST + LAST});
"""
_CHANGED = (
    "WHEN (old.state, old.key) IS NOT (new.state, new.key)"
    " OR (new.state = 'queued' AND old.code != new.code)"
)


def write_journal(connection: sqlite3.Connection, server_s: Callable[[], int | None]) -> None:
    """Have the changes of this connection written down; ``server_s`` tells S3's time."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.create_function("device_s", 0, lambda: int(time.time()))
    connection.create_function("server_s", 0, server_s)
    for name, when in (("enters", "INSERT"), ("changes", "UPDATE OF state, key, code")):
        condition = _CHANGED if name == "changes" else ""
        connection.execute(
            f"CREATE TEMP TRIGGER journal_{name} AFTER {when} ON main.log {condition}"
            f" BEGIN {_WRITE} END"
        )
