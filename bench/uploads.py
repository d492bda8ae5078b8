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
from .rounds import Rounds, interleaved, once
from .sink import Sink, sink

MIB = 1024 * 1024
_LITTLE = 300_000


def figures(quick: bool) -> Iterator[Figure]:
    """Rows 1 to 5; ``quick``: 128 MiB in place of 1 GiB, 40 logs in place of 200."""
    rounds = 3
    with sink() as server, tempfile.TemporaryDirectory(prefix="petal-bench-") as folder:
        if server.lacks:
            print(server.lacks, file=sys.stderr)
        little, large = Path(folder) / "little.ulg", Path(folder) / "large.bag"
        write_ulog(little, _LITTLE)
        write_bag(large, (128 if quick else 1024) * MIB)
        os.sync()
        if server.https:
            yield from _large(server, server.https, little, large, rounds)
        yield from _large(server, server.http, little, large, rounds)
        large.unlink()
        yield from _small(server, folder, little, 40 if quick else 200, rounds)


def _large(server: Sink, url: str, little: Path, large: Path, rounds: int) -> Iterator[Figure]:
    way = url.partition(":")[0]
    chosen = tools() if way == "https" else [one for one in tools() if one in (PETAL, BOTO3)]
    found = interleaved(server, url, chosen, str(little), [str(large)], rounds)
    size = f"{large.stat().st_size // MIB} MiB"
    yield from _beside(found, f"{way}, {size}", 1 if way == "https" else 3)
    if way == "https" and _both(found):
        ours, theirs = _wall(found, PETAL.name), _wall(found, BOTO3.name)
        yield ratios(2, f"wall over boto3, {way}, {size}", ours, theirs)


def _beside(found: Rounds, what: str, row: int) -> Iterator[Figure]:
    """Our CPU over boto3's, and the CPU and wall of each tool."""
    if _both(found):
        yield ratios(
            row, f"CPU over boto3, {what}", _cpu(found, PETAL.name), _cpu(found, BOTO3.name)
        )
    for name in found:
        yield Figure(0, name, tuple(_cpu(found, name)), "s", chart=f"CPU, {what}")
    for name in found:
        yield Figure(0, name, tuple(_wall(found, name)), "s", chart=f"wall, {what}")


def _small(server: Sink, folder: str, little: Path, count: int, rounds: int) -> Iterator[Figure]:
    """Logs of 1 MiB, first each of a size of its own, then all of one size."""
    url = server.https or server.http
    chosen = [one for one in tools() if one in (PETAL, BOTO3, OBSTORE)]
    for row, more in ((4, 1), (5, 0)):
        logs = [Path(folder) / f"{row}-{number:03}.ulg" for number in range(count)]
        for number, log in enumerate(logs):
            write_ulog(log, MIB + more * number, seed=number)
        os.sync()
        sizes = "of sizes around" if more else "of exactly"
        what = f"{count} logs {sizes} 1 MiB, {url.partition(':')[0]}"
        found = interleaved(server, url, chosen, str(little), [str(log) for log in logs], rounds)
        yield from _beside(found, what, row)
        yield _requests(server, url, little, logs)
        for log in logs:
            log.unlink()


def _requests(server: Sink, url: str, little: Path, logs: list[Path]) -> Figure:
    """Requests for each log, those of the start taken off."""
    asked = []
    for sent in ([little], [little, *logs]):
        once(server, url, PETAL, [str(log) for log in sent])
        asked.append(sum(n for op, n in server.reset().items() if op != "body_bytes"))
    row = 5 if logs[0].name.startswith("5") else 0
    what = f"requests a log, {len(logs)} logs {'of one size' if row else 'of many sizes'}"
    return Figure(row, what, ((asked[1] - asked[0]) / len(logs),), case=1 if row else 0)


def _both(found: Rounds) -> bool:
    return PETAL.name in found and BOTO3.name in found


def _cpu(found: Rounds, name: str) -> list[float]:
    return [one.cpu_s for one in found[name]]


def _wall(found: Rounds, name: str) -> list[float]:
    return [one.wall_s for one in found[name]]
