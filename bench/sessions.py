"""How much memory does a large log of a session take, in the agent's own process?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .memory import peak_of
from .robot import MIB, ROOT, robot, rss_mib

_AGENT = """
import json, sys
from petal_s3.tools import upload_log_to_s3
for path in iter(sys.stdin.readline, ""):
    print(json.dumps(upload_log_to_s3(path.strip(), "bench", "measured")), flush=True)
"""
_LINE = b"2026-11-28 12:00:00.000 [INFO] navigator: mission item 17 reached, next is 18\n"


def run(size: int = 350 * MIB) -> list[str]:
    """Upload a small log, then a large one, with the function that agents call."""
    with robot() as on:
        small, large = on.directory / "small.log", on.directory / "large.log"
        small.write_bytes(_LINE * 100)
        _write(large, size)
        agent = subprocess.Popen(
            [sys.executable, "-c", _AGENT],
            env={**os.environ, **on.settings(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            _upload(agent, small)
            idle = rss_mib(agent.pid)
            peak = _upload(agent, large)
        finally:
            agent.kill()
            agent.communicate()
    return [f"extra memory over a small log, {size // MIB} MiB session log: {peak - idle:.1f} MiB"]


def _upload(agent: subprocess.Popen[str], path: Path) -> float:
    """The largest resident memory while a log is uploaded, MiB."""
    assert agent.stdin is not None
    assert agent.stdout is not None
    agent.stdin.write(f"{path}\n")
    agent.stdin.flush()
    os.set_blocking(agent.stdout.fileno(), False)
    told = bytearray()

    def answered() -> bool:
        assert agent.stdout is not None
        try:
            told.extend(os.read(agent.stdout.fileno(), 65536))
        except BlockingIOError:
            return False
        return told.endswith(b"\n")

    peak = peak_of(agent.pid, answered)
    if b'"success": true' not in told:
        raise RuntimeError(told.decode())
    return peak


def _write(path: Path, size: int) -> None:
    """Numbered lines: no two parts of it are alike."""
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            block = b"".join(b"%012d " % (number + at) + _LINE for at in range(1000))
            file.write(block[: size - file.tell()])
            number += 1000
