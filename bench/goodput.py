"""How much of a link's rate a log gets, beside curl and boto3, on a real TCP path."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.demo.logs import write_bag

from .tunnel import FAR, inside, path, why_not

PEERS = ("curl", "boto3")


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
    Line(16, 0.02, 40_000_000),
    Line(16, 0.3, 40_000_000),
    Line(100, 0.02, 160_000_000),
    Line(100, 0.3, 160_000_000),
)


def run(rounds: int = 3, lines: tuple[Line, ...] = LINES) -> list[str]:
    """Each line once a round, each program in turn; medians of what each reached of the rate."""
    if reason := why_not():
        return [reason]
    return [_measured(line, rounds) for line in lines]


def _measured(line: Line, rounds: int) -> str:
    shares: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in _rotated(("petal", *PEERS), number):
            for label, share in _shares(name, line, number).items():
                shares.setdefault(label, []).append(share)
    middle = {label: statistics.median(found) for label, found in shares.items()}
    best = max(middle[name] for name in PEERS)
    told = ", ".join(
        f"{label} {middle[label]:.3f} ({min(found):.3f} to {max(found):.3f})"
        for label, found in sorted(shares.items())
    )
    return (
        f"{line}, {line.size / 1e6:.0f} MB: of the link {told}; petal over the better of the"
        f" others: first log {middle['petal first'] / best:.2f},"
        f" next {middle['petal next'] / best:.2f}"
    )


def _rotated(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    return names[by % len(names) :] + names[: by % len(names)]


def _shares(name: str, line: Line, number: int) -> dict[str, float]:
    """What this program reaches of the rate; petal-s3 with its first log, and the next."""
    labels = ["petal first", "petal next"] if name == "petal" else [name]
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
