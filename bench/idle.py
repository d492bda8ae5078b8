"""What does a process cost that has nothing to do: CPU, wake-ups, memory after its first upload?"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from petal_s3.demo.logs import write_ulog
from petal_s3.outbox.outbox import Outbox

from .figures import Figure
from .robot import MIB, ROOT, Robot, robot, rss_mib, until

FILES = """
INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at, landed_at,
                 state, sent_bytes, receipt, boot_id, settled_s)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
SELECT printf('%s/%07d.ulg', :folder, i), 7, i, 1000, 5, printf('k/%07d', i),
       printf('%07d.ulg', i), 'ulog', 'complete', i, i, 'verified', 1000,
       json_object('key', printf('k/%07d', i), 'etag', :etag, 'checksum', 'crc32:AAAAAA==',
                   'size', 1000, 'proof', 'etag', 'verified_at', 1), 'boot-1', 0.0
FROM n
"""


def fill(database: Path, rows: int, folder: str = "/gone") -> None:
    """An outbox with so many proven rows of files in ``folder``, which need not be there."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Outbox(database).close()
    with closing(sqlite3.connect(database)) as made:
        made.execute("PRAGMA cache_size = -400000")
        made.execute(FILES, {"rows": rows, "folder": folder, "etag": "e" * 32})
        made.commit()


def figures(quick: bool) -> Iterator[Figure]:
    """Rows 9 and 11: ``serve`` with many rows, idle, and after an upload of 64 MiB."""
    rows, lasts_s = (10_000, 30.0) if quick else (100_000, 600.0)
    with robot() as on:
        fill(on.directory / "state/outbox.db", rows)
        child = _serve(on)
        try:
            time.sleep(20.0)  # what it does at its start
            began = rss_mib(child.pid)
            cpu, wakes, lasted = _watched(child.pid, lasts_s)
            first = _upload(on, child.pid, "first.ulg", 64 * MIB)
            second = _upload(on, child.pid, "second.ulg", 64 * MIB + 5)
        finally:
            child.terminate()
            child.wait()
    yield Figure(9, "kept after the first upload", (first - began,), "MiB")
    yield Figure(0, "kept after the second upload", (second - began,), "MiB")
    yield Figure(0, "idle before", (began,), "MiB")
    what = f"{rows:,} rows, idle for {lasted:.0f} s"
    yield Figure(11, f"CPU, {what}", (100 * cpu / lasted,), "%")
    yield Figure(11, f"wake-ups a second, {what}", (wakes / lasted,), case=1)


def _serve(on: Robot) -> subprocess.Popen[str]:
    env = {**os.environ, **on.settings(), "PYTHONPATH": str(ROOT), "PETAL_S3_CONFIG": ""}
    child = subprocess.Popen(
        [sys.executable, "-m", "petal_s3", "serve", "--port", "0"],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def _watched(pid: int, lasts_s: float) -> tuple[float, int, float]:
    """CPU seconds, wake-ups and seconds that passed."""
    began, cpu, wakes = time.monotonic(), cpu_s(pid), wake_ups(pid)
    time.sleep(lasts_s)
    return cpu_s(pid) - cpu, wake_ups(pid) - wakes, time.monotonic() - began


def _upload(on: Robot, pid: int, name: str, size: int) -> float:
    """Upload a log; resident memory half a minute later."""
    write_ulog(on.logs / name, size, seed=size)
    with closing(sqlite3.connect(on.directory / "state/outbox.db", timeout=30)) as asked:
        wanted = "SELECT count(*) FROM log WHERE name = ? AND state = 'verified'"
        until(lambda: asked.execute(wanted, (name,)).fetchone()[0], within_s=300, every_s=0.5)
    time.sleep(30.0)
    return rss_mib(pid)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, of the threads that it has."""
    told = (one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(one.split()[0]) for one in told) / 1e9


def wake_ups(pid: int) -> int:
    """How often threads of a process have gone to sleep so far."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total
