"""What the host hears is passed on, and nothing that goes wrong there gets into the host."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from petal_s3.core.settings_loading import load_settings
from petal_s3.host import autopilot
from petal_s3.host.autopilot import Autopilot
from petal_s3.host.card_link import GivingWay
from petal_s3.intake import flight_holds
from petal_s3.service.service import Service


class Mavlink:
    """The host's ``ext_mavlink``, as far as it is used."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Any], Any]] = {}
        self._download_lock: Any = threading.Lock()

    def register_handler(self, key: str, fn: Any) -> None:
        self.handlers[key] = fn

    def unregister_handler(self, key: str, fn: Any) -> None:
        assert self.handlers.pop(key) == fn

    async def beats(self) -> None:
        told = {"autopilot": 12, "type": 2, "base_mode": 1}
        message = SimpleNamespace(get_srcSystem=lambda: 1, get_srcComponent=lambda: 1, **told)
        await self.handlers["HEARTBEAT"](message)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(autopilot, "LOOK_S", 0.01)
    state, logs = str(tmp_path / "state"), str(tmp_path / "logs")
    return Service(
        load_settings(bucket_name="logs", machine_id="drone-001", state_dir=state, log_dirs=logs)
    )


async def until_held(service: Service, hold: flight_holds.Hold | None) -> None:
    deadline = time.monotonic() + 30
    while service.flight.hold(service.now()) != hold:
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


async def test_a_held_lock_holds_until_it_is_free_and_the_autopilot_was_heard(
    service: Service,
) -> None:
    mavlink = Mavlink()
    listens = Autopilot(service, mavlink)
    listens.listen()
    await mavlink.beats()
    assert service.flight.hold(service.now()) is None
    with mavlink._download_lock:
        await until_held(service, flight_holds.DEAF)
    await until_held(service, flight_holds.UNHEARD)
    await mavlink.beats()
    await until_held(service, None)
    await listens.stop()
    assert mavlink.handlers == {}


async def test_a_lock_that_cannot_be_looked_at_leaves_the_rule_of_silence(service: Service) -> None:
    mavlink = Mavlink()
    listens = Autopilot(service, mavlink)
    listens.listen()
    await mavlink.beats()
    with mavlink._download_lock:
        await until_held(service, flight_holds.DEAF)
        mavlink._download_lock = "another version of the host"
        await until_held(service, flight_holds.UNHEARD)
    await mavlink.beats()
    await until_held(service, None)
    await listens.stop()


def test_other_threads_have_a_turn_whenever_a_handler_of_the_card_is_called() -> None:
    """In the thread in which the host receives; else what is asked next waits for its lock."""
    had, may_begin = threading.Event(), threading.Event()
    asked: list[object] = []

    async def take(message: object) -> None:
        asked.append(message)

    def other() -> None:
        may_begin.wait()
        had.set()

    handler = GivingWay(take)
    assert asyncio.iscoroutinefunction(handler)  # or the host refuses it
    before = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    thread.start()
    sys.setswitchinterval(60)
    try:
        may_begin.set()
        for _ in range(20_000):
            handler("message").close()
            if had.is_set():
                break
        assert had.is_set()
    finally:
        sys.setswitchinterval(before)
        thread.join()
    asyncio.run(handler("message"))
    assert asked == ["message"]
