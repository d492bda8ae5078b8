"""What a child process has used: CPU, wall, peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
_LONGEST_S = 900.0


@dataclass(frozen=True)
class Used:
    """CPU of all its threads and of children that it waited for, wall, and what it printed."""

    cpu_s: float
    wall_s: float
    said: str
    requests: int = 0
    """How many the sink has counted meanwhile."""

    def __sub__(self, other: Used) -> Used:
        cpu_s, wall_s = self.cpu_s - other.cpu_s, self.wall_s - other.wall_s
        return Used(cpu_s, wall_s, self.said, self.requests - other.requests)


class Failed(Exception):
    """A child did not do what it was started for."""


def used(command: Sequence[str], env: Mapping[str, str]) -> Used:
    """Run a command to its end; raises :class:`Failed` where it fails or takes too long."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        began = time.monotonic()
        child = subprocess.Popen(
            command,
            env={**os.environ, **env},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
            start_new_session=True,
        )
        late = threading.Timer(_LONGEST_S, os.killpg, (child.pid, signal.SIGKILL))
        late.start()
        try:
            _, status, spent = os.wait4(child.pid, 0)
        finally:
            late.cancel()
        wall_s = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            last = " ".join(_read(complained).strip().splitlines()[-1:])
            raise Failed(f"{Path(command[0]).name} ended with {child.returncode}: {last}")
        return Used(spent.ru_utime + spent.ru_stime, wall_s, _read(said))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def ours(*words: str) -> list[str]:
    """A module of this project as a command."""
    return [sys.executable, "-m", *words]
