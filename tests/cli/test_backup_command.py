"""``petal-s3 backup``: a copy of the outbox while another process writes to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

from console import Console, Sea, entry, until

from petal_s3.core.settings import MIB
from petal_s3.outbox import entering
from petal_s3.outbox.outbox import Outbox


def held(path: Path) -> dict[str, int]:
    """What a copy holds, once it was found sound."""
    with contextlib.closing(sqlite3.connect(path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(copy.execute("SELECT state, count(*) FROM log GROUP BY state").fetchall())


def test_a_backup_during_a_drain_is_whole_and_the_drain_loses_no_commit(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    paths = [console.write(f"{number}.ulg", 30_000, seed=number) for number in range(8)]
    paths.append(console.write("big.bag", 6 * MIB))
    assert console.type("enqueue", *paths).code == 0
    sea.slow(MIB / 2)
    drain = console.start("drain")
    until(lambda: sea.confirmed() or not drain.runs)
    assert drain.runs, drain.said
    copies = []
    while drain.runs and len(copies) < 5:
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        assert console.type("backup", copies[-1]).code == 0
    assert drain.end(within_s=120) == 0, drain.said

    assert copies
    for copy in copies:
        assert sum(held(copy).values()) == len(paths)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with contextlib.closing(Outbox(copy, check=True)):
            pass
    assert held(console.state / "outbox.db") == {"verified": len(paths)}
    for row in console.rows():
        assert sea.body(row.key) == Path(row.path).read_bytes()


def test_a_file_that_is_there_is_not_replaced(console: Console, tmp_path: Path) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
    target = tmp_path / "copy.db"
    target.write_bytes(b"mine")
    answer = console.type("backup", target)
    assert (answer.code, answer.out, target.read_bytes()) == (1, "", b"mine")
    assert "is there already: it is not replaced. [exists]" in answer.err


def test_without_an_outbox_there_is_nothing_to_copy(console: Console, tmp_path: Path) -> None:
    answer = console.type("backup", tmp_path / "copy.db")
    assert answer.code == 1
    assert f"There is no outbox at {console.state}/outbox.db." in answer.err
    assert not (tmp_path / "copy.db").exists()
    assert not console.state.exists()


def test_a_path_that_no_file_can_have_is_wrong_use(console: Console, tmp_path: Path) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
    (tmp_path / "plain").touch()
    for path in ("a" * 300, "a/" * 3000, str(tmp_path / "plain" / "copy.db"), "no/such/folder"):
        answer = console.type("backup", path)
        assert (answer.code, answer.out) == (2, "")
        assert "cannot be written (" in answer.err


def test_a_copy_that_cannot_be_made_leaves_nothing(console: Console, tmp_path: Path) -> None:
    console.state.mkdir(mode=0o700)
    (console.state / "outbox.db").write_bytes(os.urandom(8192))
    answer = console.type("backup", tmp_path / "copy.db")
    assert answer.code == 1
    assert "is damaged" in answer.err
    assert not (tmp_path / "copy.db").exists()
