"""Fixtures of the tests that type commands."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer.testing
from account import Account, enforce_after
from console import Console, Sea

from petal_s3.client import S3Client
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread, start_s3
from petal_s3.demo.tokens import TokenService
from tests.support.cloud import onlooker


@pytest.fixture(scope="session", autouse=True)
def _commands_are_made_once() -> Iterator[None]:
    """A command that is typed in this process would have all of them made anew."""
    made = functools.cache(typer.testing._get_command)
    with mock.patch.object(typer.testing, "_get_command", made):
        yield


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A machine of its own; whatever was started there has ended afterwards."""
    made = Console(tmp_path)
    yield made
    made.clear()


@pytest.fixture(scope="session")
def _cloud(_s3_server: EmbeddedS3) -> Iterator[Any]:
    with contextlib.closing(onlooker(_s3_server.url)) as client:
        yield client


@pytest.fixture
def sea(console: Console, s3_server: EmbeddedS3, _cloud: Any) -> Iterator[Sea]:
    """A link, a token service and a bucket, known at the console."""
    with (
        LinkThread(s3_server.url) as link,
        in_thread(TokenService()) as tokens,
    ):
        console.env |= {
            "PETAL_S3_ENDPOINT_URL": link.url,
            "PETAL_S3_SESSION_TOKEN_URL": tokens.url,
            "PETAL_S3_REQUEST_TIMEOUT": "10",
        }
        yield Sea(link, _cloud)
        console.clear()


@pytest.fixture(scope="session")
def _strict_server() -> Iterator[EmbeddedS3]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
        server = start_s3()
    with server:
        yield server


@pytest.fixture
def client(console: Console, sea: Sea) -> Iterator[S3Client]:
    """A client in a script at the console."""
    with console.client() as made:
        yield made


@pytest.fixture
def account(console: Console, _strict_server: EmbeddedS3) -> Iterator[Account]:
    """A server that looks at signatures and policies, known at the console; it knows nobody yet."""
    server = _strict_server
    enforce_after(server, math.inf)
    server.reset()
    with contextlib.closing(Account(server)) as made:
        server.create_bucket("logs")
        key, secret = made.key
        console.env |= {
            "PETAL_S3_ENDPOINT_URL": server.url,
            "PETAL_S3_REQUEST_TIMEOUT": "10",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        yield made
