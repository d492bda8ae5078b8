"""A connection of our own: what it hears is passed on, what breaks is made anew, and traced."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.own_link import OwnLink
from petal_s3.autopilot.trace import FileTrace
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.flight import free_udp_port
from petal_s3.errors import ConfigError
from petal_s3.host.own_autopilot import flight_of, own_autopilot
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.service.service import Service

pytest.importorskip("pymavlink")
from tests.support.autopilot import Autopilot

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "card").mkdir()
    (tmp_path / "card/a.ulg").write_bytes(CONTENT)
    return tmp_path / "card"


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


def free() -> None:
    """Anything may be asked."""


async def test_heartbeats_and_landings_are_heard_and_files_are_read(root: Path) -> None:
    with Autopilot(root, beat_s=0.05).flying() as autopilot:
        link, beats = OwnLink(f"udpin:127.0.0.1:{autopilot.port}"), list[Heartbeat]()
        link.on_heartbeat = beats.append
        card = MavftpCard(link, Terms(free, free, time.monotonic))
        link.start()
        await until(lambda: beats)
        assert (beats[0].system, beats[0].from_autopilot) == (1, True)
        got = bytearray()

        async def sink(block: bytes) -> None:
            got.extend(block)

        await card.read("/a.ulg", 0, len(CONTENT), sink)
        assert bytes(got) == CONTENT
        autopilot.is_armed = True
        await until(lambda: beats[-1].base_mode & 128)
        await card.close()
        await link.stop()
    assert autopilot.server.resets == 0


async def test_an_autopilot_that_comes_later_is_found(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port, beats = free_udp_port(), list[Heartbeat]()
    with caplog.at_level(logging.WARNING, "petal_s3"):
        link = OwnLink(f"tcp:127.0.0.1:{port}")
        link.on_heartbeat = beats.append
        link.start()
        await until(lambda: "no connection to the autopilot" in caplog.text)
        await link.stop()
    assert beats == []


async def test_without_pymavlink_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [one for one in sys.modules if one.startswith("pymavlink")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymavlink", None)
    with pytest.raises(ConfigError, match=r"petal-s3\[mavlink\]"):
        OwnLink("udpin:127.0.0.1:1").start()


async def test_a_robot_without_the_host_knows_whether_it_flies(root: Path, tmp_path: Path) -> None:
    with Autopilot(root, beat_s=0.05).flying() as autopilot:
        settings = load_settings(
            bucket_name="logs",
            machine_id="drone-001",
            state_dir=str(tmp_path / "state"),
            log_dirs=str(tmp_path / "logs"),
            autopilot=f"udpin:127.0.0.1:{autopilot.port}",
            fetch="off",
        )
        service = Service(settings, flight=flight_of(settings))
        assert service.flight.hold(service.now()) is not None
        async with own_autopilot(service):
            await until(lambda: service.flight.state(service.now()) == "disarmed")
            autopilot.is_armed = True
            await until(lambda: service.flight.state(service.now()) == "armed")
        await service.stop()


async def test_without_the_setting_nothing_is_listened_to(tmp_path: Path) -> None:
    settings = load_settings(
        bucket_name="logs",
        machine_id="drone-001",
        state_dir=str(tmp_path / "state"),
        log_dirs=str(tmp_path / "logs"),
    )
    service = Service(settings, flight=flight_of(settings))
    async with own_autopilot(service):
        assert service.flight.hold(service.now()) is None
    await service.stop()


async def test_a_trace_tells_requests_and_refusals_and_no_content(
    root: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    with Autopilot(root, beat_s=0.05).flying() as autopilot:
        link, beats = OwnLink(f"udpin:127.0.0.1:{autopilot.port}"), list[Heartbeat]()
        link.on_heartbeat = beats.append
        card = MavftpCard(link, Terms(free, free, time.monotonic), FileTrace(trace))
        link.start()
        await until(lambda: beats)
        await card.list_directory("/")
        await card.read("/a.ulg", 0, 500, _nowhere)
        await card.close()
        await link.stop()
    lines = trace.read_text().splitlines()
    assert lines[0].startswith("# seconds direction")
    assert any(" > " in line and line.endswith("'/a.ulg'") for line in lines)
    assert any(" < " in line and line.endswith("nak 7") for line in lines)
    assert CONTENT[:20].decode() not in trace.read_text()


async def _nowhere(_: bytes) -> None:
    pass
