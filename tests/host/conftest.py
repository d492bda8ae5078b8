"""What the tests with a real host share: one S3 server, and directories that last a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.demo.flight import Flight, free_udp_port
from petal_s3.demo.services import EmbeddedS3


@pytest.fixture(scope="session")
def cloud(_s3_server: EmbeddedS3) -> EmbeddedS3:
    """The S3 server, in which each host gets a bucket of its own; nobody resets it meanwhile."""
    pytest.importorskip("petal_app_manager")
    return _s3_server


@pytest.fixture(scope="module")
def ashore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for a host that serves a whole module."""
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="module")
def flight() -> Iterator[Flight]:
    """An autopilot that is heard by the hosts of a module."""
    with Flight(free_udp_port()) as flying:
        yield flying
