"""Fixtures of the tests that type commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from desk import Desk, Sea

from petal_s3.demo.link import LinkThread
from petal_s3.demo.services import EmbeddedS3, TokenService, in_thread


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A machine of its own; whatever was started there has ended afterwards."""
    made = Desk(tmp_path)
    yield made
    made.clear()


@pytest.fixture
def sea(desk: Desk, s3_server: EmbeddedS3) -> Iterator[Sea]:
    """A link, a token service and a bucket, known at the desk."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.url,
        region_name="us-east-1",
        aws_access_key_id="onlooker",
        aws_secret_access_key="opens-nothing",
    )
    with (
        contextlib.closing(client),
        LinkThread(s3_server.url) as link,
        in_thread(TokenService()) as tokens,
    ):
        desk.env |= {
            "PETAL_S3_ENDPOINT_URL": link.url,
            "PETAL_S3_SESSION_TOKEN_URL": tokens.url,
            "PETAL_S3_REQUEST_TIMEOUT": "10",
        }
        yield Sea(link, client)
        desk.clear()
