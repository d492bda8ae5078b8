"""Read rows and counts from the outbox.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from petal_s3.errors import S3FileNotFoundError
from petal_s3.logs.opening import Identity
from petal_s3.outbox.database import Value
from petal_s3.outbox.outbox import OPEN, STATES, Outbox
from petal_s3.outbox.rows import OTHER_LIMIT, Row, printable, signed

_SLOTS = (1, 16, 256)
_AT_ONCE = _SLOTS[-1]


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


def without_row(
    outbox: Outbox, files: Sequence[tuple[str, Identity]], *, max_bytes: int | None = None
) -> list[tuple[str, Identity]]:
    """The files that have no row.

    Among them are: a file that was deleted and is back, one that could not be read, one whose
    upload was asked for and given up (it is still a log of this machine), and one that was
    refused as too large by another limit than ``max_bytes``, the one that is set.
    """
    found: list[tuple[str, Identity]] = []
    for start in range(0, len(files), _AT_ONCE):
        chunk = files[start : start + _AT_ONCE]
        slots = next(size for size in _SLOTS if size >= len(chunk))
        values: list[Value] = [max_bytes]
        for number, (path, file) in enumerate(chunk):
            values += (number, printable(path), signed(file.ino), file.size, file.mtime_ns)
        values += [None] * (5 * (slots - len(chunk)))
        numbers = outbox.sql.numbers(_unknown_among(slots), values)
        found += [chunk[number] for number in numbers]
    return found


@cache
def _unknown_among(slots: int) -> str:
    """A statement for so many files: number, path, inode, size and time of each, or nothing.

    A file is known by path, size and time: some file systems give new inodes at each mount. Where
    the file of a proven row was deleted or replaced, only the very inode is its own.
    """
    other_limit = OTHER_LIMIT.replace(":max_bytes", "most.bytes")
    return (
        "SELECT number FROM (SELECT ? AS bytes) AS most, (SELECT column1 AS number,"
        " column2 AS path, column3 AS ino, column4 AS size, column5 AS mtime_ns"
        f" FROM (VALUES {', '.join(['(?, ?, ?, ?, ?)'] * slots)})) AS file"
        " WHERE number IS NOT NULL AND NOT EXISTS (SELECT 1 FROM log"
        " INDEXED BY same_file WHERE path = file.path AND size = file.size"
        " AND mtime_ns = file.mtime_ns AND (ino = file.ino OR local = 'kept')"
        " AND NOT (state = 'dead' AND code IN ('source_gone', 'unreadable'))"
        " AND NOT (state = 'cancelled' AND asked_key != '')"
        f" AND NOT (state = 'dead' AND code = 'too_large' AND {other_limit}))"
    )


def unseen(outbox: Outbox, files: Sequence[tuple[str, Identity]]) -> list[str]:
    """Paths of the files that no scan has seen: those of :func:`without_row` without a dead row."""
    return [path for path, file in without_row(outbox, files) if not _is_dead(outbox, path, file)]


def _is_dead(outbox: Outbox, path: str, identity: Identity) -> bool:
    """Whether the very file could not be read: it is looked at again, but it was seen."""
    found = outbox.sql.records(
        "SELECT 1 AS one FROM log INDEXED BY same_file WHERE path = :path AND size = :size"
        " AND mtime_ns = :mtime_ns AND state = 'dead' AND code = 'unreadable' LIMIT 1",
        path=printable(path),
        size=identity.size,
        mtime_ns=identity.mtime_ns,
    )
    return bool(found)


def rotated_from(outbox: Outbox, path: str, identity: Identity) -> list[Row]:
    """Rows of a file, not a flight log, that has another path there: it was rotated."""
    return outbox.select(
        "SELECT * FROM log INDEXED BY by_file WHERE kind NOT IN ('ulog', 'rosbag')"
        " AND ino = :ino AND size = :size AND dev = :dev AND mtime_ns = :mtime_ns"
        " AND path != :path AND spooled = 0 AND local != 'deleted' AND state != 'cancelled'"
        " AND NOT (state = 'dead' AND code IN ('source_gone', 'unreadable'))",
        path=path,
        dev=identity.dev,
        ino=signed(identity.ino),
        size=identity.size,
        mtime_ns=identity.mtime_ns,
    )


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


def changes(outbox: Outbox) -> int:
    """A number that changes when this process has written."""
    return outbox.sql.changes()


def version(outbox: Outbox) -> int:
    """A number that changes when another process has written."""
    return int(outbox.sql.record("PRAGMA data_version")["data_version"])
