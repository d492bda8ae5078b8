"""Fixtures of the tests in which processes are killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from lab import Lab

from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService


@pytest.fixture
def lab(s3_server: EmbeddedS3, tmp_path: Path) -> Iterator[Lab]:
    """A drone whose processes may be killed, and an S3 that stays."""
    cloud = boto3.client(
        "s3",
        endpoint_url=s3_server.url,
        region_name="us-east-1",
        aws_access_key_id="onlooker",
        aws_secret_access_key="opens-nothing",
        config=Config(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    with LinkThread(s3_server.url) as link, in_thread(TokenService()) as tokens:
        made = Lab(s3_server, cloud, link, tokens, tmp_path)
        yield made
        made.kill()
    cloud.close()
