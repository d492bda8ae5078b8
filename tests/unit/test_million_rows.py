"""A million rows: what is asked all the time is read off an index, and costs the same as ever.

Nothing is timed: SQLite tells which way it goes, and how many steps of its machine it takes.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from outbox_rows import LEASE_S, STATES, entry, identity, receipt
from outbox_work import statements, steps

from petal_s3.outbox import (
    copies,
    drain_status,
    entering,
    identities,
    known_files,
    proven_objects,
    queries,
    remote_objects,
    requests,
    transitions,
)
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.service.report import Report, Seen
from petal_s3.service.status import summary

MILLION = 1_000_000
VERIFIED, QUEUED, DEAD, CANCELLED = 990_000, 9_000, 500, 500
SIZE, SENT = 1000, 400
DEFERRED = 300  # of the queued ones, by attempts that failed: due only later
COPIES = 90
LEFTOVERS = 5

# As many rows as a drone can gather in years, in the order in which they landed.
_ROWS = f"""
INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at, landed_at,
                 state, sent_bytes, receipt, boot_id, due_at, reason, spooled, part_size)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION}),
     stands(i, state) AS (SELECT i, CASE WHEN i <= {VERIFIED} THEN 'verified'
                                         WHEN i <= {VERIFIED + QUEUED} THEN 'queued'
                                         WHEN i <= {MILLION - CANCELLED} THEN 'dead'
                                         ELSE 'cancelled' END FROM n)
SELECT printf('/logs/%07d.ulg', i), 7, i, {SIZE}, 5, printf('k/%07d', i), printf('%07d.ulg', i),
       'ulog', 'complete', i, i, state,
       CASE state WHEN 'verified' THEN {SIZE} WHEN 'queued' THEN {SENT} ELSE 0 END,
       iif(state = 'verified', :receipt, NULL), 'boot-1',
       iif(state = 'queued' AND i > {VERIFIED + QUEUED - DEFERRED}, i, 0.0),
       iif(state IN ('dead', 'cancelled'), 'It is so.', ''),
       state = 'queued' AND i % {QUEUED // COPIES} = 0,
       iif(i > {MILLION - LEFTOVERS}, 500, NULL)
FROM stands
"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    """An outbox with a million rows."""
    path = tmp_path_factory.mktemp("million") / "outbox.db"
    Outbox(path).close()
    with closing(sqlite3.connect(path)) as conn:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000"):
            conn.execute(f"PRAGMA {pragma}").fetchall()
        proof = json.dumps(asdict(Receipt("k", "e" * 32, "crc32:AAAAAA==", SIZE, "etag", 1)))
        conn.execute(_ROWS, {"receipt": proof})
        conn.commit()
    with closing(Outbox(path, boot_id="boot-1")) as outbox:
        yield outbox


def one_log(box: Outbox) -> None:
    """All that the drain writes of one log, from its claim to its proof."""
    row = transitions.claim(box, 0.0, LEASE_S)
    assert row is not None
    row = transitions.remember_upload(
        box, transitions.plan(box, row, 500), f"upload-{row.id}", checksummed=True
    )
    row = transitions.progress(box, row, LEASE_S, sent_bytes=SENT, sent=1, resent=0)
    transitions.verified(box, row, receipt(row))


def one_failure(box: Outbox) -> None:
    row = transitions.claim(box, 0.0, LEASE_S)
    assert row is not None
    transitions.defer(box, row, 1e9, "offline", "No link.")


def known(number: int) -> tuple[str, object]:
    return f"/logs/{number:07}.ulg", identity(number, size=SIZE)


# What drain, scan and status ask and write, with the steps that they may take. A page of a
# hundred rows is 4,000 steps, to pass over those that are due later 2,100; nothing else depends on
# anything but its own result.
VERBS: dict[str, tuple[Callable[[Outbox], object], int]] = {
    "claim to proof": (one_log, 5_000),
    "a failed attempt": (one_failure, 4_000),
    "next_due_s": (lambda box: queries.next_due_s(box, 0.0), 100),
    "take_over": (transitions.release_claims, 1_000),
    "leftovers": (queries.leftovers, 1_000),
    "spooled": (copies.needed, 100 * COPIES),
    "copies": (lambda box: copies.alike(box, "0990100.ulg", SIZE, ""), 200),
    "at_key": (lambda box: queries.at_key(box, "k/0990100"), 200),
    "has_proven": (lambda box: queries.has_proven(box, SIZE), 100),
    "proven_like": (lambda box: queries.proven_like(box, SIZE, "crc32:AAAAAA=="), 4_000),
    "upload_ids": (queries.upload_ids, 1_000),
    "get": (lambda box: queries.get(box, 500_000), 200),
    "unknown": (lambda box: known_files.without_row(box, [known(7)]), 100),  # type: ignore[list-item]
    "proven_at": (lambda box: identities.proven_at(box, known(7)[0], SIZE), 100),
    "land": (lambda box: entering.enqueue(box, entry("new.ulg", identity(1 << 40))), 1_000),
    "land again": (
        lambda box: entering.enqueue(box, entry("7", known(7)[1], path=known(7)[0])),
        200,
    ),  # type: ignore[arg-type]
    "refuse": (
        lambda box: entering.enter_refused(box, entry("bad", identity(1 << 41)), "empty", "Empty."),
        1_000,
    ),
    "cancel": (lambda box: requests.cancel(box, 990_001, "Not wanted."), 1_000),
    "retry": (lambda box: requests.retry(box, 999_400), 1_000),
    "resend": (
        lambda box: proven_objects.resend(box, known_row(box), known_row(box).identity),
        1_000,
    ),
    "dismiss": (lambda box: requests.dismiss(box, [999_401]), 1_000),
    "a page of the dead": (lambda box: queries.rows(box, "dead"), 5_500),
    "a page of the dismissed": (lambda box: queries.rows(box, "dismissed"), 5_500),
    "delete_proven": (
        lambda box: proven_objects.delete_proven(box, "k/0000009", "Deleted."),
        1_000,
    ),
    "move_proven": (
        lambda box: proven_objects.move_proven(box, "k/0000008", "k/moved", "e"),
        1_000,
    ),
    "counts": (queries.counts, 100),
    "backlog": (queries.backlog, 300),
    "status": (lambda box: summary(box, Seen(Report(moving={1: 1}), 1), ""), 500),
    "a page": (queries.rows, 5_000),
    "a page of the queued": (lambda box: queries.rows(box, "queued"), 5_000),
    "a later page of the verified": (
        lambda box: queries.rows(box, "verified", 100, 500_000),
        5_000,
    ),
    "said": (drain_status.last, 100),
    "say": (lambda box: drain_status.publish(box, {"reason": "No link."}), 300),
    "held_of_size": (lambda box: remote_objects.of_size(box, SIZE), 100),
}
# An index that holds only the few rows which are asked for may be read from end to end.
_OF_FEW = ("claimable", "leftover", "copy", "kept_copy", "one_upload_per_key", "seen_gone")


@pytest.mark.parametrize("verb", VERBS)
def test_no_question_reads_the_whole_table_or_sorts_it(crowd: Outbox, verb: str) -> None:
    for sql in statements(crowd, lambda: VERBS[verb][0](crowd)):
        for *_, step in crowd.sql.conn.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall():
            assert "TEMP B-TREE" not in step, (sql, step)
            if step.startswith("SCAN log"):
                assert step.split()[-1] in _OF_FEW, (sql, step)


@pytest.mark.guarantee(
    "device",
    "a million rows in the outbox",
    "every question and change of drain, scan and status costs what it costs with a thousand",
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_million_rows_cost_nothing(crowd: Outbox, verb: str) -> None:
    work, most = VERBS[verb]
    assert 0 < steps(crowd, lambda: work(crowd)) <= most


def test_a_scan_of_ten_thousand_files_asks_for_each_once(crowd: Outbox) -> None:
    files = [known(number) for number in range(1, MILLION, 100)]
    files[500] = ("/logs/unseen.ulg", identity(1 << 42))
    found: list[object] = []
    took = steps(crowd, lambda: found.extend(known_files.without_row(crowd, files)))  # type: ignore[arg-type]
    assert found == [files[500]]
    assert took <= 60 * len(files)


def test_what_is_not_due_yet_is_hastened_and_nothing_else_touched(crowd: Outbox) -> None:
    waiting = "SELECT count(*) FROM log WHERE state = 'queued' AND due_at > 5"
    conn = crowd.sql.conn
    late = int(conn.execute(waiting).fetchone()[0])
    hastened: list[int] = []
    took = steps(crowd, lambda: hastened.append(requests.make_due(crowd, 5.0)))
    assert late >= DEFERRED
    assert hastened == [late]
    assert took <= 110 * late
    assert steps(crowd, lambda: requests.make_due(crowd, 5.0)) <= 100
    assert conn.execute(waiting).fetchone()[0] == 0


def test_a_claim_that_finds_nothing_due_reads_only_what_waits(crowd: Outbox) -> None:
    crowd.sql.change(
        "UPDATE log SET due_at = 1e9, boot_id = 'boot-1' WHERE state IN ('queued', 'uploading')"
    )
    took = steps(crowd, lambda: transitions.claim(crowd, 0.0, LEASE_S))
    assert took <= 20 * QUEUED
    assert queries.next_due_s(crowd, 0.0) == 1e9


def known_row(outbox: Outbox) -> Row:
    """A proven row that no other test needs."""
    return queries.get(outbox, 11)


def recounted(outbox: Outbox) -> dict[str, tuple[int, int]]:
    """The tally as it must be, read off every row."""
    found = outbox.sql.conn.execute(
        "SELECT iif(state = 'dead' AND dismissed, 'dismissed', state) AS shown, count(*),"
        " sum(size - sent_bytes) FROM log GROUP BY shown"
    )
    states = (*STATES, "dismissed")
    return {state: (0, 0) for state in states} | {row[0]: tuple(row[1:]) for row in found}


def tally(outbox: Outbox) -> dict[str, tuple[int, int]]:
    found = outbox.sql.conn.execute("SELECT state, rows, unsent FROM tally")
    return {row[0]: tuple(row[1:]) for row in found}


def test_the_tally_of_a_million_is_right(crowd: Outbox) -> None:
    assert tally(crowd) == recounted(crowd)
    assert sum(queries.counts(crowd).values()) >= MILLION
    unsent, oldest = queries.backlog(crowd)
    assert unsent == sum(recounted(crowd)[state][1] for state in ("queued", "uploading"))
    assert oldest is not None
    first = crowd.sql.conn.execute("SELECT min(id) FROM log WHERE state IN ('queued', 'uploading')")
    assert oldest.id == first.fetchone()[0]


def test_whatever_happens_to_rows_the_tally_follows(tmp_path: Path) -> None:
    rng = random.Random(11)
    with closing(Outbox(tmp_path / "outbox.db", boot_id="boot-1")) as outbox:
        for number in range(400):
            rng.choice(CHANGES)(outbox, rng, number)
            assert tally(outbox) == recounted(outbox)
        assert min(rows for rows, _ in tally(outbox).values()) > 0


def lands(outbox: Outbox, _: random.Random, number: int) -> None:
    entering.enqueue(outbox, entry(f"{number % 90}.ulg", identity(number, size=number + 500)))


def goes_on(outbox: Outbox, rng: random.Random, _: int) -> None:
    row = transitions.claim(outbox, 0.0, LEASE_S)
    if row is None:
        return
    transitions.progress(outbox, row, LEASE_S, sent_bytes=rng.randrange(row.size), sent=1, resent=0)
    settle = rng.choice(("verified", "bury", "defer", "replan", "release", "nothing"))
    if settle == "verified":
        transitions.verified(outbox, row, receipt(row))
    elif settle == "bury":
        transitions.mark_dead(outbox, row, "source_gone", "It was deleted.")
    elif settle == "defer":
        transitions.defer(outbox, row, 0.0, "offline", "No link.")
    elif settle == "replan":
        identities.restart(
            outbox, row, identity(row.ino, size=row.size + 9, mtime_ns=6), "complete", {}, 0.0
        )
    elif settle == "release":
        transitions.release(outbox, row)


def is_taken_over(outbox: Outbox, rng: random.Random, _: int) -> None:
    if rng.random() < 0.2:
        transitions.release_claims(outbox)


def is_decided(outbox: Outbox, rng: random.Random, _: int) -> None:
    found = queries.rows(outbox)
    if found:
        row = rng.choice(found)
        rng.choice(
            (
                lambda row_id: requests.retry(outbox, row_id),
                lambda row_id: requests.cancel(outbox, row_id, "Not wanted."),
                lambda row_id: row.state == "dead" and requests.dismiss(outbox, [row_id]),
            )
        )(row.id)


def is_deleted(outbox: Outbox, rng: random.Random, _: int) -> None:
    """By a person with a shell."""
    outbox.sql.change("DELETE FROM log WHERE id = :id", id=rng.randrange(1, 200))


def is_undone(outbox: Outbox, _: random.Random, __: int) -> None:
    with pytest.raises(ZeroDivisionError), outbox.sql.write():
        outbox.sql.change("UPDATE log SET size = size + 7 WHERE state = 'queued'")
        raise ZeroDivisionError


CHANGES = (lands, lands, goes_on, goes_on, is_taken_over, is_decided, is_deleted, is_undone)
