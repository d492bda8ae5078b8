"""MAVSDK, which shares no code with us, serves files to our client, and fetches the same ones."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.ftp_client import NotFound, Silence
from petal_s3.autopilot.own_link import OwnLink
from petal_s3.core.crc32 import crc32
from petal_s3.demo.flight import free_udp_port
from petal_s3.demo.logs import write_ulog
from petal_s3.intake.flight_state import Heartbeat
from tests.support.autopilot import Autopilot
from tests.support.relay import Relay

Start = Callable[..., subprocess.Popen[str]]

DAY = "/fs/microsd/log/2026-11-30"
LOGS = ("10_00_00.ulg", "11_00_00.ulg")
SIZE = 60_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card with two logs, one of which ends with a whole block."""
    root = tmp_path_factory.mktemp("card")
    day = root / DAY.lstrip("/")
    day.mkdir(parents=True)
    write_ulog(day / LOGS[0], SIZE, seed=1)
    (day / LOGS[1]).write_bytes(random.Random(2).randbytes(239 * 100))
    (day / "empty.ulg").touch()
    return root


def content(root: Path, path: str) -> bytes:
    return (root / path.lstrip("/")).read_bytes()


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[tuple[MavftpCard, list[Heartbeat]]]:
    """Our client on this port, once an autopilot is heard."""
    link, beats = OwnLink(f"udpin:127.0.0.1:{port}"), list[Heartbeat]()
    link.on_heartbeat = beats.append
    card = MavftpCard(link, Terms(lambda: None, lambda: None, time.monotonic))
    link.start()
    try:
        deadline = time.monotonic() + 60
        while not any(one.from_autopilot for one in beats):
            assert time.monotonic() < deadline, "no autopilot"
            await asyncio.sleep(0.05)
        yield card, beats
    finally:
        await card.close()
        await link.stop()


async def fetched(card: MavftpCard, path: str, start: int = 0) -> bytes:
    got = bytearray()

    async def sink(block: bytes) -> None:
        got.extend(block)

    await card.read(path, start, await card.open_size(path), sink)
    return bytes(got)


@pytest.mark.parametrize("loss", [0.0, 0.02])
async def test_its_server_gives_us_every_file_as_it_is(
    mavsdk: Path, start: Start, root: Path, loss: float
) -> None:
    port = free_udp_port()
    relay = Relay(("127.0.0.1", port), loss=loss)
    with relay.running():
        start(mavsdk, "mavsdk_server.py", root, f"udpout://127.0.0.1:{relay.port}")
        async with listening(port) as (card, _):
            entries = await card.list_directory(DAY)
            assert sorted((one.name, one.size) for one in entries) == [
                (LOGS[0], SIZE),
                (LOGS[1], 23_900),
                ("empty.ulg", 0),
            ]
            assert all(one.modified for one in entries)
            for name in LOGS:
                got = await fetched(card, f"{DAY}/{name}")
                assert got == content(root, f"{DAY}/{name}")
                assert await card.crc32(f"{DAY}/{name}") == crc32(got)
            with pytest.raises(NotFound):
                await card.open_size(f"{DAY}/nothing.ulg")
            with pytest.raises(NotFound):
                await card.list_directory("/nowhere")


async def test_a_server_that_was_killed_is_asked_again_at_the_offset(
    mavsdk: Path, start: Start, root: Path
) -> None:
    port = free_udp_port()
    server = start(mavsdk, "mavsdk_server.py", root, f"udpout://127.0.0.1:{port}")
    async with listening(port) as (card, _):
        got, path = bytearray(), f"{DAY}/{LOGS[0]}"

        async def sink(block: bytes) -> None:
            got.extend(block)
            server.kill()

        with pytest.raises(Silence):
            await card.read(path, 0, SIZE, sink)
        assert 0 < len(got) < SIZE
        start(mavsdk, "mavsdk_server.py", root, f"udpout://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while len(got) < SIZE:
            assert time.monotonic() < deadline, "it does not come back"
            try:
                got += await fetched(card, path, len(got))
            except Silence:
                continue
        assert bytes(got) == content(root, path)


def test_its_client_and_ours_get_the_same_bytes_from_our_card(
    mavsdk: Path, pymavlink: Path, start: Start, root: Path, tmp_path: Path
) -> None:
    paths = [f"{DAY}/{name}" for name in LOGS]
    for python, script, url in (
        (mavsdk, "mavsdk_client.py", "udpin://127.0.0.1:{}"),
        (pymavlink, "fetch.py", "udpin:127.0.0.1:{}"),
    ):
        target = tmp_path / script
        target.mkdir()
        with Autopilot(root).flying() as autopilot:
            client = start(python, script, url.format(autopilot.port), target, *paths)
            told, _ = client.communicate(timeout=200)
        assert client.returncode == 0, told
        for name in LOGS:
            assert (target / name).read_bytes() == content(root, f"{DAY}/{name}"), told
