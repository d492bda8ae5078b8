"""Whether requests leave this machine without TLS, and what is said of it."""

from __future__ import annotations

import pytest

from petal_s3.core.settings_loading import check_settings
from petal_s3.s3.plain_http import is_open
from petal_s3.service import open_way


@pytest.mark.parametrize(
    ("url", "opens"),
    [
        (None, False),
        ("https://s3.example", False),
        ("http://s3.example", True),
        ("HTTP://S3.example:9000", True),
        ("http://10.0.0.7:9000", True),
        ("http://[2001:db8::1]:9000", True),
        ("http://[::ffff:10.0.0.7]/", True),
        ("http://127.0.0.1:9000", False),
        ("http://127.8.8.8", False),
        ("http://[::1]:9000", False),
        ("http://[::ffff:127.0.0.1]/", False),
        ("http://localhost:9000", False),
        ("http://LOCALHOST.:9000", False),
        ("http://s3.localhost:9000", False),
        ("http://user:pa55@127.0.0.1:9000", False),
        # Not what they look like.
        ("http://127.0.0.1.example", True),
        ("http://localhost.example", True),
        ("http://127.0.0.1@s3.example", True),
        ("http://notlocalhost", True),
        ("http://0.0.0.0:9000", True),
        ("http://2130706433", True),
    ],
)
@pytest.mark.threat(
    "path",
    "the address is written so that it looks like loopback",
    "what leaves the machine counts as open",
)
def test_plain_http_is_open_beyond_loopback(url: str | None, opens: bool) -> None:
    assert is_open(url) is opens


def test_a_proxy_before_loopback_gets_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert is_open("http://127.0.0.1:9000")
    assert not is_open("https://s3.example")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not is_open("http://127.0.0.1:9000")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://localhost:3128")
    assert not is_open("http://127.0.0.1:9000")
    monkeypatch.setenv("http_proxy", "http://:0")
    assert is_open("http://127.0.0.1:9000")


def said(**settings: object) -> str:
    return " ".join(open_way.advice(check_settings({"bucket_name": "logs", **settings})))


def test_it_names_the_server_and_what_is_open() -> None:
    told = said(
        endpoint_url="http://pilot:pa55@s3.lan:9000/base",
        session_token_url="http://tokens.lan/t?key=pa55",
    )
    assert "S3 is asked over plain http (s3.lan:9000)" in told
    assert "token service is asked over plain http (tokens.lan)" in told
    assert "pa55" not in told
    assert said(endpoint_url="https://s3.lan", session_token_url="http://127.0.0.1/t") == ""
    assert said() == ""


def test_retention_is_spoken_of_where_it_is_on() -> None:
    url = {"endpoint_url": "http://s3.lan"}
    assert "RETENTION" not in said(**url)
    assert "no local file is deleted" in said(**url, retention_days=7)
    assert "no local file is deleted" in said(**url, min_free_bytes="1GiB")
    told = said(**url, retention_days=7, retention_over_http=True)
    assert "deletes local files all the same" in told
