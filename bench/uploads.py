"""CPU and wall beside other tools: one large log over https and http, many small ones."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from petal_s3.demo.logs import write_bag, write_ulog

from .figures import Figure, ratios
from .peers import BOTO3, OBSTORE, PETAL, tools
from .rounds import Rounds, Turns
from .sink import sink

MIB = 1024 * 1024
_LITTLE = 300_000
_ROUNDS = 3


def figures(quick: bool) -> Iterator[Figure]:
    """Rows 1 to 5; ``quick``: 128 MiB in place of 1 GiB, 40 logs in place of 200."""
    with sink() as server, tempfile.TemporaryDirectory(prefix="petal-bench-") as folder:
        if server.lacks:
            print(server.lacks, file=sys.stderr)
        little, large = Path(folder) / "little.ulg", Path(folder) / "large.bag"
        write_ulog(little, _LITTLE)
        write_bag(large, (128 if quick else 1024) * MIB)
        os.sync()
        plain = Turns(server, server.http, str(little), _ROUNDS)
        tls = Turns(server, server.https, str(little), _ROUNDS) if server.https else None
        if tls is not None:
            yield from _large(tls, large)
        yield from _large(plain, large)
        large.unlink()
        yield from _small(tls or plain, folder, 40 if quick else 200)


def _large(turns: Turns, large: Path) -> Iterator[Figure]:
    way = turns.url.partition(":")[0]
    chosen = tools() if way == "https" else [one for one in tools() if one in (PETAL, BOTO3)]
    found = turns.send(chosen, [str(large)])
    what = f"{way}, {large.stat().st_size // MIB} MiB"
    yield from _beside(found, what, 1 if way == "https" else 3)
    if way == "https" and _both(found):
        ours, theirs = _wall(found, PETAL.name), _wall(found, BOTO3.name)
        yield ratios(2, f"wall over boto3, {what}", ours, theirs)


def _small(turns: Turns, folder: str, count: int) -> Iterator[Figure]:
    """Logs of 1 MiB, first each of a size of its own, then all of one size."""
    chosen = [one for one in tools() if one in (PETAL, BOTO3, OBSTORE)]
    for row, more in ((4, 1), (5, 0)):
        logs = [Path(folder) / f"{row}-{number:03}.ulg" for number in range(count)]
        for number, log in enumerate(logs):
            write_ulog(log, MIB + more * number, seed=number)
        os.sync()
        found = turns.send(chosen, [str(log) for log in logs])
        sizes = "of sizes around" if more else "of exactly"
        what = f"{count} logs {sizes} 1 MiB, {turns.url.partition(':')[0]}"
        yield from _beside(found, what, row)
        if PETAL.name in found:
            asked = tuple(one.requests / count for one in found[PETAL.name])
            enqueued = tuple(float(one.said.split()[1]) for one in found[PETAL.name])
            yield Figure(0, f"CPU until all are enqueued, start included, {what}", enqueued, "s")
            beside = {"row": 0} if more else {"row": 5, "case": 1}
            yield Figure(what=f"requests a log, {what}", values=asked, **beside)
        for log in logs:
            log.unlink()


def _beside(found: Rounds, what: str, row: int) -> Iterator[Figure]:
    """Our CPU over boto3's, and the CPU and wall of each tool."""
    if _both(found):
        ours, theirs = _cpu(found, PETAL.name), _cpu(found, BOTO3.name)
        yield ratios(row, f"CPU over boto3, {what}", ours, theirs)
    for name in found:
        yield Figure(0, name, tuple(_cpu(found, name)), "s", chart=f"CPU, {what}")
    for name in found:
        yield Figure(0, name, tuple(_wall(found, name)), "s", chart=f"wall, {what}")


def _both(found: Rounds) -> bool:
    return PETAL.name in found and BOTO3.name in found


def _cpu(found: Rounds, name: str) -> list[float]:
    return [one.cpu_s for one in found[name]]


def _wall(found: Rounds, name: str) -> list[float]:
    return [one.wall_s for one in found[name]]
