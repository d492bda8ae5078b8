"""The tables of the outbox, step by step; the database holds the invariants."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol


class Tables(Protocol):
    """What a step is done to: of sqlite-utils' ``Database`` the connection."""

    conn: sqlite3.Connection


Step = Callable[[Tables], None]

STEPS: list[Step] = []
"""In the order in which they are taken."""


def _step(step: Step) -> Step:
    STEPS.append(step)
    return step


# due_at: seconds of CLOCK_BOOTTIME, meaningful only in the boot of boot_id.
# due_at is the next attempt while queued and the end of the lease while uploading.
_LOG = """
CREATE TABLE log (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    path          TEXT    NOT NULL,
    dev           INTEGER NOT NULL,
    ino           INTEGER NOT NULL,
    size          INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns      INTEGER NOT NULL,
    asked_key     TEXT    NOT NULL DEFAULT '',
    key           TEXT    NOT NULL CHECK (key != ''),
    name          TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    verdict       TEXT    NOT NULL,
    facts         TEXT    NOT NULL DEFAULT '{}',
    spooled       INTEGER NOT NULL DEFAULT 0 CHECK (spooled IN (0, 1)),
    session_id    TEXT,
    priority      INTEGER NOT NULL DEFAULT 0,
    logged_at     INTEGER NOT NULL,
    landed_at     INTEGER NOT NULL,
    state         TEXT    NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'uploading', 'verified', 'dead', 'cancelled')),
    boot_id       TEXT    NOT NULL DEFAULT '',
    due_at        REAL    NOT NULL DEFAULT 0,
    lease         TEXT,
    attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failures      INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    code          TEXT    NOT NULL DEFAULT '',
    reason        TEXT    NOT NULL DEFAULT '',
    upload_id     TEXT,
    part_size     INTEGER CHECK (part_size > 0),
    checksummed   INTEGER NOT NULL DEFAULT 0 CHECK (checksummed IN (0, 1)),
    sent_bytes    INTEGER NOT NULL DEFAULT 0 CHECK (sent_bytes BETWEEN 0 AND size),
    parts_sent    INTEGER NOT NULL DEFAULT 0 CHECK (parts_sent >= 0),
    parts_resent  INTEGER NOT NULL DEFAULT 0 CHECK (parts_resent >= 0),
    receipt       TEXT,
    same_as       INTEGER REFERENCES log(id),
    CHECK ((state = 'uploading') = (lease IS NOT NULL)),
    CHECK ((state = 'verified') = (receipt IS NOT NULL)),
    CHECK (state NOT IN ('dead', 'cancelled') OR reason != ''),
    CHECK (upload_id IS NULL OR part_size IS NOT NULL),
    CHECK (state != 'verified' OR (upload_id IS NULL AND sent_bytes = size)),
    CHECK (same_as IS NULL OR state = 'verified')
)
"""

# What is claimed next is read off the front of one index, whatever else the table holds.
_CLAIMABLE = """
CREATE INDEX claimable ON log (priority DESC, logged_at DESC, id DESC, boot_id, due_at)
WHERE state IN ('queued', 'uploading')
"""


@_step
def m001_log(db: Tables) -> None:
    """One row per log."""
    db.conn.execute(_LOG)
    db.conn.execute(_CLAIMABLE)
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


# How many rows and unsent bytes each state has: counted as they change, so that a status does not
# have to read a million rows.
_TALLY = """
CREATE TABLE tally (
    state  TEXT PRIMARY KEY,
    rows   INTEGER NOT NULL,
    unsent INTEGER NOT NULL
) WITHOUT ROWID
"""
_COUNT_ALL = """
INSERT INTO tally
SELECT named.column1, count(log.id), coalesce(sum(log.size - log.sent_bytes), 0)
FROM (VALUES ('queued'), ('uploading'), ('verified'), ('dead'), ('cancelled')) AS named
LEFT JOIN log ON log.state = named.column1 GROUP BY named.column1
"""
_ENTERS = """
UPDATE tally SET rows = rows + 1, unsent = unsent + new.size - new.sent_bytes
WHERE state = new.state;
"""
_LEAVES = """
UPDATE tally SET rows = rows - 1, unsent = unsent - old.size + old.sent_bytes
WHERE state = old.state;
"""


@_step
def m004_tally(db: Tables) -> None:
    """Frequent queries cost the same however many rows there are."""
    db.conn.execute(_TALLY)
    db.conn.execute(_COUNT_ALL)
    _count(db, _ENTERS, _LEAVES, "state, size, sent_bytes")
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


_DELETION = """
CREATE TABLE deletion (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    row_id   INTEGER NOT NULL REFERENCES log(id),
    path     TEXT    NOT NULL,
    aside    TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    receipt  TEXT    NOT NULL CHECK (json_extract(receipt, '$.proof') != ''),
    why      TEXT    NOT NULL CHECK (why IN ('age', 'pressure')),
    state    TEXT    NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'done', 'kept', 'unsent')),
    reason   TEXT    NOT NULL DEFAULT '',
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((state = 'begun') = (ended_at IS NULL))
)
"""


@_step
def m005_retention(db: Tables) -> None:
    """Which files are still on the disk, which are pinned there, and the journal of deletions."""
    db.conn.execute(_DELETION)
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


_SHOWN = "iif({0}.state = 'dead' AND {0}.dismissed, 'dismissed', {0}.state)"


@_step
def m009_verbs(db: Tables) -> None:
    """Dead rows may be dismissed; rows that are proven by the object of another are found by it."""
    db.conn.execute(
        "ALTER TABLE log ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0"
        " CHECK (dismissed IN (0, 1))"
    )
    db.conn.execute("INSERT INTO tally VALUES ('dismissed', 0, 0)")
    enters = _ENTERS.replace("new.state", _SHOWN.format("new"))
    leaves = _LEAVES.replace("old.state", _SHOWN.format("old"))
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


# path: below the root of its tree, whatever that is called by the firmware of the day.
# since_s: the first listing of boot_id, in seconds since that boot, from which on it had this size.
# kept_boot: the boot in which its bytes were written to the disk last.
_CARD = """
CREATE TABLE card (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tree          TEXT    NOT NULL CHECK (tree IN ('log', 'mission_log')),
    path          TEXT    NOT NULL CHECK (path != ''),
    size          INTEGER NOT NULL CHECK (size >= 0),
    modified      REAL,
    logged_at     INTEGER NOT NULL DEFAULT 0,
    state         TEXT    NOT NULL DEFAULT 'seen'
                  CHECK (state IN ('seen', 'settled', 'fetching', 'fetched', 'skipped', 'gone',
                                   'changed')),
    boot_id       TEXT    NOT NULL,
    since_s       REAL    NOT NULL,
    baseline      INTEGER NOT NULL DEFAULT 0 CHECK (baseline IN (0, 1)),
    asked         INTEGER NOT NULL DEFAULT 0 CHECK (asked IN (0, 1)),
    fetched_bytes INTEGER NOT NULL DEFAULT 0 CHECK (fetched_bytes BETWEEN 0 AND size),
    crc32         INTEGER NOT NULL DEFAULT 0 CHECK (crc32 BETWEEN 0 AND 4294967295),
    kept_boot     TEXT    NOT NULL DEFAULT '',
    code          TEXT    NOT NULL DEFAULT '',
    reason        TEXT    NOT NULL DEFAULT '',
    row_id        INTEGER REFERENCES log(id),
    CHECK (state != 'fetched' OR fetched_bytes = size),
    CHECK (row_id IS NULL OR state IN ('fetched', 'gone', 'changed')),
    CHECK (state != 'skipped' OR reason != '')
)
"""


@_step
def m016_card(db: Tables) -> None:
    """The files of the autopilot's card, and which row each became."""
    db.conn.execute(_CARD)
    db.conn.execute(
        "CREATE UNIQUE INDEX on_card ON card (tree, path) WHERE state NOT IN ('gone', 'changed')"
    )
    db.conn.execute("CREATE INDEX off_card ON card (state, id) WHERE state IN ('gone', 'changed')")
