"""Plain S3 clients that go around the link: what a bucket really holds."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

PLAIN = Config(
    retries={"total_max_attempts": 1},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
"""Asks once, and adds no checksums of its own."""


def onlooker(url: str, config: Config | None = None) -> Any:
    """A client of the server at ``url``, which asks nobody for credentials; close it."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="onlooker",
        aws_secret_access_key="opens-nothing",
        config=config,
    )
