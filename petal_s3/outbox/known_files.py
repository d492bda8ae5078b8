"""Which files have a row, by what a scan sees of them.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.logs.opening import Identity
from petal_s3.outbox.database import Value
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import OTHER_LIMIT, Row, printable, signed

_SLOTS = (1, 16, 256)
_AT_ONCE = _SLOTS[-1]
_FLIGHT_KINDS = ", ".join(f"'{kind}'" for kind in sorted(FLIGHT_KINDS))


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
        f" AND kind NOT IN ({_FLIGHT_KINDS})"  # the words above are those of the index
        " AND ino = :ino AND size = :size AND dev = :dev AND mtime_ns = :mtime_ns"
        " AND path != :path AND spooled = 0 AND local != 'deleted' AND state != 'cancelled'"
        " AND NOT (state = 'dead' AND code IN ('source_gone', 'unreadable'))",
        path=path,
        dev=identity.dev,
        ino=signed(identity.ino),
        size=identity.size,
        mtime_ns=identity.mtime_ns,
    )
