"""What a child that is forked inherits of an outbox: no connection of SQLite, no lock."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from outbox_rows import entry

from petal_s3.errors import LocalStorageError
from petal_s3.outbox import entering, facts, queries, requests
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.state_dir import DrainLock

# Other threads go on while it is counted, for some tenths of a second.
SLOW = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
SELECT count(*) AS n FROM n
"""

# Python warns of forks beside threads, and these are what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Child:
    """A child that was forked from this process and does ``work``; it tells what came of it."""

    def __init__(self, work: Callable[[Child], object]) -> None:
        self._told, telling = os.pipe()
        self._waiting, self._going_on = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(60)
                os.close(self._going_on)
                os.write(telling, str(work(self)).encode())
            except LocalStorageError as error:
                os.write(telling, str(error).encode())
            finally:
                os._exit(0)
        os.close(telling)
        os.close(self._waiting)

    def until_told(self) -> None:
        """In the child: wait for :meth:`go_on`, or for the end of the parent."""
        os.read(self._waiting, 1)

    def go_on(self) -> None:
        os.close(self._going_on)

    def said(self) -> str:
        with os.fdopen(self._told) as pipe:
            told = pipe.read()
        os.waitpid(self.pid, 0)
        return told


def enters(path: Path, name: str) -> str:
    """Enter a log through a connection of its own."""
    outbox = Outbox(path)
    entering.enqueue(outbox, entry(name))
    outbox.close()
    return "entered"


def names(path: Path) -> set[str]:
    outbox = Outbox(path)
    found = {Path(row.path).name for row in queries.rows(outbox, None, 100)}
    outbox.close()
    return found


def test_a_fork_waits_for_the_transaction_of_another_thread(tmp_path: Path) -> None:
    path, begun = tmp_path / "outbox.db", threading.Event()

    def writes() -> None:
        outbox = Outbox(path)
        with outbox.sql.write():
            facts.note(outbox, "begun")
            begun.set()
            outbox.sql.records(SLOW)
            facts.note(outbox, "ended")
        outbox.close()

    writer = threading.Thread(target=writes)
    writer.start()
    begun.wait()
    child = Child(lambda _: enters(path, "child.ulg"))
    writer.join()

    assert child.said() == "entered"
    outbox = Outbox(path)
    assert facts.noted(outbox, "begun")
    assert facts.noted(outbox, "ended")
    outbox.close()


def test_what_a_child_commits_stays_when_its_parent_closes_the_outbox(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ours = Outbox(path)
    entering.enqueue(ours, entry("parent.ulg"))

    def enters_two(child: Child) -> str:
        outbox = Outbox(path)
        entering.enqueue(outbox, entry("first.ulg"))
        child.until_told()
        entering.enqueue(outbox, entry("second.ulg"))
        outbox.close()
        return "entered"

    child = Child(enters_two)
    while len(queries.rows(ours, None, 100)) < 2:
        threading.Event().wait(0.01)
    ours.close()
    child.go_on()

    assert child.said() == "entered"
    assert names(path) == {"parent.ulg", "first.ulg", "second.ulg"}


def test_parent_and_child_go_on_with_the_outbox_that_was_open(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ours = Outbox(path)
    row = entering.enqueue(ours, entry("a.ulg"))
    before = queries.changes(ours)

    child = Child(lambda _: requests.cancel(ours, row.id, "By the child.").state)

    assert child.said() == "cancelled"
    assert queries.get(ours, row.id).reason == "By the child."
    assert queries.changes(ours) > before, "what was known before is looked up anew"
    with pytest.raises(LocalStorageError, match="SQLite failed"):
        ours.close()
        queries.get(ours, row.id)


def test_an_outbox_that_was_closed_is_not_opened_by_a_fork(tmp_path: Path) -> None:
    ours = Outbox(tmp_path / "outbox.db")
    ours.close()

    assert Child(lambda _: "done").said() == "done"
    with pytest.raises(LocalStorageError, match="SQLite failed"):
        queries.get(ours, 1)


def test_no_outbox_is_made_anew_where_it_was_deleted_before_a_fork(tmp_path: Path) -> None:
    ours = Outbox(tmp_path / "outbox.db")
    (tmp_path / "outbox.db").unlink()

    assert Child(lambda _: "done").said() == "done"
    with pytest.raises(LocalStorageError, match="no longer there"):
        queries.get(ours, 1)
    assert not (tmp_path / "outbox.db").exists()


def test_the_lock_of_a_process_that_died_is_free_though_its_child_goes_on(tmp_path: Path) -> None:
    told, telling = os.pipe()
    waiting, going_on = os.pipe()
    if (middle := os.fork()) == 0:
        try:
            lock = DrainLock(tmp_path)
            lock.take()
            if os.fork() == 0:
                signal.alarm(60)
                os.close(going_on)
                os.write(telling, b"lives, and holds it" if lock.held else b"lives")
                os.read(waiting, 1)
        finally:
            os._exit(0)
    os.waitpid(middle, 0)
    said = os.read(told, 100)
    free = DrainLock(tmp_path).take()
    os.close(going_on)
    for fd in (told, telling, waiting):
        os.close(fd)

    assert (said, free) == (b"lives", True)
