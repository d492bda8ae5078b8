"""The steps in which the tables of the outbox were made: each is taken once, and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol

from petal_s3.outbox import schema


class Tables(Protocol):
    """What a step is done to: of sqlite-utils' ``Database`` the connection."""

    conn: sqlite3.Connection


Step = Callable[[Tables], None]

STEPS: list[Step] = []
"""In the order in which they are taken."""


def _step(step: Step) -> Step:
    STEPS.append(step)
    return step


@_step
def m001_log(db: Tables) -> None:
    """One row per log."""
    db.conn.execute(schema.LOG)
    db.conn.execute(schema.CLAIMABLE)
    db.conn.execute("CREATE UNIQUE INDEX same_file ON log (path, ino, size, mtime_ns, asked_key)")
    db.conn.execute("CREATE INDEX by_state ON log (state, id)")
    db.conn.execute("CREATE INDEX by_key ON log (key)")
    db.conn.execute("CREATE INDEX proven_size ON log (size) WHERE state = 'verified'")
    db.conn.execute(
        "CREATE INDEX leftover ON log (id) WHERE part_size IS NOT NULL"
        " AND state IN ('dead', 'cancelled')"
    )
    # Two rows may share a key until one of them begins; then it alone holds it.
    db.conn.execute(
        "CREATE UNIQUE INDEX one_upload_per_key ON log (key) WHERE upload_id IS NOT NULL"
    )


@_step
def m002_drain(db: Tables) -> None:
    """What the draining process last said of itself; one row."""
    db.conn.execute(
        "CREATE TABLE drain (id INTEGER PRIMARY KEY CHECK (id = 1), said TEXT NOT NULL)"
    )


@_step
def m003_remote(db: Tables) -> None:
    """What the bucket already held when this outbox was created: possible duplicates."""
    db.conn.execute(
        "CREATE TABLE remote (key TEXT PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL)"
        " WITHOUT ROWID"
    )
    db.conn.execute("CREATE INDEX remote_size ON remote (size)")
    db.conn.execute("CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


@_step
def m004_tally(db: Tables) -> None:
    """Frequent queries cost the same however many rows there are."""
    db.conn.execute(schema.TALLY)
    db.conn.execute(schema.COUNT_ALL)
    _count(db, schema.ENTERS, schema.LEAVES, "state, size, sent_bytes")
    # When the next row is due is read off the front of this one.
    db.conn.execute(
        "CREATE INDEX waiting ON log (boot_id, due_at) WHERE state IN ('queued', 'uploading')"
    )
    db.conn.execute(
        "CREATE INDEX copy ON log (size, name, asked_key)"
        " WHERE spooled = 1 AND state IN ('queued', 'uploading')"
    )


def _count(db: Tables, enters: str, leaves: str, counted: str) -> None:
    """Count rows as they come, go, and change in one of the columns ``counted``."""
    for name, when, then in (
        ("log_enters", "INSERT", enters),
        ("log_leaves", "DELETE", leaves),
        ("log_moves", f"UPDATE OF {counted}", leaves + enters),
    ):
        db.conn.execute(f"CREATE TRIGGER {name} AFTER {when} ON log BEGIN {then} END")


@_step
def m005_retention(db: Tables) -> None:
    """Which files are still on the disk, which are pinned there, and the journal of deletions."""
    db.conn.execute(schema.DELETION)
    db.conn.execute("CREATE INDEX unfinished ON deletion (id) WHERE state = 'begun'")
    db.conn.execute(
        "ALTER TABLE log ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1))"
    )
    db.conn.execute(
        "ALTER TABLE log ADD COLUMN local TEXT NOT NULL DEFAULT 'kept'"
        " CHECK (local IN ('kept', 'deleted', 'other'))"
    )
    # The oldest proof of what may still lie on the disk is read off the front of this one.
    db.conn.execute(
        "CREATE INDEX removable ON log (pinned, json_extract(receipt, '$.verified_at'), id)"
        " WHERE state = 'verified' AND spooled = 0 AND local = 'kept'"
    )


@_step
def m006_sessions(db: Tables) -> None:
    """Rows of other kinds carry their content type; those of a session are found by it."""
    db.conn.execute("ALTER TABLE log ADD COLUMN content_type TEXT NOT NULL DEFAULT ''")
    # Logs of other kinds may be rotated: a file is followed to its new name.
    db.conn.execute("CREATE INDEX by_file ON log (ino, size) WHERE kind NOT IN ('ulog', 'rosbag')")
    db.conn.execute("CREATE INDEX by_session ON log (session_id, id) WHERE session_id IS NOT NULL")


@_step
def m007_stored(db: Tables) -> None:
    """What S3 was asked to store and when, how far reading it back has come, part sizes learnt."""
    # Seconds since 1970 by S3's clock, when S3 was asked to join the parts or to store the body.
    db.conn.execute("ALTER TABLE log ADD COLUMN stored_at INTEGER")
    # JSON {etag, done}: which object is being read back, and how many of its bytes agreed.
    db.conn.execute("ALTER TABLE log ADD COLUMN read_back TEXT")
    # Of a multipart object: as its metadata tells, 0 where they do not; none before S3 was asked.
    db.conn.execute("ALTER TABLE remote ADD COLUMN part_size INTEGER")
    # Of many logs of one size only those of an equal checksum are looked at.
    db.conn.execute(
        "CREATE INDEX proven_content ON log (size, json_extract(receipt, '$.checksum'))"
        " WHERE state = 'verified'"
    )


@_step
def m008_alike(db: Tables) -> None:
    """Which objects may hold the bytes of a file is kept, so that S3 is asked once."""
    # Of a whole object, as S3 told it; empty where it told none; none before S3 was asked.
    db.conn.execute("ALTER TABLE remote ADD COLUMN crc32 TEXT")
    db.conn.execute("DROP INDEX proven_size")  # proven_content begins with the size, too


@_step
def m009_verbs(db: Tables) -> None:
    """Dead rows may be dismissed; rows that are proven by the object of another are found by it."""
    db.conn.execute(
        "ALTER TABLE log ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0"
        " CHECK (dismissed IN (0, 1))"
    )
    db.conn.execute("INSERT INTO tally VALUES ('dismissed', 0, 0)")
    enters = schema.ENTERS.replace("new.state", schema.SHOWN.format("new"))
    leaves = schema.LEAVES.replace("old.state", schema.SHOWN.format("old"))
    for name in ("log_enters", "log_leaves", "log_moves"):
        db.conn.execute(f"DROP TRIGGER {name}")
    _count(db, enters, leaves, "state, size, sent_bytes, dismissed")
    db.conn.execute("CREATE INDEX dead_shown ON log (id) WHERE state = 'dead' AND dismissed = 0")
    db.conn.execute("CREATE INDEX dead_dismissed ON log (id) WHERE dismissed = 1")
    db.conn.execute("CREATE INDEX twins ON log (same_as) WHERE same_as IS NOT NULL")


@_step
def m010_flights(db: Tables) -> None:
    """The files of one flight are found by vehicle and by the time since its boot."""
    uuid = "json_extract(facts, '$.\"sys-uuid\"')"
    for name, at in (("ends", "end-us"), ("begins", "boot-us")):
        moment = f"CAST(json_extract(facts, '$.\"{at}\"') AS INTEGER)"
        db.conn.execute(f"CREATE INDEX {name} ON log ({uuid}, {moment}) WHERE kind = 'ulog'")


@_step
def m011_journal(db: Tables) -> None:
    """What became of each row, step by step: :mod:`petal_s3.outbox.journal` writes it."""
    db.conn.execute(
        "CREATE TABLE journal (id INTEGER PRIMARY KEY, row_id INTEGER NOT NULL"
        " REFERENCES log(id) ON DELETE CASCADE, at INTEGER NOT NULL, s3_at INTEGER,"
        " state TEXT NOT NULL, attempts INTEGER NOT NULL, key TEXT NOT NULL, code TEXT NOT NULL,"
        " reason TEXT NOT NULL)"
    )
    db.conn.execute("CREATE INDEX journal_of ON journal (row_id, id)")


@_step
def m012_ages(db: Tables) -> None:
    """When a row was proven or given up, by a clock that cannot be set; copies that are kept."""
    # The count of petal_s3.outbox.ages; of rows from before there was one it begins now.
    db.conn.execute("ALTER TABLE log ADD COLUMN settled_s REAL NOT NULL DEFAULT 0")
    db.conn.execute("DROP INDEX removable")
    # The oldest proof of what may still lie on the disk is read off the front of this one.
    db.conn.execute(
        "CREATE INDEX removable ON log (pinned, settled_s, id)"
        " WHERE state = 'verified' AND spooled = 0 AND local = 'kept'"
    )
    # Up to now a copy went as soon as its row was cancelled.
    db.conn.execute("UPDATE log SET local = 'deleted' WHERE spooled = 1 AND state = 'cancelled'")
    db.conn.execute(
        "CREATE INDEX kept_copy ON log (size, name, asked_key)"
        " WHERE spooled = 1 AND state IN ('dead', 'cancelled') AND local = 'kept'"
    )


@_step
def m013_gone(db: Tables) -> None:
    """Of a proven row: why its object was seen not to be there any more as it was proven."""
    db.conn.execute("ALTER TABLE log ADD COLUMN gone TEXT NOT NULL DEFAULT ''")
    db.conn.execute("CREATE INDEX seen_gone ON log (id) WHERE state = 'verified' AND gone != ''")


@_step
def m014_flight_names(db: Tables) -> None:
    """Whether a log of another flight has its name already is read off an index."""
    flight = "json_extract(facts, '$.flight')"
    db.conn.execute(f"CREATE INDEX flights ON log ({flight}) WHERE kind = 'ulog'")


@_step
def m015_received_by(db: Tables) -> None:
    """By which way a log came in; of rows from before it is not known."""
    db.conn.execute(
        "ALTER TABLE log ADD COLUMN received_by TEXT NOT NULL DEFAULT ''"
        " CHECK (received_by IN ('', 'scan', 'card', 'rest', 'proxy', 'cli', 'session'))"
    )


@_step
def m016_card(db: Tables) -> None:
    """The files of the autopilot's card, and which row each became."""
    db.conn.execute(schema.CARD)
    db.conn.execute(
        "CREATE UNIQUE INDEX on_card ON card (tree, path) WHERE state NOT IN ('gone', 'changed')"
    )
    db.conn.execute("CREATE INDEX off_card ON card (state, id) WHERE state IN ('gone', 'changed')")


@_step
def m017_samples(db: Tables) -> None:
    """Rate and backlog of the last day: :mod:`petal_s3.outbox.samples`."""
    db.conn.execute(schema.SAMPLE)


@_step
def m018_codes(db: Tables) -> None:
    """How many rows wait, or were given up, for which reason is counted off an index."""
    db.conn.execute(
        "CREATE INDEX by_code ON log (state, code, dismissed) WHERE state != 'verified'"
    )
