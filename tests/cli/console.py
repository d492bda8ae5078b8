"""The console of a person who types: a drone's directories, and the command line at them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner

from petal_s3.cli.main import app
from petal_s3.client import S3Client
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.logs.opening import Identity
from petal_s3.outbox import drain_status, queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Entry, Row
from petal_s3.outbox.state_dir import DrainLock

T = TypeVar("T")

MACHINE = "drone-001"
HOME = f"flight_logs/{MACHINE}/"
TEMPORARY = f"{HOME}tmp/"
_CHECKOUT = Path(__file__).resolve().parents[2]


def until(true: Callable[[], T], within_s: float = 60) -> T:
    """Return what ``true`` yields as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return found


def everything_on(terminal: int) -> bytes:
    """What is shown on a terminal until nobody writes there any more."""
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody is there any more
        while said := os.read(terminal, 65536):
            shown += said
    return shown


class Answer:
    """What a command said, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Running:
    """A command in a process of its own; its output goes to a file, so nothing blocks."""

    def __init__(self, words: tuple[str, ...], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "petal_s3", *words],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def until_said(self, text: str) -> None:
        until(lambda: text in self.said or not self.runs)
        assert text in self.said, self.said

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """What systemd sends."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self, within_s: float = 60) -> int:
        return self._process.wait(within_s)


class Console:
    """One machine: log directory, state directory, settings, and the commands typed there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.state = directory / "state"
        self.logs.mkdir()
        self.env = {
            "PETAL_S3_BUCKET_NAME": "logs",
            "PETAL_S3_MACHINE_ID": MACHINE,
            "PETAL_S3_STATE_DIR": str(self.state),
            "PETAL_S3_LOG_DIRS": str(self.logs),
            "PETAL_S3_SETTLE_SECONDS": "0",
            "COLUMNS": "80",
        }
        self._started: list[Running] = []

    @contextlib.contextmanager
    def unread_folder(self) -> Iterator[Path]:
        """A folder in the log directory that cannot be read until the block ends."""
        unread = self.logs / "2025-07-27"
        unread.mkdir()
        scandir = os.scandir

        def refusing(folder: str) -> Iterator[os.DirEntry[str]]:  # root reads everything
            if str(folder) == str(unread):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return scandir(folder)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "scandir", refusing)
            yield unread

    def client(self, **given: Any) -> S3Client:
        """A client with the settings of this console."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            return S3Client(**given)

    # -- typing

    def type(self, *words: str | Path, **env: str) -> Answer:
        """Run a command in this process."""
        given = {**self.env, **env}
        result = CliRunner().invoke(app, [str(word) for word in words], env=given)
        crash = result.exception
        if crash is not None and not isinstance(crash, SystemExit):
            raise crash
        return Answer(result.exit_code, result.stdout, result.stderr)

    def start(self, *words: str | Path, **env: str) -> Running:
        """Run a command in a process of its own, beside others."""
        log = self.directory / f"command-{len(self._started)}.log"
        whole = self.environment(env)
        self._started.append(Running(tuple(map(str, words)), whole, log))
        return self._started[-1]

    @contextlib.contextmanager
    def terminal(self, *words: str, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """Run a command on a terminal of 80 columns, or of others; yields it and its output."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "petal_s3", *words],
            env=self.environment({"TERM": "xterm", "LINES": "40", **env}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(_CHECKOUT), **self.env, **env}

    def clear(self) -> None:
        """End what still runs."""
        for running in self._started:
            if running.runs:
                running.kill()

    # -- logs and rows

    def write(self, name: str, size: int = 20_000, seed: int = 0) -> Path:
        """Write a log into the log directory; an absolute name puts it elsewhere."""
        path = self.logs / name
        (write_bag if path.suffix == ".bag" else write_ulog)(path, size, seed=seed)
        return path

    @contextlib.contextmanager
    def outbox(self) -> Iterator[Outbox]:
        """The outbox, opened from outside."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        outbox = Outbox(self.state / "outbox.db")
        try:
            yield outbox
        finally:
            outbox.close()

    def rows(self) -> list[Row]:
        """All rows, the latest first."""
        with self.outbox() as outbox:
            return queries.rows(outbox, limit=1000)

    @contextlib.contextmanager
    def host(self, **says: Any) -> Iterator[None]:
        """Somebody drains this outbox (this process does), and says this of itself."""
        with self.outbox() as outbox:
            lock = DrainLock(self.state)
            assert lock.take()
            drain_status.publish(outbox, says)
            try:
                yield
            finally:
                lock.give()


class Sea:
    """What lies beyond the console: the link, and S3 behind it."""

    def __init__(self, link: LinkThread, s3: Any) -> None:
        self.link = link
        self.cloud = s3

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def about_logs(self, op: str) -> list[Request]:
        """Requests of an operation at keys of logs: what S3 offers is tried at a temporary one."""
        return [one for one in self.ledger.requests(op) if not one.key.startswith(TEMPORARY)]

    def confirmed(self) -> int:
        """How many parts of logs S3 has confirmed."""
        parts = list(self.ledger.confirmed)
        return sum(not key.startswith(TEMPORARY) for key, _, _ in parts)

    def slow(self, bytes_s: float) -> None:
        self.link.link.rate_bytes_s = bytes_s

    def body(self, key: str) -> bytes:
        with contextlib.closing(self.cloud.get_object(Bucket="logs", Key=key)["Body"]) as body:
            return bytes(body.read())


def entry(name: str, *, number: int = 0, size: int = 1000, landed_at: int = 0) -> Entry:
    """A log that never was on disk, for rows that are only looked at."""
    return Entry(
        path=f"/records/{name}",
        identity=Identity(1, 100 + number, size, 0),
        key=f"{HOME}20250727_143022_{name}",
        name=name,
        kind="ulog",
        verdict="complete",
        facts={},
        logged_at=number,
        landed_at=landed_at,
    )
