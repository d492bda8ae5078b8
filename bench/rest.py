"""What does REST add to a call of the proxy, and what does a listing of 100,000 objects take?"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from petal_s3.demo.host import Host, make_root
from petal_s3.demo.services import in_thread
from petal_s3.host.proxy import S3BucketProxy
from tests.support.cloud import onlooker
from tests.support.mind import Many
from tests.support.server import FaultServer

from .robot import ROOT, Robot, robot, rss_mib, until

_KEY = "flight_logs/bench/20260102_101112_flight.ulg"
_OBJECTS = 100_000
_PAGE = 10_000
_PREFIX = "/petals/petal-s3"

Call = Callable[[], Any]


def run(times: int = 400) -> list[str]:
    """Measure the overhead of both doors, then the listing over one of them."""
    with robot() as on:
        lines = _overhead(on, times)
    return lines + _listing()


# -- overhead


def _overhead(on: Robot, times: int) -> list[str]:
    client = onlooker(on.s3.url)
    client.put_object(Bucket="logs", Key=_KEY, Body=bytes(1000))
    client.close()
    direct = {"PETAL_S3_ENDPOINT_URL": on.s3.url}  # the link would take turns with the client
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(_proxy(on, direct))
        alone = stack.enter_context(_alone(on.settings(**_own_state(on, "alone"), **direct)))
        host = stack.enter_context(_host(on, direct))
        head = f"/bucket/head/{_KEY}"
        took = _in_turns(
            times,
            {
                "proxy.head_object": proxy,
                "stand-alone": lambda: _get(alone, head),
                "host": lambda: _get(host, _PREFIX + head),
                "stand-alone, S3 not asked": lambda: _get(alone, "/bucket/info"),
                "host, S3 not asked": lambda: _get(host, f"{_PREFIX}/bucket/info"),
            },
        )
    base = took.pop("proxy.head_object")
    lines = [f"proxy.head_object: p50 {base[0]:.2f} ms, p95 {base[1]:.2f} ms ({times} in turns)"]
    for name in ("stand-alone", "host"):
        p50, p95 = took[name]
        lines.append(
            f"GET /bucket/head, {name}: p50 {p50:.2f} ms, p95 {p95:.2f} ms; over the proxy"
            f" {p50 - base[0]:.2f} ms (bar: 5), ratio {p50 / base[0]:.2f}"
        )
        info = took[f"{name}, S3 not asked"]
        lines.append(f"GET /bucket/info, {name}: p50 {info[0]:.2f} ms, p95 {info[1]:.2f} ms")
    return lines


def _in_turns(times: int, calls: dict[str, Call]) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile in ms; in turns, so that what else runs disturbs all alike."""
    for call in calls.values():
        for _ in range(20):
            call()
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            took[name].append(1000 * (time.perf_counter() - began))
    return {
        name: (statistics.median(found), statistics.quantiles(found, n=20)[-1])
        for name, found in took.items()
    }


def _own_state(on: Robot, name: str) -> dict[str, str]:
    return {"PETAL_S3_STATE_DIR": str(on.directory / f"state-{name}")}


@contextlib.contextmanager
def _proxy(on: Robot, more: dict[str, str]) -> Iterator[Call]:
    given = on.settings(**_own_state(on, "proxy"), **more)
    settings = {name.removeprefix("PETAL_S3_").lower(): value for name, value in given.items()}
    logging.getLogger("petal_s3").addHandler(logging.NullHandler())
    loop = asyncio.new_event_loop()
    proxy = S3BucketProxy(**settings)  # type: ignore[arg-type]
    loop.run_until_complete(proxy.start())
    try:
        yield lambda: loop.run_until_complete(proxy.head_object(_KEY))["etag"]
    finally:
        loop.run_until_complete(proxy.stop())
        loop.close()


@contextlib.contextmanager
def _alone(env: dict[str, str]) -> Iterator[http.client.HTTPConnection]:
    """A connection to a stand-alone server in a process of its own."""
    with _serving(env) as (connection, _):
        yield connection


@contextlib.contextmanager
def _serving(env: dict[str, str]) -> Iterator[tuple[http.client.HTTPConnection, int]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "petal_s3", "serve", "--port", "0"],
        env={**env, "PYTHONPATH": str(ROOT), "HOME": env["PETAL_S3_STATE_DIR"]},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    try:
        address = urlsplit(child.stdout.readline().strip()).netloc
        with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            yield connection, child.pid
    finally:
        child.terminate()
        child.communicate()


@contextlib.contextmanager
def _host(on: Robot, more: dict[str, str]) -> Iterator[http.client.HTTPConnection]:
    petals = {"petal-s3": "petal_s3.plugin:PetalS3"}
    root = make_root(on.directory / "host", petals=petals, startup=list(petals))
    with Host(root, env=on.settings(**_own_state(on, "host"), **more)) as host:
        host.start()
        host.wait_ready()
        address = urlsplit(host.url).netloc
        with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            yield connection


def _get(connection: http.client.HTTPConnection, path: str, **query: Any) -> Any:
    connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {found}")
    return found


# -- listing


def _listing() -> list[str]:
    """Page through objects that exist in listings only; what is measured has its own process."""
    with robot() as on, in_thread(_Bucket()) as bucket:
        env = on.settings(
            PETAL_S3_ENDPOINT_URL=bucket.server.url,
            PETAL_S3_SESSION_TOKEN_URL=bucket.server.token_url,
        )
        with _serving(env) as (connection, pid):
            _get(connection, "/bucket/list", max_keys=_PAGE)
            until(lambda: _get(connection, "/health")["credentials"] == "ok")
            base, peak, found = rss_mib(pid), 0.0, 0
            token: dict[str, str] = {}
            began = time.monotonic()
            while True:
                page = _get(connection, "/bucket/list", max_keys=_PAGE, **token)
                found += page["total_count"]
                peak = max(peak, rss_mib(pid))
                if page["next_token"] is None:
                    break
                token = {"token": page["next_token"]}
            took = time.monotonic() - began
    return [
        f"GET /bucket/list, {found} objects in pages of {_PAGE}: {took:.1f} s"
        f" ({1000 * took / (found / 1000):.0f} ms per request to S3),"
        f" memory over that of the first page {peak - base:.1f} MiB"
    ]


class _Bucket:
    """The fault server with objects that are only listed, started and stopped in a thread."""

    def __init__(self) -> None:
        self.server = FaultServer()

    async def start(self) -> str:
        await self.server.start()
        self.server.mind.many = Many("flight_logs/bench/", _OBJECTS)
        return self.server.url

    async def stop(self) -> None:
        await self.server.stop()
