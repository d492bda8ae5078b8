"""Many at once and many rows: one row per log, one claim per row, and no claim reads them all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import pytest
from outbox_rows import LEASE_S, entry, identity, receipt
from outbox_work import statements, steps

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import entering, known_files, queries, requests, transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt, Row

T = TypeVar("T")
PACKAGE = Path(__file__).resolve().parents[2]
MANY = 100_000
LANDS_TEN_TIMES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from outbox_rows import entry
from petal_s3.outbox import entering
from petal_s3.outbox.outbox import Outbox
print("ready", flush=True)
sys.stdin.readline()
outbox = Outbox(Path(sys.argv[2]))
print(*{entering.enqueue(outbox, entry()).id for _ in range(10)}, flush=True)
"""


def at_once(path: Path, works: Sequence[Callable[[Outbox], T]]) -> list[T]:
    """Let a thread for each of ``works``, with a connection of its own, begin together."""
    together = threading.Barrier(len(works))

    def one(work: Callable[[Outbox], T]) -> T:
        together.wait(30)
        with closing(Outbox(path, boot_id="boot-1")) as outbox:
            return work(outbox)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(one, works))


def test_many_may_open_a_new_outbox_at_once(tmp_path: Path) -> None:
    counts = at_once(tmp_path / "outbox.db", [queries.counts] * 12)
    assert counts == [counts[0]] * 12


@pytest.mark.guarantee(
    "file",
    "entered fifty times at once",
    "one row",
)
def test_fifty_threads_land_the_same_log_once(tmp_path: Path) -> None:
    rows = at_once(tmp_path / "outbox.db", [lambda outbox: entering.enqueue(outbox, entry())] * 50)
    assert rows == [rows[0]] * 50
    with closing(Outbox(tmp_path / "outbox.db")) as outbox:
        assert queries.counts(outbox)["queued"] == 1


@pytest.mark.guarantee(
    "device",
    "several processes enter the same log at once",
    "one row",
)
def test_several_processes_land_the_same_log_once(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", LANDS_TEN_TIMES, here, str(tmp_path / "outbox.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PACKAGE,
            env={"PYTHONPATH": str(PACKAGE)},
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=60)[0].split() for child in children]
    assert said == [["1"]] * 4
    with closing(Outbox(tmp_path / "outbox.db")) as outbox:
        assert [row.id for row in queries.rows(outbox)] == [1]


def test_workers_at_once_never_claim_the_same_row(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "outbox.db", boot_id="boot-1")) as outbox:
        for number in range(40):
            entering.enqueue(outbox, entry(f"{number}.ulg"))

    def claim_all(outbox: Outbox) -> list[int]:
        claimed: list[int] = []
        while (row := transitions.claim(outbox, 0.0, LEASE_S)) is not None:
            claimed.append(row.id)
        return claimed

    claims = at_once(tmp_path / "outbox.db", [claim_all] * 8)
    assert Counter(row_id for claimed in claims for row_id in claimed) == dict.fromkeys(
        range(1, 41), 1
    )


def test_a_person_and_a_worker_at_once_leave_a_row_that_makes_sense(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox(path, boot_id="boot-1")) as outbox:
        entering.enqueue(outbox, entry())

    def retry(outbox: Outbox) -> Row:
        return [requests.retry(outbox, 1) for _ in range(30)][-1]

    def work(outbox: Outbox) -> Row:
        row = queries.get(outbox, 1)
        for _ in range(30):
            claimed = transitions.claim(outbox, 0.0, LEASE_S)
            row = transitions.defer(outbox, claimed, 0.0, "offline", "No link.") if claimed else row
        return row

    ended = at_once(path, [retry, work] * 2)
    assert {row.state for row in ended} <= {"queued", "uploading"}
    with closing(Outbox(path)) as outbox:
        assert queries.get(outbox, 1).state == "queued"


# -- a hundred thousand proven logs, and as many that wait


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path_factory.mktemp("crowded") / "outbox.db", boot_id="boot-1")
    conn = outbox.sql.conn
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("BEGIN")
    conn.execute(
        "INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at,"
        " landed_at, state, sent_bytes, receipt, boot_id)"
        f" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {2 * MANY})"
        " SELECT '/logs/' || i, 7, i, 1000, 5, 'k/' || i, i, 'ulog', 'complete', i, i,"
        f" iif(i <= {MANY}, 'verified', 'queued'), iif(i <= {MANY}, 1000, 0),"
        f" iif(i <= {MANY}, :receipt, NULL), 'boot-1' FROM n",
        {"receipt": json.dumps(asdict(Receipt("k", "e", "c", 1000, "etag", 1)))},
    )
    conn.commit()
    conn.execute("PRAGMA synchronous = FULL")
    yield outbox
    outbox.close()


def plan(outbox: Outbox, work: Callable[[], object]) -> list[str]:
    planned: list[str] = []
    for sql in statements(outbox, work):
        found = outbox.sql.conn.execute(f"EXPLAIN QUERY PLAN {sql}")
        planned += [str(step[3]) for step in found]
    return planned


PLANS: dict[str, tuple[Callable[[Outbox], object], str]] = {
    "claim": (lambda box: transitions.claim(box, 0.0, LEASE_S), "claimable"),
    "next_due_s": (lambda box: queries.next_due_s(box, 0.0), "waiting"),
    "unknown": (lambda box: known_files.without_row(box, [("/logs/7", identity(7))]), "same_file"),
    "at_key": (lambda box: queries.at_key(box, "k/9"), "by_key"),
    "leftovers": (queries.leftovers, "leftover"),
    "has_proven": (lambda box: queries.has_proven(box, 1), "proven_content"),
    "proven_like": (lambda box: queries.proven_like(box, 1, "crc32:AAAAAA=="), "proven_content"),
    "rows of a state": (lambda box: queries.rows(box, "dead"), "by_state"),
}


@pytest.mark.parametrize("verb", PLANS)
def test_what_is_asked_often_is_read_off_an_index(crowded: Outbox, verb: str) -> None:
    work, index = PLANS[verb]
    steps = plan(crowded, lambda: work(crowded))
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
    through = {step.replace("COVERING ", "").split(" (")[0] for step in steps}
    read = {step.split(" USING ")[-1] for step in through if " log" in step}
    assert read - {"INTEGER PRIMARY KEY"} == {f"INDEX {index}"}, steps


def test_a_log_that_lands_again_is_found_by_an_index(crowded: Outbox) -> None:
    file = identity(150_000)
    again = entry("150000", file, path="/logs/150000")
    steps = plan(crowded, lambda: entering.enqueue(crowded, again))
    assert steps == [
        "SEARCH log USING INDEX same_file"
        " (path=? AND ino=? AND size=? AND mtime_ns=? AND asked_key=?)"
    ]


FEW = 2000

CHEAP: dict[str, Callable[[Outbox], object]] = {
    "claim": lambda box: transitions.claim(box, 0.0, LEASE_S),
    "land": lambda box: entering.enqueue(box, entry("new.ulg", identity(1 << 40))),
    "unknown": lambda box: known_files.without_row(box, [("/logs/7", identity(7))]),
    "at_key": lambda box: queries.at_key(box, "k/9"),
    "leftovers": queries.leftovers,
    "has_proven": lambda box: queries.has_proven(box, 1),
    "proven_like": lambda box: queries.proven_like(box, 1, "crc32:AAAAAA=="),
}


@pytest.mark.parametrize("verb", CHEAP)
def test_a_hundred_thousand_other_rows_cost_nothing(crowded: Outbox, verb: str) -> None:
    assert 0 < steps(crowded, lambda: CHEAP[verb](crowded)) < FEW


def test_a_claim_and_its_settling_cost_the_same_however_many_wait(crowded: Outbox) -> None:
    def one_log() -> None:
        row = transitions.claim(crowded, 0.0, LEASE_S)
        assert row is not None
        transitions.verified(crowded, row, receipt(row))

    assert max(steps(crowded, one_log) for _ in range(20)) < FEW


def test_the_newest_of_a_hundred_thousand_goes_first(crowded: Outbox) -> None:
    entering.enqueue(crowded, entry("urgent.ulg", priority=10, logged_at=1))
    first, second = (
        transitions.claim(crowded, 0.0, LEASE_S),
        transitions.claim(crowded, 0.0, LEASE_S),
    )
    assert first is not None
    assert second is not None
    assert first.name == "urgent.ulg"
    assert second.logged_at == max(
        row.logged_at for row in [second, *queries.rows(crowded, "queued")]
    )


def test_a_broken_statement_leaves_the_outbox_usable(crowded: Outbox) -> None:
    crowded.sql.conn.set_progress_handler(lambda: 1, 50)  # in the middle of it
    with pytest.raises(LocalStorageError):
        transitions.claim(crowded, 0.0, LEASE_S)
    crowded.sql.conn.set_progress_handler(None, 1)
    assert not crowded.sql.conn.in_transaction
    assert transitions.claim(crowded, 0.0, LEASE_S) is not None
