"""Fixtures of the tests on a real wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from others import start_other
from robot import LogStore, Robot, opened
from wired import Wired, wired_up

from petal_s3.demo.link import Link
from petal_s3.demo.services import EmbeddedS3
from tests.support.cloud import PLAIN, onlooker


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> LogStore:
    """Logs that are made once."""
    return LogStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def cloud(_s3_server: EmbeddedS3) -> Iterator[Any]:
    """A plain S3 client that goes around the link: what the bucket really holds."""
    made = onlooker(_s3_server.url, PLAIN)
    yield made
    made.close()


@pytest.fixture
async def robot(
    s3_server: EmbeddedS3, cloud: Any, tmp_path: Path, store: LogStore
) -> AsyncIterator[Robot]:
    """A drone with an open outbox, on a link that a test may cut."""
    async with opened(s3_server, cloud, tmp_path, store) as made:
        yield made


@pytest.fixture
async def other(robot: Robot) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that drains this outbox."""
    process = await start_other(robot, "drain", Path())
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"drains\n"
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.fixture
async def chaos(robot: Robot) -> AsyncIterator[Link]:
    """A link between the drone and the counting one, that a test may spoil byte by byte."""
    async with Link(robot.link.url, buffer_bytes=16 * 1024) as made:
        robot.given = {**robot.given, "endpoint_url": made.url}
        await robot.restart()
        yield made


@pytest.fixture
async def wired(tmp_path: Path) -> AsyncIterator[Wired]:
    """A drone that looks at its objects, on a server and a link that a test may spoil."""
    async with wired_up(tmp_path) as made:
        yield made
