"""Fixtures of the tests that type commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import Account
from console import Console, Sea

from petal_s3.client import S3Client
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread, start_s3
from petal_s3.demo.tokens import TokenService
from tests.support.cloud import onlooker


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A machine of its own; whatever was started there has ended afterwards."""
    made = Console(tmp_path)
    yield made
    made.clear()


@pytest.fixture
def sea(console: Console, s3_server: EmbeddedS3) -> Iterator[Sea]:
    """A link, a token service and a bucket, known at the console."""
    client = onlooker(s3_server.url)
    with (
        contextlib.closing(client),
        LinkThread(s3_server.url) as link,
        in_thread(TokenService()) as tokens,
    ):
        console.env |= {
            "PETAL_S3_ENDPOINT_URL": link.url,
            "PETAL_S3_SESSION_TOKEN_URL": tokens.url,
            "PETAL_S3_REQUEST_TIMEOUT": "10",
        }
        yield Sea(link, client)
        console.clear()


@pytest.fixture
def client(console: Console, sea: Sea) -> Iterator[S3Client]:
    """A client in a script at the console."""
    with console.client() as made:
        yield made


@pytest.fixture
def account(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A server of its own that looks at signatures and policies, known at the console."""
    monkeypatch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
    with start_s3() as server, contextlib.closing(Account(server)) as made:
        server.create_bucket("logs")
        key, secret = made.key
        console.env |= {
            "PETAL_S3_ENDPOINT_URL": server.url,
            "PETAL_S3_REQUEST_TIMEOUT": "10",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        yield made
