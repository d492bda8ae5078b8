"""The autopilot as a process of its own, that may be killed: ROOT PORT NOTES.

The head of each request is noted in a file that outlives the process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.autopilot import Autopilot
from tests.support.card_reads import HEAD_BYTES, Read, read_of


def reads(file: Path) -> list[Read]:
    """What was to be read, in order."""
    data = file.read_bytes() if file.exists() else b""
    whole = len(data) - len(data) % HEAD_BYTES
    found = (read_of(data[at : at + HEAD_BYTES]) for at in range(0, whole, HEAD_BYTES))
    return [one for one in found if one is not None]


def main(root: str, port: str, file: str) -> None:
    """Serve until standard input ends."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    autopilot = Autopilot(Path(root), int(port), beat_s=1.0)
    autopilot.on_request = lambda payload: os.write(fd, payload[:HEAD_BYTES])
    with autopilot.flying():
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
