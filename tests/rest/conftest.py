"""Fixtures of the tests of REST: one api after the other, on one S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apis import Api, in_host, standing

from petal_s3.demo.services import EmbeddedS3


@pytest.fixture(scope="module", params=["stand-alone", "host"])
def _door(
    request: pytest.FixtureRequest, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("api")
    if request.param == "host":
        pytest.importorskip("petal_app_manager")
        with in_host(_s3_server, directory) as api:
            yield api
    else:
        with standing(_s3_server, directory) as stand:
            yield stand.api


@pytest.fixture
def api(_door: Api) -> Iterator[Api]:
    """The stand-alone server, then the real host; a test may cut its link, and arm it."""
    yield _door
    _door.mend()


@pytest.fixture(scope="module")
def _host(_s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    pytest.importorskip("petal_app_manager")
    with in_host(_s3_server, tmp_path_factory.mktemp("host")) as api:
        yield api


@pytest.fixture
def host(_host: Api) -> Iterator[Api]:
    """The real host alone."""
    yield _host
    _host.mend()
