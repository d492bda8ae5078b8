"""Damage of the outbox is found before it is met: a few rows at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from outbox_rows import LEASE_S, STATES, entry, identity, receipt
from outbox_work import statements

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import damage, entering, requests, transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt

MANY = 1_200
PAGE = 4096
_ROWS = """
INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at, landed_at,
                 state, sent_bytes, receipt, reason, facts)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
SELECT printf('/logs/%07d.ulg', i), 7, i, 9, 5, printf('k/%07d', i), printf('%07d.ulg', i),
       iif(i % 3, 'ulog', 'text'), 'complete', i, i, iif(i % 2, 'verified', 'dead'),
       iif(i % 2, 9, 0), iif(i % 2, :receipt, NULL), iif(i % 2, '', 'It is so.'),
       json_object('sys-uuid', printf('%d', i % 5), 'boot-us', i, 'flight', printf('f%d', i))
FROM n
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox of more rows than are looked at in one go."""
    path = tmp_path / "outbox.db"
    Outbox(path).close()
    with closing(sqlite3.connect(path)) as made:
        proof = json.dumps(asdict(Receipt("k", "e" * 32, "crc32:AAAAAA==", 9, "etag", 1)))
        made.execute(_ROWS, {"rows": MANY, "receipt": proof})
        made.commit()
    return path


@pytest.fixture
def box(path: Path) -> Iterator[Outbox]:
    with closing(Outbox(path)) as outbox:
        yield outbox


def looked_through(outbox: Outbox) -> int:
    """Look through all of it; how often that was asked for."""
    after, times = damage.look_on(outbox, 0), 1
    while after:
        after, times = damage.look_on(outbox, after), times + 1
    return times


def test_a_sound_outbox_is_looked_through_in_turns(box: Outbox) -> None:
    assert damage.newest(box) == MANY
    assert looked_through(box) == MANY // damage.ROWS + 1


def test_rows_in_every_state_are_sound(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "few.db")) as box:
        assert (damage.newest(box), damage.look_on(box, 0)) == (0, 0)
        for number, _ in enumerate(STATES):
            entering.enqueue(box, entry(f"{number}.ulg", identity(number + 1)))
        row = transitions.claim(box, 0.0, LEASE_S)
        assert row is not None
        row = transitions.remember_upload(
            box, transitions.plan(box, row, 5), "upload", checksummed=True
        )
        transitions.verified(box, row, receipt(row))
        row = transitions.claim(box, 0.0, LEASE_S)
        assert row is not None
        transitions.mark_dead(box, row, "source_gone", "Its file is gone.")
        requests.cancel(box, 2, "Cancelled.")
        transitions.claim(box, 0.0, LEASE_S)
        assert looked_through(box) == 1


def test_every_index_of_the_rows_is_looked_at(box: Outbox) -> None:
    said = " ".join(statements(box, lambda: damage.look_on(box, 0)))
    indexes = box.sql.records(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'log' AND sql != ''"
    )
    assert len(indexes) > 15
    for record in indexes:
        assert f"INDEXED BY {record['name']} " in said


def pages(path: Path, name: str) -> list[int]:
    """The pages that hold rows of a table, or entries of an index: by what SQLite reads of them."""
    with closing(sqlite3.connect(path)) as asked:
        root: int = asked.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()[0]
    whole = path.read_bytes()
    found, left = [], [root]
    while left:
        number = left.pop()
        at = (number - 1) * PAGE
        kind, cells = whole[at], int.from_bytes(whole[at + 3 : at + 5], "big")
        if kind not in {2, 5}:
            found.append(number)
            continue
        left.append(int.from_bytes(whole[at + 8 : at + 12], "big"))
        for cell in range(cells):
            where = int.from_bytes(whole[at + 12 + 2 * cell : at + 14 + 2 * cell], "big")
            left.append(int.from_bytes(whole[at + where : at + where + 4], "big"))
    return found


@pytest.mark.parametrize("name", ["log", "same_file", "by_key", "by_state", "proven_content"])
@pytest.mark.guarantee(
    "device",
    "a page of the outbox is damaged, and nothing reads it for months",
    "a look at a few rows a minute, while nothing is to send, finds it",
)
def test_a_damaged_page_is_found_wherever_it_lies(path: Path, name: str) -> None:
    for number in pages(path, name)[:: max(1, len(pages(path, name)) // 3)]:
        spoilt = path.with_name(f"{name}-{number}.db")
        content = bytearray(path.read_bytes())
        content[(number - 1) * PAGE : number * PAGE] = b"\xa5" * PAGE
        spoilt.write_bytes(content)
        with (
            closing(Outbox(spoilt)) as outbox,  # it is opened without a look at that page
            pytest.raises(LocalStorageError) as caught,
        ):
            looked_through(outbox)
        assert caught.value.code == "outbox_damaged"


def test_a_row_that_an_index_has_lost_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA writable_schema = ON")
        made.execute("UPDATE sqlite_master SET sql = replace(sql, ' log (key)', ' log (name)')")
        made.execute("PRAGMA writable_schema = RESET")
        made.execute("REINDEX by_key")
        made.execute("PRAGMA writable_schema = ON")
        made.execute("UPDATE sqlite_master SET sql = replace(sql, ' log (name)', ' log (key)')")
        made.commit()
    with closing(Outbox(path)) as outbox, pytest.raises(LocalStorageError, match="is damaged"):
        looked_through(outbox)
