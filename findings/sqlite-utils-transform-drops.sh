#!/usr/bin/env bash
# Guess: transform(), which makes a table anew, keeps what belongs to it or refuses, as it does for
#   partial indexes (TransformError); if anything is lost it is the CHECK constraints.
# Really: CHECK, STRICT, AUTOINCREMENT and a partial index are kept. Triggers, generated columns and
#   COLLATE are dropped without a word: in a column that is UNIQUE and NOCASE "A" and "a" are two
#   afterwards, and an insert that was refused passes.
# Version: sqlite-utils 4.2.1. Seen: 2026-11-30.
# Hurt: databases whose migrations use transform() and whose rules are held by triggers or collations.
. "$(dirname "$0")/lib.sh"
install_alone sqlite-utils==4.2.1 sqlite-fts4==1.0.3 click==8.5.1 click-default-group==1.2.4 \
  pluggy==1.7.0 python-dateutil==2.9.0.post0 six==1.17.0 tabulate==0.10.0
"$BIN/python" - <<'PYTHON'
import sqlite3, sys

import sqlite_utils

db = sqlite_utils.Database(memory=True)
db.execute("""
  CREATE TABLE logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT COLLATE NOCASE UNIQUE,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done')),
    size INTEGER,
    mib REAL GENERATED ALWAYS AS (size / 1048576.0) VIRTUAL
  ) STRICT""")
db.execute("CREATE INDEX due ON logs (size) WHERE state = 'queued'")
db.execute("""
  CREATE TRIGGER kept BEFORE DELETE ON logs
  BEGIN SELECT raise(ABORT, 'a log is never deleted'); END""")
db["logs"].insert({"name": "A.ulg", "size": 1048576})


def passes(statement):
    try:
        db.execute(statement)
    except sqlite3.Error as error:
        return f"refused ({error})"
    return "passes"


def look(when):
    made = db["logs"].schema
    db.execute("SAVEPOINT look")
    seen = {
        "delete": passes("DELETE FROM logs"),
        "second name in other case": passes("INSERT INTO logs (name) VALUES ('a.ulg')"),
        "generated column": passes("SELECT mib FROM logs"),
        "bad state": passes("INSERT INTO logs (name, state) VALUES ('b.ulg', 'lost')"),
        "STRICT": "STRICT" in made,
        "AUTOINCREMENT": "AUTOINCREMENT" in made,
        "partial index": db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'due'").fetchone()[0] == 1,
    }
    db.execute("ROLLBACK TO look")
    print(when, *(f"  {name}: {said}" for name, said in seen.items()), sep="\n")
    return seen


print("SQLite", sqlite3.sqlite_version)
before = look("before:")
db["logs"].transform(column_order=["id", "state"])
after = look("after transform(column_order=...):")
kept = ("STRICT", "AUTOINCREMENT", "partial index")
holds = (
    all(before[one].startswith("refused") for one in ("delete", "second name in other case", "bad state"))
    and before["generated column"] == "passes"
    and after["delete"] == after["second name in other case"] == "passes"
    and after["generated column"].startswith("refused")
    and after["bad state"].startswith("refused")
    and all(before[one] and after[one] for one in kept)
)
print("SEEN" if holds else "CHANGED", ": triggers, generated columns and COLLATE are dropped, the rest kept")
sys.exit(0 if holds else 1)
PYTHON
