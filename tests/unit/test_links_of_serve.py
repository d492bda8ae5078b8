"""``serve`` says how a phone gets to its page: links, and a QR code that never holds the token."""

from __future__ import annotations

import io
import re
import sys

import pytest
import segno

from petal_s3.cli import links

URL = "http://192.0.2.7:8077/"
_CELL = re.compile(r"\x1b\[(\d+);(\d+)m▀")
_WIDE = re.compile(r"\x1b\[(\d+)m  ")


class Terminal(io.StringIO):
    """Standard output that is one; ``encoding`` as of the real one."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def said(
    monkeypatch: pytest.MonkeyPatch, url: str, *, encoding: str = "utf-8", asks_token: bool = True
) -> list[str]:
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    links.say_links(url, asks_token=asks_token)
    return terminal.getvalue().splitlines()


def modules(lines: list[str]) -> list[list[bool]]:
    """What a camera sees: dark modules are true, line by line."""
    rows: list[list[bool]] = []
    for line in lines:
        if cells := _CELL.findall(line):
            rows += [[upper == "30" for upper, _ in cells], [low == "40" for _, low in cells]]
        elif wide := _WIDE.findall(line):
            rows.append([color == "40" for color in wide])
    return rows


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_code_holds_the_link_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    lines = said(monkeypatch, URL, encoding=encoding)
    assert lines[0] == URL
    expected = [
        [bool(module) for module in row]
        for row in segno.make_qr(URL, error="l").matrix_iter(border=2)
    ]
    seen = modules(lines)
    assert seen[: len(expected)] == expected
    assert not any(any(row) for row in seen[len(expected) :])
    "\n".join(lines).encode(encoding)
    assert all(len(_CELL.findall(line)) <= 60 for line in lines)


def test_it_says_that_the_token_can_be_read_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Over plain http others on that network can read it." in said(monkeypatch, URL)[-1]
    assert "token" not in said(monkeypatch, URL, asks_token=False)[-1]


def test_where_every_address_is_listened_on_those_of_this_machine_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "reached_by", lambda: ["192.0.2.7", "robot.local"])
    for everywhere in ("http://0.0.0.0:8077/", "http://[::]:8077/"):
        assert said(monkeypatch, everywhere)[:2] == [URL, "http://robot.local:8077/"]


def test_without_a_network_the_address_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "reached_by", list)
    assert said(monkeypatch, "http://0.0.0.0:8077/") == ["http://0.0.0.0:8077/"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_what_no_phone_reaches_has_no_code(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert said(monkeypatch, f"http://{host}:8077/") == [f"http://{host}:8077/"]


def test_no_code_is_drawn_into_a_journal(capsys: pytest.CaptureFixture[str]) -> None:
    links.say_links(URL, asks_token=True)
    assert capsys.readouterr().out == f"{URL}\n"


def test_the_addresses_of_this_machine_are_its_own() -> None:
    for one in links.reached_by():
        assert one.endswith(".local") or re.fullmatch(r"\d+(\.\d+){3}", one)
        assert not one.startswith("127.")
