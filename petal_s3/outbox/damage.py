"""Find damage of the database before it is met: a few rows at a time, while nothing else is to do.

To check all of it at once takes 13 s for a million rows. Here each row of the table is read, and
looked for in every index that has to hold it, so that in the end each page was read.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.storage_errors import storage_errors

ROWS = 500
"""So many rows are looked at in one go: some ten milliseconds."""
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (\w+)\s+ON log \((.*?)\)(?:\s+WHERE (.*))?", re.DOTALL
)
_INDEXES = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'log' AND sql != ''"


def newest(outbox: Outbox) -> int:
    """The highest id of a row; 0 where there is none."""
    return int(outbox.sql.record("SELECT coalesce(max(id), 0) AS id FROM log")["id"])


def look_on(outbox: Outbox, after: int) -> int:
    """Look through the rows that follow the id ``after``; returns the last one, 0 at the end.

    Raises :class:`LocalStorageError` (``outbox_damaged``).
    """
    record = outbox.sql.record(
        "SELECT coalesce(max(id), 0) AS last, count(*) AS number, sum(length(path)"
        " + length(facts) + length(reason) + length(received_by)) AS size"
        " FROM (SELECT * FROM log WHERE id > :after ORDER BY id LIMIT :rows)",
        after=after,
        rows=ROWS,
    )
    last = int(record["last"])
    for statement in _statements(outbox):
        missing = outbox.sql.record(statement, after=after, last=last)["missing"]
        if missing:
            with storage_errors(outbox.path):
                raise sqlite3.DatabaseError(f"malformed: {missing} rows are in no index")
    outbox.sql.record(
        "SELECT sum(length(reason)) AS size FROM journal INDEXED BY journal_of"
        " WHERE row_id > :after AND row_id <= :last",
        after=after,
        last=last,
    )
    return last if record["number"] == ROWS else 0


def _statements(outbox: Outbox) -> Iterator[str]:
    """For each index how many of the rows it has to hold it lacks."""
    for record in outbox.sql.records(_INDEXES):
        found = _INDEX.fullmatch(str(record["sql"]))
        assert found is not None, record["sql"]
        name, listed, condition = found.groups()
        terms = [term.removesuffix(" DESC") for term in _terms(listed)]
        where = f"AND ({condition})" if condition else ""
        keys = ", ".join(f"{term} AS c{n}" for n, term in enumerate(terms))
        same = " AND ".join(f"{term} IS one.c{n}" for n, term in enumerate(terms))
        yield (
            f"SELECT count(*) AS missing FROM (SELECT id AS number, {keys} FROM log NOT INDEXED"
            f" WHERE id > :after AND id <= :last {where}) AS one WHERE NOT EXISTS"
            f" (SELECT 1 FROM log INDEXED BY {name} WHERE {same} AND id = one.number {where})"
        )


def _terms(listed: str) -> list[str]:
    """The columns and expressions of an index: commas inside brackets part nothing."""
    terms, depth = [""], 0
    for char in listed:
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            terms.append("")
        else:
            terms[-1] += char
    return [term.strip() for term in terms]
