"""Whose page may ask, and by which names: scheme, name and port make an origin."""

from __future__ import annotations

from typing import Any

import pytest

from petal_s3.core.settings_loading import check_settings
from petal_s3.errors import NotAllowed
from petal_s3.web.guard import Guard


def in_host(**more: Any) -> Guard:
    return Guard(check_settings({"bucket_name": "logs", **more}))


def passes(guard: Guard, scheme: str, host: str, origin: str) -> bool:
    try:
        guard.check_page({"host": host, "origin": origin}, scheme)
    except NotAllowed as error:
        assert error.code == "foreign_page"
        return False
    return True


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "own"),
    [
        ("http", "127.0.0.1", "http://127.0.0.1", True),
        ("http", "127.0.0.1:80", "http://127.0.0.1", True),
        ("http", "127.0.0.1", "http://127.0.0.1:80", True),
        ("https", "127.0.0.1:443", "https://127.0.0.1", True),
        ("https", "[::1]:9000", "https://[::1]:9000", True),
        ("http", "LocalHost:9000", "http://localhost:9000", True),
        ("http", "127.0.0.1", "https://127.0.0.1", False),
        ("https", "127.0.0.1", "http://127.0.0.1", False),
        ("http", "127.0.0.1:9000", "https://127.0.0.1:9000", False),
        ("http", "127.0.0.1:443", "https://127.0.0.1", False),
        ("https", "127.0.0.1:80", "http://127.0.0.1", False),
        ("http", "127.0.0.1:9000", "http://127.0.0.1", False),
        ("http", "127.0.0.1", "http://127.0.0.1:9000", False),
        ("http", "127.0.0.1:8080", "http://127.0.0.1:80", False),
        ("http", "127.0.0.1", "http://localhost", False),
        ("http", "127.0.0.1", "ws://127.0.0.1", False),
        ("http", "127.0.0.1", "127.0.0.1", False),
        ("http", "127.0.0.1", "null", False),
    ],
)
@pytest.mark.threat(
    "page",
    "it lies on this machine too, but under another scheme or port",
    "403: scheme, name and port make an origin",
)
def test_an_origin_is_its_scheme_its_name_and_its_port(
    scheme: str, host: str, origin: str, own: bool
) -> None:
    assert passes(in_host(), scheme, host, origin) is own


def test_behind_a_proxy_that_ends_tls_its_origin_is_listed() -> None:
    """Where nobody tells the guard of https, a page of it is another one until it is listed."""
    asked = ("http", "robot.lan", "https://robot.lan")
    assert passes(in_host(api_origins="https://robot.lan"), *asked)
    assert not passes(in_host(api_origins="http://robot.lan"), *asked)


def test_the_configured_name_is_one_of_the_host_too() -> None:
    guard = in_host(api_host="Robot.lan")
    guard.check_page({"host": "robot.lan:9000"}, "http")
    with pytest.raises(NotAllowed) as refused:
        guard.check_page({"host": "robot.lan.evil.example"}, "http")
    assert refused.value.code == "foreign_host"
