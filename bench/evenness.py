"""How evenly a limit of our own is kept, on the wire at the receiver."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from petal_s3.demo.logs import write_bag

from .figures import Figure
from .goodput import Line, room
from .tunnel import arrivals, inside

_RATE = 500_000
_SIZE = 15_000_000
_WINDOW_S = 0.1
_LINE = Line(100, 0.02, 0)


def figures(size: int = _SIZE) -> Iterator[Figure]:
    """Row 7: the most in any 100 ms, and the mean; headers of packets not counted."""
    with tempfile.TemporaryDirectory(prefix="petal-s3-bench-") as kept:
        record = Path(kept) / "arrivals"
        with room(_LINE, record) as (directory, near, url, token_url):
            file = directory / "logs" / "flight.bag"
            write_bag(file, size, seed=1)
            words = [sys.executable, "-m", "bench.senders", "petal-s3", url, token_url]
            subprocess.run(
                inside(near, [*words, str(directory), str(file)]),
                env={**os.environ, "PETAL_S3_MAX_RATE": str(_RATE)},
                check=True,
                stdout=subprocess.DEVNULL,
            )
        came = arrivals(record)
    most, mean = spread(came)
    what = f"PETAL_S3_MAX_RATE {_RATE // 1000} kB/s"
    yield Figure(7, f"{what}: most in any 100 ms over the rate", (most / (_RATE * _WINDOW_S),))
    off = 100 * abs(mean / _RATE - 1)
    yield Figure(7, f"{what}: the mean is off by", (off,), "%", case=1)


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
