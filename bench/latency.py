"""How soon does the first byte leave: after a landing, a link that is back, a killed host?"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

from petal_s3.core import clock
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.flight import Flight, free_udp_port
from petal_s3.demo.host import Host, make_root
from petal_s3.demo.logs import write_bag
from petal_s3.service.service import Service

from .robot import MIB, Robot, robot, until

_SETTLE_S = 3.0
_UPLOADS = ("PutObject", "UploadPart")


def run() -> list[str]:
    """Measure all four."""
    with robot(rate_bytes_s=20 * MIB) as on:
        lines = _in_host(on)
    with robot() as on:
        lines += asyncio.run(_link_back(on))
    return lines


def _first_byte(on: Robot, after: float) -> float | None:
    for op in _UPLOADS:
        for request in on.link.ledger.requests(op):
            if request.first_byte is not None and request.first_byte > after:
                return request.first_byte
    return None


def _status(host: Host) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{host.url}/petals/petal-s3/status", timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def _in_host(on: Robot) -> list[str]:
    root = make_root(
        on.directory / "host",
        proxies=("bucket", "ext_mavlink"),
        petals={"petal-s3": "petal_s3.plugin:PetalS3"},
        startup=["petal-s3"],
    )
    with Flight(free_udp_port(), rate_hz=1) as flight:
        env = on.settings(
            PETAL_S3_SETTLE_SECONDS=str(_SETTLE_S), PETAL_MAVLINK_ENDPOINT=flight.endpoint
        )
        with Host(root, env=env) as host:
            flight.arm()
            host.start()
            host.wait_ready()
            until(lambda: _status(host).get("flight_state") == "armed")
            write_bag(on.logs / "flight.bag", 150 * MIB)
            time.sleep(2 * _SETTLE_S)  # settled, but armed: nothing may leave
            quiet = _first_byte(on, 0) is None
            flight.disarm()
            disarmed = time.monotonic()
            until(lambda: _first_byte(on, 0))
            landing = (_first_byte(on, 0) or 0) - disarmed - _SETTLE_S
            until(lambda: len(on.link.ledger.requests("UploadPart")) > 8)
            host.kill()
            killed = time.monotonic()
            host.start()
            known = until(lambda: _status(host).get("flight_state") == "disarmed")
            until(lambda: _first_byte(on, killed))
            restart = (_first_byte(on, killed) or 0) - known
    return [
        f"sent while armed: {'nothing' if quiet else 'SOMETHING'}",
        f"disarm + settle to first byte, heartbeats at 1 Hz: {landing:.2f} s (bar: 1)",
        f"SIGKILL, restart, flight state known, to first byte: {max(restart, 0):.2f} s (bar: 2)",
    ]


async def _link_back(on: Robot) -> list[str]:
    """The clock of the service is ours: an hour offline passes in seconds."""
    ahead = [0.0]
    settings = load_settings(
        **{
            name.removeprefix("PETAL_S3_").lower(): value
            for name, value in on.settings(PETAL_S3_PART_SIZE="5MiB").items()
        }
    )
    service = Service(settings, now=lambda: clock.now() + ahead[0])
    log = on.logs / "offline.bag"
    await asyncio.to_thread(write_bag, log, 30 * MIB)
    on.link.cut()
    await service.start(watch=False)
    await service.enqueue(log)
    lines = []
    for name, wait_s, skip_s, bar in (
        ("first backoffs", 5.0, 0.0, 2),
        # Many robots may come back at once: at random within 40 s, decision 48.
        ("an hour offline", 12.0, 3600.0, 46),
    ):
        for _ in range(int(wait_s)):
            await asyncio.sleep(1.0)
            ahead[0] += skip_s / wait_s
        if skip_s:
            await asyncio.sleep(2.5)  # do not come back just when a probe is due
        back = time.monotonic()
        await asyncio.to_thread(on.link.forward)
        while _first_byte(on, back) is None:
            await asyncio.sleep(0.005)
        lines.append(
            f"link back after {name} to first byte: {(_first_byte(on, back) or 0) - back:.2f} s"
            f" (bar: {bar})"
        )
        on.link.cut()
    await service.stop()
    return lines
