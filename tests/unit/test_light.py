"""What petal-s3 costs before it does anything, counted: modules, statements, looks, bytes.

None of it depends on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from petal_s3.core.settings_loading import load_settings
from petal_s3.intake import writers
from petal_s3.outbox import database
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.service import Service

CHECKOUT = Path(__file__).parents[2]
HEAVY = (
    *("numpy", "sqlite_utils", "pydantic_settings", "prometheus_client", "watchfiles"),
    *("aiohttp", "aiobotocore", "botocore", "yarl", "yaml"),
)
_REPORT = "\nimport json, sys; print('LOADED' + json.dumps(sorted(sys.modules)))"
_RUN = """
import sys
from petal_s3.cli.entry import main
sys.argv = ["petal-s3", *{words!r}]
try:
    main()
except SystemExit:
    pass
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "logs").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "PYTHONPATH": str(CHECKOUT),
        "PETAL_S3_CONFIG": "",
        "PETAL_S3_BUCKET_NAME": "logs",
        "PETAL_S3_MACHINE_ID": "drone-001",
        "PETAL_S3_SESSION_TOKEN_URL": "http://127.0.0.1:9/token",
        "PETAL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "PETAL_S3_STATE_DIR": str(tmp_path / "state"),
        "PETAL_S3_LOG_DIRS": str(tmp_path / "logs"),
    }


def said(script: str, env: dict[str, str]) -> Any:
    """What a script prints after ``LOADED``, as JSON; it runs in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout.rpartition("LOADED")[2])


def loaded(script: str, env: dict[str, str]) -> set[str]:
    return set(said(script + _REPORT, env))


def heavy(modules: set[str]) -> set[str]:
    return modules.intersection(HEAVY)


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("petal_s3")}


# -- what a command imports


def test_the_version_is_told_with_next_to_nothing(env: dict[str, str]) -> None:
    modules = loaded(_RUN.format(words=["--version"]), env)
    assert not modules.intersection({*HEAVY, "typer", "pydantic", "rich", "asyncio"})
    assert len(ours(modules)) <= 4


def test_an_outbox_is_made_without_what_brings_old_ones_up_to_date(env: dict[str, str]) -> None:
    (Path(env["PETAL_S3_STATE_DIR"])).mkdir(mode=0o700)
    for words in (["status"], ["enqueue", "/nowhere.ulg"]):  # of which the second makes one
        assert heavy(loaded(_RUN.format(words=words), env)) == set()
    assert Path(env["PETAL_S3_STATE_DIR"], "outbox.db").exists()


@pytest.mark.parametrize(
    ("words", "most", "without"),
    [
        (["status"], 75, {"asyncio"}),
        (["status", "--json"], 72, {"asyncio"}),
        (["enqueue", "/nowhere.ulg"], 200, {"rich.console", "ruamel.yaml"}),
        (["retry", "1"], 200, set[str]()),
    ],
)
def test_a_command_imports_what_it_needs(
    env: dict[str, str], words: list[str], most: int, without: set[str]
) -> None:
    with closing(Outbox(_prepared(env))):
        pass
    modules = loaded(_RUN.format(words=words), env)
    assert heavy(modules) == set()
    assert not modules & without
    assert not {name for name in modules if name.startswith("petal_s3.admin")}
    assert len(ours(modules)) <= most


def _prepared(env: dict[str, str]) -> Path:
    state = Path(env["PETAL_S3_STATE_DIR"])
    state.mkdir(mode=0o700)
    return state / "outbox.db"


_CONSTRUCTED = """
import asyncio, sys
from petal_s3.core.settings_loading import load_settings
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.host import rest
from petal_s3.web.routes import ROUTES
from petal_s3.service.service import Service
service = Service(load_settings())
S3BucketProxy(service=service)
"""


def test_all_that_the_host_imports_is_without_the_s3_client(env: dict[str, str]) -> None:
    assert heavy(loaded(_CONSTRUCTED, env)) == set()


_FIRST_CALL = (
    _CONSTRUCTED
    + """
import importlib.abc, json, threading
where = set()
class Notes(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"botocore", "aiobotocore", "aiohttp"}:
            where.add(threading.current_thread() is threading.main_thread())
sys.meta_path.insert(0, Notes())
async def life():
    await service.open()
    before = "botocore" in sys.modules
    steps = []
    async def step():
        while True:
            steps.append(1)
            await asyncio.sleep(0)
    going = asyncio.create_task(step())
    await asyncio.sleep(0)
    steps.clear()
    await service.s3.open()
    going.cancel()
    await service.stop()
    return before, "botocore" in sys.modules, len(steps)
before, after, steps = asyncio.run(life())
print("LOADED" + json.dumps([before, after, steps, sorted(where)]))
"""
)


def test_the_client_is_imported_and_made_on_a_thread_when_the_first_call_is_due(
    env: dict[str, str],
) -> None:
    before, after, steps, on_the_loop = said(_FIRST_CALL, env)
    assert (before, after) == (False, True)
    assert steps > 50, "the loop went on meanwhile"
    assert on_the_loop == [False]


# -- what an outbox costs when it is opened


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement of every connection that is made from now on."""
    heard: list[str] = []
    connect = database.connect

    def listened(path: Path, patience_s: float) -> sqlite3.Connection:
        made = connect(path, patience_s)
        made.set_trace_callback(heard.append)
        return made

    monkeypatch.setattr(database, "connect", listened)
    return heard


_ROWS = """
INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at, landed_at,
                 state, reason)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
SELECT printf('/logs/%07d.ulg', i), 7, i, 9, 5, printf('k/%07d', i), printf('%07d.ulg', i),
       'ulog', 'complete', i, i, 'dead', 'It is so.' FROM n
"""


def test_to_open_an_outbox_reads_none_of_its_rows(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as made:
        made.sql.change(_ROWS)
    asked.clear()
    with closing(Outbox(path)) as opened:
        found = list(asked)
        steps = _steps(opened, found)
    assert not [one for one in found if "check" in one.lower()]
    assert len(found) <= 12
    assert steps < 500


def _steps(outbox: Outbox, statements: list[str]) -> int:
    """How many steps of SQLite's machine reading statements take once more."""
    count = [0]

    def counted() -> int:
        count[0] += 1
        return 0

    outbox.sql.conn.set_progress_handler(counted, 1)
    for statement in statements:
        if statement.lstrip().upper().startswith("SELECT"):
            outbox.sql.conn.execute(statement).fetchall()
    outbox.sql.conn.set_progress_handler(None, 1)
    return count[0]


# -- what a scan costs


FILES = 3_000


@pytest.fixture
def known(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service whose log directory is full of files that have rows."""
    for name in ("BUCKET_NAME", "MACHINE_ID", "ENDPOINT_URL", "STATE_DIR", "LOG_DIRS"):
        monkeypatch.setenv(f"PETAL_S3_{name}", env[f"PETAL_S3_{name}"])
    logs, rows = Path(env["PETAL_S3_LOG_DIRS"]), []
    for number in range(FILES):
        file = logs / f"{number % 3}/{number:06}.ulg"
        file.parent.mkdir(exist_ok=True)
        file.touch()
        status = file.stat()
        rows.append((str(file), status.st_dev, status.st_ino, 0, status.st_mtime_ns, str(number)))
    with closing(Outbox(_prepared(env))) as outbox, outbox.sql.write():
        outbox.sql.conn.executemany(
            "INSERT INTO log (path, dev, ino, size, mtime_ns, key, name, kind, verdict, logged_at,"
            " landed_at, state, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, 'x', 'ulog', 'damaged', 1, 1, 'dead', 'It is so.')",
            rows,
        )
    return Service(load_settings())


async def test_a_scan_keeps_no_files_and_asks_once_for_hundreds(
    known: Service, asked: list[str]
) -> None:
    await known.open()
    await known.scan()  # what is made once is made
    asked.clear()
    tracemalloc.start()
    try:
        assert await known.scan() == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await known.stop()
    lookups = [one for one in asked if "same_file" in one]
    assert FILES / 256 <= len(lookups) <= FILES / 256 + 3
    assert peak < 1.5e6, "a thousand files at a time"


# -- what many files cost


@pytest.mark.parametrize("tells", [True, False])
async def test_proc_is_read_once_for_many_files_and_not_at_all_where_the_kernel_tells(
    known: Service, monkeypatch: pytest.MonkeyPatch, *, tells: bool
) -> None:
    from petal_s3.intake.enqueue import written_to

    read: list[str] = []
    names: Callable[[str], list[str]] = writers.names_in

    def counted(directory: str) -> list[str]:
        read.append(directory)
        return names(directory)

    monkeypatch.setattr(writers, "names_in", counted)
    if not tells:
        monkeypatch.setattr(writers, "SET_LEASE", None)
    paths = [*known.settings.log_dirs[0].rglob("*.ulg")][:40]
    await known.open()
    try:
        writing = await written_to(known.intake, paths)
        answers = [known.enqueue(path, writing=writing) for path in paths]
        await asyncio.gather(*answers, return_exceptions=True)
    finally:
        await known.stop()
    assert read.count("/proc") == (0 if tells else 1)
