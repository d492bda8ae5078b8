"""How evenly a limit of our own is kept, on the wire at the receiver."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from petal_s3.demo.logs import write_bag

from .goodput import Line, room
from .tunnel import arrivals, inside, why_not

_RATE = 500_000
_SIZE = 15_000_000
_WINDOW_S = 0.1
_LINE = Line(100, 0.02, _SIZE)


def run() -> list[str]:
    """30 s at 500 kB/s; the most in any 100 ms, and the mean; headers of packets not counted."""
    if reason := why_not():
        return [reason]
    with tempfile.TemporaryDirectory(prefix="petal-s3-bench-") as kept:
        record = Path(kept) / "arrivals"
        with room(_LINE, record) as (directory, near, url, token_url):
            file = directory / "logs" / "flight.bag"
            write_bag(file, _SIZE, seed=1)
            words = [sys.executable, "-m", "bench.senders", "petal", url, token_url]
            subprocess.run(
                inside(near, [*words, str(directory), str(file)]),
                env={**os.environ, "PETAL_S3_MAX_RATE": str(_RATE)},
                check=True,
                stdout=subprocess.DEVNULL,
            )
        came = arrivals(record)
    most, mean = spread(came)
    return [
        f"PETAL_S3_MAX_RATE {_RATE // 1000} kB/s: most bytes in any 100 ms over the rate"
        f" {most / (_RATE * _WINDOW_S):.2f}, mean over the rate {mean / _RATE:.3f}"
    ]


def spread(came: list[tuple[float, int]]) -> tuple[int, float]:
    """The most bytes in any 100 ms, and the mean per second, from a tenth to nine tenths."""
    most = within = first = 0
    for at, size in came:
        within += size
        while came[first][0] <= at - _WINDOW_S:
            within -= came[first][1]
            first += 1
        most = max(most, within)
    middle = came[len(came) // 10 : len(came) * 9 // 10]
    mean = sum(size for _, size in middle[1:]) / (middle[-1][0] - middle[0][0])
    return most, mean
