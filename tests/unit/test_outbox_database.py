"""The database holds the invariants, keeps what was landed, and says plainly when it cannot."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from outbox_rows import claim, entry, identity, receipt, row_in, with_upload
from sqlite_utils import Database

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import (
    copies,
    drain_status,
    entering,
    known_files,
    proven_objects,
    queries,
    remote_objects,
    requests,
    transitions,
    up_to_date,
)
from petal_s3.outbox.database import NEWEST
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.up_to_date import migrations

PACKAGE = Path(__file__).resolve().parents[2]
LANDS_AND_WAITS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from outbox_rows import entry
from petal_s3.outbox import entering
from petal_s3.outbox.outbox import Outbox
outbox = Outbox(Path(sys.argv[2]))
print(entering.enqueue(outbox, entry()).id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db", boot_id="boot-1")
    yield opened
    opened.close()


@pytest.fixture
def sql(outbox: Outbox) -> Iterator[sqlite3.Connection]:
    """Somebody with a plain SQLite shell, bound by nothing but the schema."""
    with closing(sqlite3.connect(outbox.path)) as connection:
        yield connection


# -- invariants

FORBIDDEN = [
    ("queued", "size = -1", "size >= 0"),
    ("queued", "key = ''", "key != ''"),
    ("queued", "spooled = 2", "spooled IN (0, 1)"),
    ("queued", "checksummed = 2", "checksummed IN (0, 1)"),
    ("queued", "state = 'sent'", "state IN ("),
    ("queued", "attempts = -1", "attempts >= 0"),
    ("queued", "failures = -1", "failures >= 0"),
    ("queued", "part_size = 0", "part_size > 0"),
    ("queued", "sent_bytes = -1", "sent_bytes BETWEEN 0 AND size"),
    ("queued", "sent_bytes = size + 1", "sent_bytes BETWEEN 0 AND size"),
    ("queued", "parts_sent = -1", "parts_sent >= 0"),
    ("queued", "parts_resent = -1", "parts_resent >= 0"),
    ("queued", "state = 'uploading'", "lease IS NOT NULL"),
    ("queued", "lease = 'x'", "lease IS NOT NULL"),
    ("uploading", "lease = NULL", "lease IS NOT NULL"),
    ("uploading", "state = 'queued'", "lease IS NOT NULL"),
    ("uploading", "state = 'dead', reason = 'why'", "lease IS NOT NULL"),
    ("queued", "state = 'verified', sent_bytes = size", "receipt IS NOT NULL"),
    ("queued", "receipt = '{}'", "receipt IS NOT NULL"),
    ("verified", "receipt = NULL", "receipt IS NOT NULL"),
    ("verified", "state = 'queued'", "receipt IS NOT NULL"),
    ("verified", "sent_bytes = size - 1", "sent_bytes = size"),
    ("verified", "upload_id = 'u', part_size = 5", "upload_id IS NULL"),
    ("queued", "state = 'dead'", "reason != ''"),
    ("queued", "state = 'cancelled'", "reason != ''"),
    ("dead", "reason = ''", "reason != ''"),
    ("cancelled", "reason = ''", "reason != ''"),
    ("queued", "upload_id = 'u'", "upload_id IS NULL OR part_size IS NOT NULL"),
    ("queued", "same_as = 1", "same_as IS NULL OR state = 'verified'"),
]


@pytest.mark.parametrize(("state", "change", "rule"), FORBIDDEN)
def test_no_statement_can_break_an_invariant(
    outbox: Outbox, sql: sqlite3.Connection, state: str, change: str, rule: str
) -> None:
    before = row_in(outbox, state)
    with pytest.raises(sqlite3.IntegrityError) as caught:
        sql.execute(f"UPDATE log SET {change}")
    assert "CHECK constraint failed" in str(caught.value)
    assert rule in str(caught.value)
    assert queries.get(outbox, before.id) == before


@pytest.mark.parametrize(
    "column",
    ["path", "dev", "ino", "size", "mtime_ns", "key", "name", "kind", "verdict", "logged_at"],
)
def test_every_row_says_which_file_it_is(
    outbox: Outbox, sql: sqlite3.Connection, column: str
) -> None:
    row_in(outbox, "queued")
    with pytest.raises(sqlite3.IntegrityError, match=f"NOT NULL constraint failed: log.{column}"):
        sql.execute(f"UPDATE log SET {column} = NULL")


def test_one_file_has_one_row(outbox: Outbox, sql: sqlite3.Connection) -> None:
    entering.enqueue(outbox, entry("a.ulg"))
    entering.enqueue(outbox, entry("b.ulg"))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
        sql.execute("UPDATE log SET path = '/logs/a.ulg'")


def test_one_key_has_one_upload(outbox: Outbox, sql: sqlite3.Connection) -> None:
    first = with_upload(outbox, row_in(outbox, "uploading"))
    second = transitions.plan(outbox, row_in(outbox, "uploading", "b.ulg", key=first.key), 500)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
        transitions.remember_upload(outbox, second, "upload-2", checksummed=True)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
        sql.execute("UPDATE log SET upload_id = 'u' WHERE id = 2")


def test_a_copy_cannot_name_a_row_that_does_not_exist(outbox: Outbox) -> None:
    row = row_in(outbox, "uploading")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        transitions.verified(outbox, row, receipt(row), same_as=99)
    assert queries.get(outbox, row.id) == row


def test_there_is_one_draining_process_to_speak(outbox: Outbox, sql: sqlite3.Connection) -> None:
    drain_status.publish(outbox, {"pid": 1})
    with pytest.raises(sqlite3.IntegrityError, match="id = 1"):
        sql.execute("INSERT INTO drain VALUES (2, '{}')")


def test_a_deleted_rows_number_is_never_given_again(
    outbox: Outbox, sql: sqlite3.Connection
) -> None:
    entering.enqueue(outbox, entry("a.ulg"))
    sql.execute("DELETE FROM log")
    sql.commit()
    assert entering.enqueue(outbox, entry("b.ulg")).id == 2


# -- durable


@pytest.mark.guarantee(
    "device",
    "the power fails right after a commit",
    "the commit is on the disk: every connection waits for it (WAL, synchronous=FULL)",
)
@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]
)
def test_every_connection_is_durable(tmp_path: Path, pragma: str, value: object) -> None:
    for _ in range(2):  # the second opens what the first made
        outbox = Outbox(tmp_path / "outbox.db")
        assert outbox.sql.conn.execute(f"PRAGMA {pragma}").fetchone()[0] == value
        outbox.close()


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    before = Outbox(tmp_path / "outbox.db")
    rows = [
        with_upload(before, row_in(before, "uploading", "a.ulg")),
        row_in(before, "verified", "b.ulg", facts={"ver-sw": "ü"}),
        row_in(before, "dead", "c.ulg"),
        row_in(before, "cancelled", "d.ulg"),
        row_in(before, "queued", "e.ulg"),
    ]
    before.close()
    after = Outbox(tmp_path / "outbox.db")
    assert [queries.get(after, row.id) for row in rows] == rows
    after.close()


@pytest.mark.guarantee(
    "device",
    "killed right after a log was accepted",
    "it is in the outbox",
)
def test_a_landed_log_survives_the_death_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with subprocess.Popen(
        [sys.executable, "-c", LANDS_AND_WAITS, str(Path(__file__).parent), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PACKAGE,
        env={"PYTHONPATH": str(PACKAGE)},
    ) as child:
        assert child.stdout is not None
        row_id = int(child.stdout.readline())
        child.kill()
    after = Outbox(path)
    assert queries.get(after, row_id).name == "a.ulg"
    after.close()


# -- migrations


def applied(outbox: Outbox) -> list[str]:
    return [
        step.name for step in migrations().applied(Database(outbox.sql.conn, execute_plugins=False))
    ]


STEPS = [
    *("m001_log", "m002_drain", "m003_remote", "m004_tally", "m005_retention", "m006_sessions"),
    *("m007_stored", "m008_alike", "m009_verbs", "m010_flights", "m011_journal", "m012_ages"),
    "m013_gone",
    "m014_flight_names",
    "m015_received_by",
    "m016_card",
    "m017_samples",
    "m018_codes",
]


def test_an_outbox_that_has_taken_the_newest_step_has_taken_all() -> None:
    assert STEPS[-1] == NEWEST


def test_a_new_outbox_is_as_if_it_had_taken_every_step_by_sqlite_utils(tmp_path: Path) -> None:
    found = []
    for connection in (sqlite3.connect(tmp_path / "a.db"), sqlite3.connect(tmp_path / "b.db")):
        with closing(connection):
            if found:
                up_to_date.bring_up_to_date(connection)
            else:
                migrations().apply(Database(connection, execute_plugins=False))
            tables = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid"
            taken = "SELECT id, migration_set, name, length(applied_at) FROM _sqlite_migrations"
            asked = (tables, taken, "SELECT * FROM tally ORDER BY state")
            found.append([connection.execute(query).fetchall() for query in asked])
    assert found[0] == found[1]


@pytest.mark.parametrize("step", STEPS[1:])
def test_an_outbox_of_an_earlier_release_is_brought_up_to_date(tmp_path: Path, step: str) -> None:
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as connection:
        migrations().apply(Database(connection, execute_plugins=False), stop_before=step)
        connection.execute(
            "INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at,"
            " landed_at) VALUES ('/logs/a.ulg', 7, 1, 1000, 5, 'k', 'a.ulg', 'ulog', 'complete',"
            " 1, 2)"
        )
        connection.commit()
    outbox = Outbox(path)
    assert applied(outbox) == STEPS
    assert claim(outbox).identity == identity()
    drain_status.publish(outbox, {"pid": 1})
    remote_objects.complete_listing(outbox, [("k", 1, "e")])
    outbox.close()


def test_rows_from_before_other_kinds_keep_all_they_said(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as connection:
        migrations().apply(Database(connection, execute_plugins=False), stop_before="m006_sessions")
        for number, (state, lease) in enumerate(
            [("queued", None), ("uploading", "x"), ("dead", None), ("cancelled", None)]
        ):
            connection.execute(
                "INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict,"
                " logged_at, landed_at, state, lease, session_id, reason)"
                " VALUES (?, 7, 1, 1000, 5, 'k', 'a.ulg', 'ulog', 'complete', 1, 2, ?, ?,"
                " 's-1', 'why')",
                (f"/logs/{number}.ulg", state, lease),
            )
        connection.commit()
    with closing(Outbox(path)) as outbox:
        found = queries.of_session(outbox, "s-1")
        assert {row.state for row in found} == {"queued", "uploading", "dead", "cancelled"}
        assert {(row.content_type, row.media_type) for row in found} == {("", "application/x-ulog")}
        assert sum(queries.counts(outbox).values()) == 4
        assert known_files.rotated_from(outbox, "/logs/b.ulg", identity()) == []


@pytest.mark.guarantee(
    "device",
    "an upgrade of the database fails half-way",
    "nothing of it stays; it is made again at the next start",
)
def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE leftover (x)")  # the name of an index made half-way
        with pytest.raises(LocalStorageError, match="SQLite failed"):
            Outbox(path)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert names & {"log", "claimable", "by_key", "drain"} == set()
        connection.execute("DROP TABLE leftover")
    outbox = Outbox(path)
    assert applied(outbox) == STEPS
    outbox.close()


# -- trouble

READS: dict[str, Callable[[Outbox], object]] = {
    "get": lambda box: queries.get(box, 1),
    "rows": queries.rows,
    "at_path": lambda box: queries.at_path(box, "/logs/a.ulg"),
    "at_key": lambda box: queries.at_key(box, "k"),
    "unknown": lambda box: known_files.without_row(box, [("/logs/a.ulg", identity())]),
    "next_due_s": lambda box: queries.next_due_s(box, 0.0),
    "has_proven": lambda box: queries.has_proven(box, 1),
    "proven_like": lambda box: queries.proven_like(box, 1, "crc32:x"),
    "leftovers": queries.leftovers,
    "spooled": copies.needed,
    "counts": queries.counts,
    "backlog": queries.backlog,
    "version": queries.version,
    "said": drain_status.last,
    "inventory_taken": remote_objects.listed_once,
    "held_of_size": lambda box: remote_objects.of_size(box, 1),
}
WRITES: dict[str, Callable[[Outbox], object]] = {
    "land": lambda box: entering.enqueue(box, entry("b.ulg")),
    "refuse": lambda box: entering.enter_refused(box, entry("b.ulg"), "empty", "It is empty."),
    "claim": lambda box: transitions.claim(box, 1e9, 1.0),
    "take_over": transitions.release_claims,
    "hasten": lambda box: requests.make_due(box, 0.0),
    "retry": lambda box: requests.retry(box, 1),
    "cancel": lambda box: requests.cancel(box, 1, "Not wanted."),
    "defer": lambda box: transitions.defer(box, queries.get(box, 2), 9.0, "offline", "No link."),
    "delete_proven": lambda box: proven_objects.delete_proven(box, "k", "Deleted."),
    "move_proven": lambda box: proven_objects.move_proven(box, "k", "l", "e"),
    "say": lambda box: drain_status.publish(box, {}),
    "take_inventory": lambda box: remote_objects.complete_listing(box, [("k", 1, "e")]),
}


def plainly(outbox: Outbox, caught: pytest.ExceptionInfo[LocalStorageError], why: str) -> None:
    error = caught.value
    assert error.message.startswith(f"The outbox {outbox.path} cannot be used ({why}")
    held = why.startswith("another process")
    advice = "ask again" if held else "check free space, permissions and mounts"
    assert error.message.endswith(f"): {advice}.")
    told = ("outbox_locked", 503) if held else ("storage_full", 507)
    assert (error.code, error.status, error.blocks_drain) == (*told, True)
    assert isinstance(error.__cause__, sqlite3.Error)


@pytest.mark.parametrize("verb", [*READS, *WRITES])
def test_whatever_sqlite_says_is_said_in_one_plain_sentence(outbox: Outbox, verb: str) -> None:
    row_in(outbox, "queued", "c.ulg")
    row_in(outbox, "uploading", "a.ulg")
    outbox.sql.conn.set_progress_handler(lambda: 1, 1)  # SQLite itself breaks every statement off
    with pytest.raises(LocalStorageError) as caught:
        {**READS, **WRITES}[verb](outbox)
    outbox.sql.conn.set_progress_handler(None, 1)
    plainly(outbox, caught, "SQLite failed")
    assert queries.counts(outbox)["uploading"] == 1


@pytest.mark.parametrize("verb", WRITES)
def test_a_read_only_outbox_can_still_be_read(outbox: Outbox, verb: str) -> None:
    row_in(outbox, "queued", "c.ulg")
    row_in(outbox, "uploading", "a.ulg")
    # What a card that was remounted read-only makes SQLite say.
    outbox.sql.conn.execute("PRAGMA query_only = ON")
    with pytest.raises(LocalStorageError) as caught:
        WRITES[verb](outbox)
    plainly(outbox, caught, "it is read-only")
    assert queries.counts(outbox) | {"dead": 0} == queries.counts(outbox)


def test_a_full_disk_refuses_a_log_and_takes_it_when_there_is_room(outbox: Outbox) -> None:
    conn = outbox.sql.conn
    pages = conn.execute("PRAGMA page_count").fetchone()[0]
    conn.execute(f"PRAGMA max_page_count = {pages}")
    big = entry(facts={"note": "x" * 100_000})
    with pytest.raises(LocalStorageError) as caught:
        entering.enqueue(outbox, big)
    plainly(outbox, caught, "its disk is full")
    assert queries.rows(outbox) == []
    conn.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert entering.enqueue(outbox, big).facts == big.facts


def test_a_lock_that_is_never_given_back_is_not_waited_for_for_ever(
    outbox: Outbox, sql: sqlite3.Connection
) -> None:
    outbox.sql.conn.execute("PRAGMA busy_timeout = 0")
    sql.execute("BEGIN IMMEDIATE")
    with pytest.raises(LocalStorageError) as caught:
        entering.enqueue(outbox, entry())
    plainly(outbox, caught, "another process holds it")
    sql.rollback()
    assert entering.enqueue(outbox, entry()).state == "queued"


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database, but long enough to look at " * 100)
    with pytest.raises(LocalStorageError, match="is damaged"):
        Outbox(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_database_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    before = Outbox(path)
    for number in range(50):
        entering.enqueue(before, entry(f"{number}.ulg"))
    before.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)  # the first page holds the schema
    path.write_bytes(content)
    with pytest.raises(LocalStorageError, match="is damaged"):
        Outbox(path).rows()


@pytest.mark.parametrize("where", ["missing/outbox.db", "file/outbox.db", "directory"])
def test_a_state_directory_that_is_none_is_said_to_be_none(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    with pytest.raises(LocalStorageError, match="cannot be used") as caught:
        Outbox(tmp_path / where)
    assert str(tmp_path / where) in caught.value.message
