"""How fast it went and what was left to send, over the last day: what a plot is drawn of.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from petal_s3.outbox.outbox import Outbox

MOST = 1440
"""So many are kept: a day of them, where one is added a minute."""


@dataclass(frozen=True)
class Sample:
    """How it was from ``at`` on, until the next sample.

    ``at``: seconds since 1970, by S3's clock or, where that was not known, by the device's.
    """

    at: int
    rate_bytes_s: int
    backlog_bytes: int


def add(outbox: Outbox, sample: Sample) -> None:
    """Keep a sample that says something new; the oldest beyond :data:`MOST` go."""
    said = outbox.sql.records("SELECT * FROM sample ORDER BY id DESC LIMIT 1")
    rate, backlog = (said[0]["rate_bytes_s"], said[0]["backlog_bytes"]) if said else (0, 0)
    if (rate, backlog) == (sample.rate_bytes_s, sample.backlog_bytes):
        return
    with outbox.sql.write():
        outbox.sql.change(
            "INSERT INTO sample (at, rate_bytes_s, backlog_bytes)"
            " VALUES (:at, :rate_bytes_s, :backlog_bytes)",
            **vars(sample),
        )
        outbox.sql.change(
            "DELETE FROM sample WHERE id <= (SELECT max(id) FROM sample) - :most", most=MOST
        )


def between(outbox: Outbox, first: int, last: int) -> list[Sample]:
    """The samples of that time, both ends included, in the order in which they were made."""
    found = outbox.sql.records(
        "SELECT at, rate_bytes_s, backlog_bytes FROM sample WHERE at BETWEEN :first AND :last"
        " ORDER BY id",
        first=first,
        last=last,
    )
    return [Sample(**one) for one in found]
