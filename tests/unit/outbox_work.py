"""What SQLite itself reports of a piece of work on an outbox."""

from __future__ import annotations

from collections.abc import Callable

from petal_s3.outbox.outbox import Outbox


def statements(outbox: Outbox, work: Callable[[], object]) -> list[str]:
    """The statements that ``work`` runs, those of triggers too, as SQLite itself reports them."""
    heard: list[str] = []
    outbox.sql.db.conn.set_trace_callback(heard.append)
    try:
        work()
    finally:
        outbox.sql.db.conn.set_trace_callback(None)
    return [sql for sql in heard if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))]


def steps(outbox: Outbox, work: Callable[[], object]) -> int:
    """How many steps of its virtual machine SQLite takes for ``work``."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    outbox.sql.db.conn.set_progress_handler(counted, 1)
    try:
        work()
    finally:
        outbox.sql.db.conn.set_progress_handler(None, 1)
    return count
