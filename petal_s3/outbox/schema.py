"""The tables of the outbox, which hold its invariants; ``migrations`` makes them step by step."""

from __future__ import annotations

# due_at: seconds of CLOCK_BOOTTIME, meaningful only in the boot of boot_id.
# due_at is the next attempt while queued and the end of the lease while uploading.
LOG = """
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
CLAIMABLE = """
CREATE INDEX claimable ON log (priority DESC, logged_at DESC, id DESC, boot_id, due_at)
WHERE state IN ('queued', 'uploading')
"""

# How many rows and unsent bytes each state has: counted as they change, so that a status does not
# have to read a million rows.
TALLY = """
CREATE TABLE tally (
    state  TEXT PRIMARY KEY,
    rows   INTEGER NOT NULL,
    unsent INTEGER NOT NULL
) WITHOUT ROWID
"""
COUNT_ALL = """
INSERT INTO tally
SELECT named.column1, count(log.id), coalesce(sum(log.size - log.sent_bytes), 0)
FROM (VALUES ('queued'), ('uploading'), ('verified'), ('dead'), ('cancelled')) AS named
LEFT JOIN log ON log.state = named.column1 GROUP BY named.column1
"""
ENTERS = """
UPDATE tally SET rows = rows + 1, unsent = unsent + new.size - new.sent_bytes
WHERE state = new.state;
"""
LEAVES = """
UPDATE tally SET rows = rows - 1, unsent = unsent - old.size + old.sent_bytes
WHERE state = old.state;
"""

DELETION = """
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

SHOWN = "iif({0}.state = 'dead' AND {0}.dismissed, 'dismissed', {0}.state)"

# path: below the root of its tree, whatever that is called by the firmware of the day.
# since_s: the first listing of boot_id, in seconds since that boot, from which on it had this size.
# kept_boot: the boot in which its bytes were written to the disk last.
CARD = """
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

# at: seconds since 1970, by S3's clock or, where that is not known, by this device's.
SAMPLE = """
CREATE TABLE sample (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    rate_bytes_s  INTEGER NOT NULL CHECK (rate_bytes_s >= 0),
    backlog_bytes INTEGER NOT NULL CHECK (backlog_bytes >= 0)
)
"""
