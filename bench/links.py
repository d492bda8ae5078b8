"""Goodput and evenness on a real path; what bad links cost: bytes on the wire for bytes of the
file, restarts, idle token requests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.link import Link, Shape
from petal_s3.demo.logs import write_bag
from petal_s3.service.service import Service
from tests.simulation.idle import idle_hour
from tests.support.server import FaultServer

from . import evenness, goodput
from .figures import Figure
from .tunnel import why_not

MB = 1_000_000
_SIZE = 200 * MB


def figures(quick: bool) -> Iterator[Figure]:
    """Rows 6 and 7, on a real path; nothing, and a sentence, where none can be made."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return
    if not quick:
        yield from goodput.figures()
    yield from evenness.figures(*([5_000_000] if quick else []))


def run() -> list[str]:
    """Measure the rest; some fifteen minutes, most of them spent waiting for slow links."""
    lines = [
        asyncio.run(_in_a_room(_dying(16 * MB / 8, 20.0, "16 Mbit/s, dies every 20 s"))),
        asyncio.run(_in_a_room(_dying(4 * MB / 8, 30.0, "4 Mbit/s, dies every 30 s"))),
        asyncio.run(_in_a_room(_restart)),
    ]
    hour = idle_hour()
    return [*lines, f"idle for an hour: {hour.fetches} token requests, {hour.requests} to S3"]


Measure = Callable[[Path], Awaitable[str]]


async def _in_a_room(measure: Measure) -> str:
    with tempfile.TemporaryDirectory(prefix="petal-links-") as room:
        (Path(room) / "logs").mkdir()
        return await measure(Path(room))


def _settings(room: Path, server: FaultServer, endpoint: str) -> dict[str, Any]:
    return {
        "bucket_name": "logs",
        "endpoint_url": endpoint,
        "session_token_url": server.token_url,
        "machine_id": "bench",
        "state_dir": str(room / "state"),
        "log_dirs": str(room / "logs"),
        "settle_seconds": 0,
    }


def _dying(bytes_s: float, every_s: float, what: str) -> Measure:
    """200 MB over a link of this rate that lives for so long and is then dead for two seconds."""

    async def measure(room: Path) -> str:
        path = room / "logs" / "flight.bag"
        write_bag(path, _SIZE)
        async with FaultServer() as server, Link(server.url) as link:
            link.shape(Shape(up_bytes_s=bytes_s, latency_s=0.02))
            link.schedule(up_s=every_s, down_s=2.0)
            service = Service(load_settings(**_settings(room, server, link.url)))
            await service.start(watch=False)
            began = time.monotonic()
            row = await service.enqueue(path)
            done = await service.wait(row.id, patience_s=600)
            took_s = time.monotonic() - began
            await service.stop()
        sent = server.ledger.body_bytes / _SIZE
        passed = link.up_bytes / _SIZE
        return (
            f"{what}: {done.state} after {took_s:.0f} s; body bytes that arrived / file "
            f"{sent:.3f}, all bytes into the link / file {passed:.3f}; "
            f"confirmed parts re-sent {server.ledger.resent_confirmed_parts}"
        )

    return measure


async def _restart(room: Path) -> str:
    """SIGKILL with 100 MB confirmed; from the new start to the first byte of a part."""
    path = room / "logs" / "flight.bag"
    write_bag(path, _SIZE)
    async with FaultServer() as server, Link(server.url) as link:
        link.shape(Shape(up_bytes_s=40 * MB))
        given = _settings(room, server, link.url)
        child = await _child(given, path)
        while sum(one.status == 200 for one in server.ledger.requests() if one.part) < 20:
            await asyncio.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        before = len(server.ledger.requests())
        began = time.monotonic()
        child = await _child(given, path)
        while not any(one.part and one.body_bytes for one in server.ledger.requests()[before:]):
            await asyncio.sleep(0.005)
        process_s = time.monotonic() - began
        asked = server.ledger.requests()[before].started
        first = next(one for one in server.ledger.requests()[before:] if one.part)
        await child.wait()
    return (
        f"SIGKILL with {20 * 5.24288:.0f} MB confirmed: first byte {process_s:.2f} s after the "
        f"start of the new process, {first.started - asked:.2f} s after its first request; "
        f"confirmed parts re-sent {server.ledger.resent_confirmed_parts}"
    )


async def _child(given: dict[str, Any], path: Path) -> asyncio.subprocess.Process:
    env = {**os.environ, **{f"PETAL_S3_{n.upper()}": str(v) for n, v in given.items()}}
    words = ["-m", "bench.child", str(path)]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env=env,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
