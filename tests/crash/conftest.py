"""Fixtures of the tests in which processes are killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService
from tests.support.cloud import PLAIN, onlooker


@pytest.fixture
def lab(s3_server: EmbeddedS3, tmp_path: Path) -> Iterator[Lab]:
    """A drone whose processes may be killed, and an S3 that stays."""
    cloud = onlooker(s3_server.url, PLAIN)
    with LinkThread(s3_server.url) as link, in_thread(TokenService()) as tokens:
        made = Lab(s3_server, cloud, link, tokens, tmp_path)
        yield made
        made.kill()
    cloud.close()
