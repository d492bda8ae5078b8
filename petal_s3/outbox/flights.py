"""Know which ULogs are of one flight: PX4 1.17 and later cuts long ones at SDLOG_MAX_SIZE.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, inside a transaction that is open.
"""

from __future__ import annotations

from pathlib import PurePath

from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import FLIGHT, Row

GAP_US = 2_000_000
"""The next file begins at most so long after the last message of the one before."""
_OVERLAP_US = 500_000  # the last messages may be a little newer than the header of the next
_CLOCKS_S = 3  # names tell whole seconds
_FLIGHT = f"json_extract(facts, '$.{FLIGHT}')"
_OF_VEHICLE = "kind = 'ulog' AND json_extract(facts, '$.\"sys-uuid\"') = :uuid AND id != :id"
_BEGINS = "CAST(json_extract(facts, '$.\"boot-us\"') AS INTEGER)"
_ENDS = "CAST(json_extract(facts, '$.\"end-us\"') AS INTEGER)"


def join(outbox: Outbox, row: Row) -> Row:
    """Give a log that was entered the flight of the file before it, and its own to those after."""
    uuid, begins, ends = (row.facts.get(name) for name in ("sys-uuid", "boot-us", "end-us"))
    flight = row.facts.get(FLIGHT)
    if row.kind != "ulog" or flight is None:
        return row
    if not uuid or begins is None:  # nothing tells which others are of its flight
        return _named(outbox, row, _unshared(outbox, row, flight))
    start = int(begins)
    earlier = f"{_ENDS} BETWEEN :least AND :most AND {_BEGINS} < :start"
    later = f"{_BEGINS} BETWEEN :least AND :most AND {_BEGINS} > :start"
    before = _near(outbox, row, uuid, earlier, start - GAP_US, start + _OVERLAP_US)
    after = None
    if ends is not None:
        end = int(ends)
        after = _near(outbox, row, uuid, later, end - _OVERLAP_US, end + GAP_US)
    if before is not None:
        flight = before.facts.get(FLIGHT, flight)
    elif after is None or after.facts.get(FLIGHT) != flight:
        flight = _unshared(outbox, row, flight)
    row = _named(outbox, row, flight)
    if after is not None and FLIGHT in after.facts:
        _rename(outbox, after, uuid, after.facts[FLIGHT], flight)
    return row


def _unshared(outbox: Outbox, row: Row, flight: str) -> str:
    """``flight``, or where a log of another flight has that name, one of its own."""
    taken = outbox.first(
        f"SELECT * FROM log INDEXED BY flights WHERE kind = 'ulog' AND {_FLIGHT} = :flight"
        " AND id != :id LIMIT 1",
        flight=flight,
        id=row.id,
    )
    return flight if taken is None else f"{flight}-{row.id}"


def _named(outbox: Outbox, row: Row, flight: str) -> Row:
    """The row, as one of ``flight``."""
    if row.facts.get(FLIGHT) == flight:
        return row
    return outbox.one(
        f"UPDATE log SET facts = json_set(facts, '$.{FLIGHT}', :flight) WHERE id = :id RETURNING *",
        flight=flight,
        id=row.id,
    )


def _near(outbox: Outbox, row: Row, uuid: str, what: str, least: int, most: int) -> Row | None:
    found = outbox.select(
        f"SELECT * FROM log WHERE {_OF_VEHICLE} AND {what} ORDER BY id DESC LIMIT 50",
        uuid=uuid,
        start=int(row.facts["boot-us"]),
        id=row.id,
        least=least,
        most=most,
    )
    return next((one for one in found if _same_boot(one, row)), None)


def _rename(outbox: Outbox, row: Row, uuid: str, known: str, flight: str) -> None:
    """Give ``flight`` to the row and to all that were of the flight ``known`` with it."""
    if known != flight:
        outbox.sql.change(
            f"UPDATE log SET facts = json_set(facts, '$.{FLIGHT}', :flight)"
            f" WHERE id = :id OR ({_OF_VEHICLE} AND {_BEGINS} >= :begins"
            f" AND {_FLIGHT} = :known)",
            uuid=uuid,
            id=row.id,
            begins=int(row.facts["boot-us"]),
            flight=flight,
            known=known,
        )


def _same_boot(one: Row, other: Row) -> bool:
    """Whether the clocks of both logs count from one boot: at each boot they begin anew.

    Where both names tell the time, it must agree; where neither does, they lie in one folder,
    as PX4 makes one for each boot (``sessNNN``).
    """
    timed = [row.logged_at != row.mtime_ns // 10**9 for row in (one, other)]
    if not any(timed) and not one.spooled and not other.spooled:
        return PurePath(one.path).parent == PurePath(other.path).parent
    apart_s = (int(one.facts["boot-us"]) - int(other.facts["boot-us"])) / 1e6
    return abs((one.logged_at - other.logged_at) - apart_s) <= _CLOCKS_S
