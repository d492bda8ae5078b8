"""Fixtures of the tests on a real wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from rig import Rig, Shelf, opened
from shore import Shore, on_the_shore

from petal_s3.demo.services import EmbeddedS3
from tests.faults.chaos import Chaos


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Logs that are made once."""
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def cloud(_s3_server: EmbeddedS3) -> Iterator[Any]:
    """A plain S3 client that goes around the link: what the bucket really holds."""
    made = boto3.client(
        "s3",
        endpoint_url=_s3_server.url,
        region_name="us-east-1",
        aws_access_key_id="onlooker",
        aws_secret_access_key="opens-nothing",
        config=Config(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    yield made
    made.close()


@pytest.fixture
async def rig(
    s3_server: EmbeddedS3, cloud: Any, tmp_path: Path, shelf: Shelf
) -> AsyncIterator[Rig]:
    """A drone with an open outbox, on a link that a test may cut."""
    async with opened(s3_server, cloud, tmp_path, shelf) as made:
        yield made


@pytest.fixture
async def chaos(rig: Rig) -> AsyncIterator[Chaos]:
    """A link between the drone and the counting one, that a test may spoil byte by byte."""
    async with Chaos(rig.link.url, buffer_bytes=16 * 1024) as made:
        rig.given = {**rig.given, "endpoint_url": made.url}
        await rig.restart()
        yield made


@pytest.fixture
async def shore(tmp_path: Path) -> AsyncIterator[Shore]:
    """A drone that looks at its objects, on a server and a link that a test may spoil."""
    async with on_the_shore(tmp_path) as made:
        yield made
