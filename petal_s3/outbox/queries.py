"""Read rows and counts from the outbox.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.errors import S3FileNotFoundError
from petal_s3.outbox.outbox import OPEN, STATES, Outbox
from petal_s3.outbox.rows import Row


def next_due_s(outbox: Outbox, now: float) -> float | None:
    """Seconds until a row becomes due; none when no row waits."""
    waiting = f"FROM log INDEXED BY waiting WHERE {OPEN} AND boot_id"
    record = outbox.sql.record(
        f"SELECT CASE WHEN EXISTS (SELECT 1 {waiting} < :boot)"
        f" OR EXISTS (SELECT 1 {waiting} > :boot) THEN :now"
        f" ELSE (SELECT min(due_at) {waiting} = :boot) END AS due",
        boot=outbox.boot_id,
        now=now,
    )
    return None if record["due"] is None else max(0.0, float(record["due"]) - now)


def get(outbox: Outbox, row_id: int) -> Row:
    """Return the row; raises :class:`S3FileNotFoundError`."""
    row = outbox.first("SELECT * FROM log WHERE id = :id", id=row_id)
    if row is None:
        raise S3FileNotFoundError(f"There is no row {row_id} in the outbox.")
    return row


def rows(
    outbox: Outbox, state: str | None = None, limit: int = 100, before: int | None = None
) -> list[Row]:
    """Rows by descending id, at most ``limit``, those with ids below ``before``.

    ``state``: only those in it; ``dismissed``: the dead rows that are shown only when asked for.
    """
    where = "id < :before"
    if state in {"dead", "dismissed"}:
        where += f" AND state = 'dead' AND dismissed = {int(state == 'dismissed')}"
    else:
        where += " AND state = :state" if state else " AND NOT (state = 'dead' AND dismissed = 1)"
    return outbox.select(
        f"SELECT * FROM log WHERE {where} ORDER BY id DESC LIMIT :limit",
        before=before if before is not None else 1 << 62,
        state=state,
        limit=limit,
    )


def newer_ids(outbox: Outbox, than: int, limit: int) -> set[int]:
    """Ids above ``than``, the latest ``limit`` of them; those of dismissed rows aside."""
    found = outbox.sql.records(
        "SELECT id FROM log WHERE id > :than AND NOT (state = 'dead' AND dismissed = 1)"
        " ORDER BY id DESC LIMIT :limit",
        than=than,
        limit=limit,
    )
    return {int(record["id"]) for record in found}


def at_path(outbox: Outbox, path: str) -> list[Row]:
    """Rows of a path, the latest first."""
    return outbox.select("SELECT * FROM log WHERE path = :path ORDER BY id DESC", path=path)


def at_key(outbox: Outbox, key: str) -> list[Row]:
    """Rows of a key, the latest first."""
    return outbox.select("SELECT * FROM log WHERE key = :key ORDER BY id DESC", key=key)


def of_session(outbox: Outbox, session_id: str, limit: int = 1000) -> list[Row]:
    """Rows of a diagnosis session, the latest first."""
    return outbox.select(
        "SELECT * FROM log INDEXED BY by_session WHERE session_id = :session_id"
        " ORDER BY id DESC LIMIT :limit",
        session_id=session_id,
        limit=limit,
    )


def has_proven(outbox: Outbox, size: int) -> bool:
    """Whether a verified row has a file of ``size`` bytes."""
    found = outbox.sql.records(
        "SELECT 1 AS one FROM log INDEXED BY proven_content WHERE state = 'verified'"
        " AND size = :size LIMIT 1",
        size=size,
    )
    return bool(found)


def proven_like(outbox: Outbox, size: int, checksum: str) -> list[Row]:
    """Verified rows of a file of this size and checksum (``crc32:…``): perhaps the same bytes."""
    return outbox.select(
        "SELECT * FROM log INDEXED BY proven_content WHERE state = 'verified'"
        " AND size = :size AND json_extract(receipt, '$.checksum') = :checksum"
        " AND same_as IS NULL ORDER BY id DESC LIMIT 50",
        size=size,
        checksum=checksum,
    )


def proven_twin(outbox: Outbox, row: Row) -> Row | None:
    """A verified row of the very same file: path, inode, size and time of change."""
    return outbox.first(
        "SELECT * FROM log WHERE path = :path AND ino = :ino AND size = :size"
        " AND mtime_ns = :mtime_ns AND state = 'verified' AND receipt IS NOT NULL"
        " AND id != :id ORDER BY id DESC LIMIT 1",
        path=row.path,
        ino=row.ino,
        size=row.size,
        mtime_ns=row.mtime_ns,
        id=row.id,
    )


def leftovers(outbox: Outbox, limit: int = 20) -> list[Row]:
    """Rows that were given up after their upload had begun, or may have."""
    return outbox.select(
        "SELECT * FROM log INDEXED BY leftover WHERE part_size IS NOT NULL"
        " AND state IN ('dead', 'cancelled') ORDER BY id LIMIT :limit",
        limit=limit,
    )


def upload_ids(outbox: Outbox) -> set[str]:
    """Ids of every multipart upload that a row owns, whatever its state."""
    found = outbox.sql.records(
        "SELECT upload_id FROM log INDEXED BY one_upload_per_key WHERE upload_id IS NOT NULL"
    )
    return {str(record["upload_id"]) for record in found}


def counts(outbox: Outbox) -> dict[str, int]:
    """Number of rows in each state, the dismissed ones aside."""
    found = outbox.sql.records("SELECT state, rows FROM tally WHERE state != 'dismissed'")
    return dict.fromkeys(STATES, 0) | {str(r["state"]): int(r["rows"]) for r in found}


def counts_by_code(outbox: Outbox) -> list[tuple[str, str, int]]:
    """State, code as the row remembers it, and number, of rows not proven; the dismissed aside."""
    found = outbox.sql.records(
        "SELECT state, code, count(*) AS number FROM log INDEXED BY by_code"
        " WHERE state != 'verified' AND NOT (state = 'dead' AND dismissed = 1)"
        " GROUP BY state, code"
    )
    return [(str(one["state"]), str(one["code"]), int(one["number"])) for one in found]


def last_proof_at(outbox: Outbox) -> int | None:
    """When a log was proven last, in seconds since 1970 by S3's clock; none: no log was yet."""
    found = outbox.sql.record(
        "SELECT max(json_extract(log.receipt, '$.verified_at')) AS at FROM"
        " (SELECT row_id FROM journal WHERE state = 'verified' ORDER BY id DESC LIMIT 20) AS lately"
        " JOIN log ON log.id = lately.row_id WHERE log.state = 'verified'"
    )
    return None if found["at"] is None else int(found["at"])


def gone(outbox: Outbox) -> int:
    """Number of proven rows whose object was seen to be gone."""
    record = outbox.sql.record(
        "SELECT count(*) AS number FROM log INDEXED BY seen_gone"
        " WHERE state = 'verified' AND gone != ''"
    )
    return int(record["number"])


def backlog(outbox: Outbox) -> tuple[int, Row | None]:
    """Bytes not yet confirmed, and the row that has waited longest."""
    record = outbox.sql.record(f"SELECT sum(unsent) AS unsent FROM tally WHERE {OPEN}")
    waits = "SELECT min(id) AS id FROM log WHERE state ="
    oldest = outbox.first(
        "SELECT * FROM log WHERE id ="
        f" (SELECT min(id) FROM ({waits} 'queued' UNION ALL {waits} 'uploading'))"
    )
    return int(record["unsent"]), oldest


def written(outbox: Outbox) -> tuple[int, int]:
    """Two numbers of which one changes when this process, or another one, has written."""
    return changes(outbox), version(outbox)


def changes(outbox: Outbox) -> int:
    """A number that changes when this process has written."""
    return outbox.sql.changes()


def version(outbox: Outbox) -> int:
    """A number that changes when another process has written."""
    return int(outbox.sql.record("PRAGMA data_version")["data_version"])
