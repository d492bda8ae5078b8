"""How much of a link's rate a log gets, beside curl and boto3, on a real TCP path."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.demo.logs import write_bag

from .figures import Figure
from .tunnel import FAR, inside, path

PEERS = ("curl", "boto3")
FIRST, NEXT = "petal-s3, first log", "petal-s3"


@dataclass(frozen=True)
class Line:
    """A link to measure on, and how large a file."""

    mbit_s: float
    round_trip_s: float
    size: int

    @property
    def bytes_s(self) -> float:
        return self.mbit_s * 1e6 / 8

    def __str__(self) -> str:
        return f"{self.mbit_s:g} Mbit/s {self.round_trip_s * 1000:g} ms"


LINES = (
    Line(16, 0.02, 60_000_000),
    Line(16, 0.3, 60_000_000),
    Line(100, 0.02, 240_000_000),
    Line(100, 0.3, 240_000_000),
)


def figures(lines: tuple[Line, ...] = LINES, rounds: int = 3) -> Iterator[Figure]:
    """Row 6: each line once a round, each program in turn. petal-s3 sends two logs, as a robot
    that has a link for the first time, and one that has measured it."""
    for case, line in enumerate(lines):
        shares = [found for number in range(rounds) if (found := _round(line, number))]
        ratios = [{**one, "best": max(one[peer] for peer in PEERS)} for one in shares]
        yield Figure(
            6,
            f"over the better of curl and boto3, {line}",
            tuple(one[NEXT] / one["best"] for one in ratios),
            case=case,
        )
        first = tuple(one[FIRST] / one["best"] for one in ratios)
        yield Figure(0, f"the same with its first log, {line}", first)
        bar = 4 + case
        for name in (NEXT, *PEERS):
            found = tuple(one[name] for one in shares)
            row = 6 if name == NEXT and bar < 7 else 0
            yield Figure(row, f"{name}, {line}", found, case=bar, chart="share of the link")


def _round(line: Line, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in _rotated(("petal-s3", *PEERS), number):
        found |= _shares(name, line, number)
    return found


def _rotated(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    return names[by % len(names) :] + names[: by % len(names)]


def _shares(name: str, line: Line, number: int) -> dict[str, float]:
    """What this program reaches of the rate; petal-s3 with its first log, and the next."""
    labels = [FIRST, NEXT] if name == "petal-s3" else [name]
    with room(line) as (directory, near, url, token_url):
        files = [directory / "logs" / f"{number}-{one}.bag" for one in range(len(labels))]
        for seed, file in enumerate(files):
            write_bag(file, line.size, seed=10 * number + seed + 1)
        words = [sys.executable, "-m", "bench.senders", name, url, token_url, str(directory)]
        told = subprocess.run(
            inside(near, [*words, *map(str, files)]), check=True, stdout=subprocess.PIPE, text=True
        )
    took = [float(one.split()[0]) for one in told.stdout.splitlines()][1:]
    return {
        label: line.size / seconds / line.bytes_s
        for label, seconds in zip(labels, took, strict=True)
    }


@contextlib.contextmanager
def room(line: Line, record: Path | None = None) -> Iterator[tuple[Path, str, str, str]]:
    """A directory, the near namespace, and at the far end a server with its token service."""
    with (
        tempfile.TemporaryDirectory(prefix="petal-s3-bench-") as made,
        path(line.bytes_s, line.round_trip_s, record) as ends,
    ):
        (Path(made) / "logs").mkdir()
        server = subprocess.Popen(
            inside(ends.far, [sys.executable, "-m", "bench.far_end", FAR]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            url, token_url = server.stdout.readline().split()
            yield Path(made), ends.near, url, token_url
        finally:
            server.stdin.close()
            server.wait()
