"""Fixtures that every kind of test shares; each builds on real sockets and real files."""

from __future__ import annotations

import gc
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from petal_s3.demo.services import EmbeddedS3, start_s3
from tests.servers.catalogue import KINDS
from tests.support.once import found_out_once

_LONG = ("test_learning.py", "test_million_rows.py", "test_what_is_so.py")
_REAL_SERVER = re.compile("|".join(map(re.escape, KINDS)))


class _OneServerOneWorker(LoadFileScheduling):
    """Files go to the workers, but of real servers each goes to one with all its tests.

    A test that is long is given in shares, and each of them goes to whoever is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        if "[share " in nodeid:
            return nodeid
        of_server = _REAL_SERVER.search(nodeid) if "/servers/" in nodeid else None
        return of_server[0] if of_server else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """How tests are shared out, where ``--dist loadfile`` is asked for."""
    if config.getoption("dist") != "loadfile":
        return None
    return _OneServerOneWorker(config, log)


def pytest_configure() -> None:
    """A shell has the commands that it runs in the background ignore Ctrl-C, and all they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file that takes a minute comes first: at the end the other workers would wait for it."""
    items.sort(key=lambda item: item.path.name not in _LONG)


def pytest_collection_finish() -> None:
    """What was collected stays: to look through it for garbage took a tenth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine or the caller leaks into a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("PETAL_", "AWS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PETAL_S3_CONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session", autouse=True)
def _botocore_finds_out_once() -> Iterator[None]:
    with found_out_once():
        yield


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[EmbeddedS3]:
    with pytest.MonkeyPatch.context() as environment:
        # Else each part of 5 MiB is written to the disk and read back.
        environment.setenv("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(16 << 20))
        server = start_s3()
    with server:
        yield server


@pytest.fixture
def s3_server(_s3_server: EmbeddedS3) -> EmbeddedS3:
    """A real S3 server on loopback with one empty bucket, ``logs``."""
    _s3_server.reset()
    _s3_server.create_bucket("logs")
    return _s3_server
