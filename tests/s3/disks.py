"""Disks that a test may fill, write-protect or pull out, for real where that is allowed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.outbox.outbox import Outbox

_BALLAST = "ballast"


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


@contextlib.contextmanager
def mounted(at: Path, *options: str) -> Iterator[Path]:
    """What ``mount OPTIONS at`` gives, until the end; skips where nothing may be mounted."""
    at.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or run("mount", *options, str(at)).returncode:
        pytest.skip("mounting needs root and the right to mount")
    try:
        yield at
    finally:
        while run("umount", "-l", str(at)).returncode == 0:
            pass


@contextlib.contextmanager
def small(at: Path, size: str = "4m") -> Iterator[Path]:
    """A file system in memory."""
    with mounted(at, "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as disk:
        yield disk


def fill(disk: Path) -> None:
    """Leave not a byte of room."""
    with contextlib.suppress(OSError), (disk / _BALLAST).open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def free(disk: Path) -> None:
    (disk / _BALLAST).unlink()


def remount(disk: Path, how: str) -> None:
    done = run("mount", "-o", f"remount,{how}", str(disk))
    assert done.returncode == 0, done.stderr


# -- the same by SQLite alone: every change takes a page, and the pages are counted


def weigh(outbox: Outbox) -> None:
    """From now on every change of a row needs a page that the database does not have yet."""
    conn = outbox.sql.conn
    conn.execute(f"CREATE TABLE IF NOT EXISTS {_BALLAST} (weight BLOB)")
    for table in ("log", "fact", "remote", "drain"):
        for change in ("INSERT", "UPDATE"):
            conn.execute(
                f"CREATE TEMP TRIGGER {change}_{table} AFTER {change} ON main.{table}"
                f" BEGIN INSERT INTO {_BALLAST} VALUES (zeroblob(8192)); END"
            )


def limit(outbox: Outbox) -> None:
    """No page more: SQLite itself says that the disk is full."""
    pages = outbox.sql.conn.execute("PRAGMA page_count").fetchone()[0]
    outbox.sql.conn.execute(f"PRAGMA max_page_count = {pages}")


def lift(outbox: Outbox) -> None:
    outbox.sql.conn.execute("PRAGMA max_page_count = 1073741823")


def empty_log(outbox: Outbox) -> None:
    """Let the next commit need room in the write-ahead log, too."""
    outbox.sql.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
