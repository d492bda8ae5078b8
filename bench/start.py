"""What do a start, a command, a scan cost? CPU seconds of whole processes, and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from petal_s3.demo.logs import write_ulog
from petal_s3.outbox.outbox import Outbox

from .figures import Figure
from .idle import fill
from .robot import ROOT

_ROUNDS = 5
_PETAL = """
import resource, sys, time
from pathlib import Path
import boto3, fastapi, httpx, uvicorn, yaml
from petal_app_manager.organization_manager import get_organization_manager
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action
from petal_app_manager.proxies import bucket
def rss():
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in told if one.startswith("VmRSS:")) / 1024
cpu, memory = time.process_time(), rss()
from petal_s3.plugin import PetalS3
petal = PetalS3()
petal.inject_proxies({})
petal.startup()
print(time.process_time() - cpu, rss() - memory, len([n for n in sys.modules if "petal_s3" in n]))
"""
_SCAN = """
import asyncio, resource, time
from pathlib import Path
from petal_s3.core.settings_loading import load_settings
from petal_s3.service.service import Service
def memory(what):
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in told if one.startswith(what)) / 1024
async def main():
    service = Service(load_settings())
    await service.open()
    before, cpu = memory("VmRSS:"), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")
    new = await service.scan()
    print(time.process_time() - cpu, memory("VmHWM:") - before, new)
    await service.stop()
asyncio.run(main())
"""


def figures(quick: bool) -> Iterator[Figure]:
    """Rows 10 and 12 to 15; ``quick``: fewer rows and files."""
    rows, files = (100_000, 10_000) if quick else (1_000_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="petal-s3-bench-") as directory:
        home = Path(directory)
        logs = [home / f"logs/{number:03}.ulg" for number in range(200)]
        logs[0].parent.mkdir()
        for number, log in enumerate(logs):
            write_ulog(log, 100_000 + number, seed=number)
        yield from petal(home)
        yield from commands(home)
        yield many(home, logs)
        yield from large(home / "large", rows, logs[0])
        yield from scan(home / "scan", files)


def petal(home: Path) -> Iterator[Figure]:
    """Row 10: in a process that has imported what the host has."""
    told = [_said(_PETAL, _env(home)) for _ in range(_ROUNDS)]
    cpu, memory = (tuple(one[number] for one in told) for number in (0, 1))
    yield Figure(10, "CPU, imported and constructed", tuple(1000 * one for one in cpu), "ms")
    yield Figure(10, "memory that takes", memory, "MiB", case=1)


def commands(home: Path) -> Iterator[Figure]:
    """Row 12: before there is an outbox, and with one."""
    for case, word in enumerate(("--version", "status")):
        yield Figure(12, f"petal-s3 {word}", _rounds([word], _env(home)), "s", case)
    env = _env(home, state="opened")
    (home / "opened").mkdir(mode=0o700)
    Outbox(home / "opened/outbox.db").close()
    yield Figure(12, "petal-s3 status, with an outbox", _rounds(["status"], env), "s", 1)


def many(home: Path, logs: Sequence[Path]) -> Figure:
    """Row 15: each round into an outbox of its own."""
    words = ["enqueue", *map(str, logs)]
    taken = tuple(_cpu_s(words, _env(home, state=f"state-{n}")) for n in range(_ROUNDS))
    return Figure(15, f"enqueue of {len(logs)} files", taken, "s")


def large(home: Path, rows: int, log: Path) -> Iterator[Figure]:
    """Row 13: opened here, and by ``enqueue`` of a file over that of one with no rows."""
    fill(home / "state/outbox.db", rows)
    taken = tuple(_opened_s(home / "state/outbox.db") for _ in range(_ROUNDS))
    yield Figure(13, f"outbox of {rows:,} rows opened", taken, "s")
    env, empty = _env(home), _env(home, state="empty")
    words = ["enqueue", str(log)]
    _cpu_s(words, empty)  # makes it
    more = tuple(_cpu_s(words, env) - _cpu_s(words, empty) for _ in range(_ROUNDS))
    yield Figure(13, "enqueue of one file, over that with no rows", more, "s")


def scan(home: Path, files: int) -> Iterator[Figure]:
    """Row 14: of files that all have rows, a thousand to a folder."""
    rows = []
    for number in range(files):
        file = home / f"logs/{number // 1000:04}/{number:07}_flight.ulg"
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        file.touch()
        status = file.stat()
        rows.append((str(file), status.st_dev, status.st_ino, 0, status.st_mtime_ns, str(number)))
    (home / "state").mkdir(mode=0o700)
    with closing(Outbox(home / "state/outbox.db")) as outbox, outbox.sql.write():
        outbox.sql.conn.executemany(
            "INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at,"
            " landed_at, state, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, 'x', 'ulog', 'damaged', 1, 1, 'dead', 'It is so.')",
            rows,
        )
    told = [_said(_SCAN, _env(home)) for _ in range(3)]
    cpu, memory = (tuple(one[number] for one in told) for number in (0, 1))
    yield Figure(14, f"scan of {files:,} known files", cpu, "s")
    yield Figure(14, "memory that takes", memory, "MiB", case=1)


def _rounds(words: Sequence[str], env: dict[str, str]) -> tuple[float, ...]:
    return tuple(_cpu_s(words, env) for _ in range(_ROUNDS))


def _opened_s(database: Path) -> float:
    began = resource.getrusage(resource.RUSAGE_SELF)
    with closing(Outbox(database)):
        ended = resource.getrusage(resource.RUSAGE_SELF)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def _env(home: Path, state: str = "state") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PETAL_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {
        **kept,
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "petal-s3-bench-pycache")),
        "PETAL_S3_CONFIG": "",
        "PETAL_S3_BUCKET_NAME": "logs",
        "PETAL_S3_MACHINE_ID": "bench",
        "PETAL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "PETAL_S3_SESSION_TOKEN_URL": "http://127.0.0.1:9/token",
        "PETAL_S3_STATE_DIR": str(home / state),
        "PETAL_S3_LOG_DIRS": str(home / "logs"),
    }


def _said(script: str, env: dict[str, str]) -> tuple[float, float, float]:
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        cwd=env["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    first, second, third = map(float, ended.stdout.splitlines()[-1].split())
    return first, second, third


def _cpu_s(words: Sequence[str], env: dict[str, str]) -> float:
    """CPU seconds of one command, from its process's start to its end."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "petal_s3", *words],
        env=env,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
