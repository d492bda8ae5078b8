"""What does a call of S3Client add to the same call awaited in a running loop?"""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from petal_s3 import S3Client
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings_loading import load_settings
from petal_s3.service.service import Service
from tests.support.cloud import onlooker

from .robot import Robot, robot

_KEY = "flight_logs/bench/20260102_101112_flight.ulg"


def run(times: int = 500) -> list[str]:
    """Measure HEADs and ranges of 64 KiB in turns, so that what else runs disturbs both alike."""
    logging.getLogger("petal_s3").addHandler(logging.NullHandler())
    with robot() as on:
        given = _given(on)
        service = Service(load_settings(**given))
        loop = asyncio.new_event_loop()

        def awaited(call: Callable[[], Awaitable[object]]) -> float:
            """Milliseconds of a call, measured inside the loop."""

            async def timed() -> float:
                began = time.perf_counter()
                await call()
                return 1000 * (time.perf_counter() - began)

            return loop.run_until_complete(timed())

        try:
            with S3Client(**given) as client:
                return [
                    _line(
                        "head_object",
                        times,
                        lambda: _plain(lambda: client.head_object(_KEY)),
                        lambda: awaited(lambda: service.objects.head(_KEY)),
                    ),
                    _line(
                        "get_file_range",
                        times,
                        lambda: _plain(lambda: client.get_file_range(_KEY, 0, 65_535)),
                        lambda: awaited(lambda: service.objects.range(_KEY, 0, 65_535)),
                    ),
                    _empty(times),
                ]
        finally:
            loop.run_until_complete(service.stop())
            loop.close()


def _given(on: Robot) -> dict[str, Any]:
    """Settings, and an object; the link is left out: it would take turns with the client."""
    client = onlooker(on.s3.url)
    client.put_object(Bucket="logs", Key=_KEY, Body=bytes(100_000))
    client.close()
    named = on.settings(PETAL_S3_ENDPOINT_URL=on.s3.url)
    return {name.removeprefix("PETAL_S3_").lower(): value for name, value in named.items()}


def _plain(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _line(name: str, times: int, client: Callable[[], float], direct: Callable[[], float]) -> str:
    for _ in range(20):
        client()
        direct()
    pairs = []
    for number in range(times):  # who goes first is no advantage
        if number % 2:
            pairs.append((client(), direct()))
        else:
            base = direct()
            pairs.append((client(), base))
    ours, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    added = statistics.median(one - two for one, two in pairs)
    return (
        f"S3Client.{name}: p50 {ours:.2f} ms, awaited {other:.2f} ms; added {ours - other:.2f} ms,"
        f" median of the differences {added:.2f} ms (bar: 1; {times} in turns)"
    )


def _empty(times: int) -> str:
    """The way there and back alone."""

    async def nothing() -> None:
        pass

    thread = LoopThread("bench")
    took = [_plain(lambda: thread.run(nothing())) for _ in range(times)]
    thread.close()
    return f"a call that does nothing: p50 {statistics.median(took):.3f} ms"
