"""The watchdog is answered by the event loop, and only while the drain is alive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petal_s3.core.clock import now
from petal_s3.core.settings_loading import check_settings
from petal_s3.core.signs import Signs
from petal_s3.core.systemd import notify, watchdog_s
from petal_s3.service.service import Service
from petal_s3.web.supervised import supervised

NOBODY = "http://127.0.0.1:9"


class Clock:
    """The real clock, which a test sets forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return now() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(tmp_path: Path, clock: Clock) -> AsyncIterator[Service]:
    """One whose drain is under way, with nothing to do."""
    settings = check_settings(
        {
            "bucket_name": "logs",
            "machine_id": "drone-001",
            "endpoint_url": NOBODY,
            "state_dir": str(tmp_path / "state"),
            "log_dirs": str(tmp_path),
        }
    )
    made = Service(settings, now=clock)
    assert not made.drain.is_alive
    await made.start(watch=False)
    await until(made, lives=True, works=True)
    yield made
    await made.stop()
    assert not made.drain.is_alive


async def until(service: Service, *, lives: bool, works: bool = False) -> None:
    deadline = time.monotonic() + 60
    while service.drain.is_alive != lives or (works and not service.lock.held):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_drain_that_only_waits_is_alive(service: Service, clock: Clock) -> None:
    clock.ahead_s += 3600  # nothing to do for an hour, as it seems
    await until(service, lives=True)
    service.drain.stir()
    await until(service, lives=True)


async def test_a_drain_that_ended_is_dead(service: Service) -> None:
    service.drain.tasks[0].cancel()
    await until(service, lives=False)


async def test_a_drain_that_hangs_is_dead(
    service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    async def turn() -> float:
        hangs.set()
        await asyncio.Event().wait()
        return 0.0

    monkeypatch.setattr(service.drainer, "turn", turn)
    service.drainer.pause.wake()
    await asyncio.wait_for(hangs.wait(), 60)
    assert service.drain.is_alive  # for as long as it might work
    clock.ahead_s += 3600
    service.drain.stir()
    for _ in range(20):
        await asyncio.sleep(0.05)
    assert not service.drain.is_alive


async def test_a_drain_that_waits_for_another_process_is_alive(
    service: Service, clock: Clock, tmp_path: Path
) -> None:
    second = Service(service.settings, now=clock)
    await second.start(watch=False)
    try:
        clock.ahead_s += 3600
        await until(second, lives=True)
        assert not second.lock.held
    finally:
        await second.stop()


async def test_the_watchdog_hears_nothing_of_a_dead_drain(service: Service, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.setblocking(False)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "150000"}
        loop = asyncio.get_running_loop()
        async with supervised(service, env):
            lines: list[str] = []
            while lines.count("WATCHDOG=1") < 3:
                lines += (await loop.sock_recv(told, 4096)).decode().splitlines()
            assert lines[0] == "READY=1"
            service.drain.tasks[0].cancel()
            await until(service, lives=False)
            await _all(told, 0.3)  # what was sent before it ended
            assert "WATCHDOG=1" not in await _all(told, 1.0)
        assert "STOPPING=1" in await _all(told, 0.3)


async def _all(told: socket.socket, for_s: float) -> list[str]:
    """All lines that come within this time."""
    loop = asyncio.get_running_loop()
    lines: list[str] = []
    deadline = time.monotonic() + for_s
    while (left_s := deadline - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.TimeoutError):
            said = await asyncio.wait_for(loop.sock_recv(told, 4096), left_s)
            lines += said.decode().splitlines()
    return lines


# -- the parts


def test_signs_are_fresh_for_a_while_and_while_the_loop_rests() -> None:
    at = [100.0]
    signs = Signs(lambda: at[0], 10)
    assert signs.are_fresh
    at[0] += 10.5
    assert not signs.are_fresh
    signs.give()
    assert signs.are_fresh
    with signs.resting():
        at[0] += 1000
        assert signs.are_fresh
    assert signs.are_fresh
    at[0] += 10.5
    assert not signs.are_fresh


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("60000000", 60.0), ("500000", 0.5), ("0", None), ("", None), ("-1", None), ("x", None)],
)
def test_how_often_the_watchdog_wants_to_hear(told: str, seconds: float | None) -> None:
    assert watchdog_s({"WATCHDOG_USEC": told}) == seconds


def test_a_full_queue_blocks_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        sent = 0
        while notify("WATCHDOG=1", environ=env):
            sent += 1
            assert sent < 100_000
        told.recv(100)
        assert notify("STATUS=one\nline", environ=env)
        for _ in range(sent):
            last = told.recv(100)
        assert last == b"STATUS=one line"
