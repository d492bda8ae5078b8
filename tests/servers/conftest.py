"""Fixtures: real servers, each made and started once, and a drone before one of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from petal_s3.demo.recorded_link import LinkThread
from tests.servers.catalogue import KINDS
from tests.servers.drone import ENV, Drone
from tests.servers.environments import CannotBeHadError
from tests.servers.running import Running

FULL = ("seaweedfs-4.48", "seaweedfs-4.39", "juicefs")


class Servers:
    """Those that were started by now."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, Running] = {}
        self._missing: dict[str, str] = {}

    def __call__(self, name: str) -> Running:
        """The server of this name; a test that needs it is skipped where it cannot be had."""
        if name not in self._running and name not in self._missing:
            try:
                made = KINDS[name].environment()
            except CannotBeHadError as error:
                self._missing[name] = str(error)
            else:
                self._running[name] = Running(KINDS[name], made, self._directory / name)
                self._running[name].wait()
        if name in self._missing:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(self._missing[name])
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real servers by name."""
    made = Servers(tmp_path_factory.mktemp("servers"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(params=FULL)
def server(request: pytest.FixtureRequest, servers: Servers) -> Running:
    """The server that a test is about; ``@pytest.mark.parametrize("server", ..., indirect)``."""
    return servers(request.param)


@pytest.fixture
async def drone(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Drone]:
    """A drone with an empty bucket; no service is open yet."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    with LinkThread(server.url) as link:
        made = Drone(server, link, tmp_path)
        made.begin()
        yield made
        made.kill()
        await made.close()
