"""A file that a setting names is a regular file: anything else is refused by name, not opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from console import Console, Sea

from petal_s3.core.files import not_a_file, read_file

OURS = ("PETAL_S3_SESSION_TOKEN_FILE", "PETAL_S3_SESSION_TOKEN_CERT", "PETAL_S3_CONFIG")
OF_AWS = (
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


def pipe(place: Path) -> Path:
    os.mkfifo(place)
    return place


def directory(place: Path) -> Path:
    place.mkdir()
    return place


def bound(place: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place))
    return place


def link(place: Path) -> Path:
    place.symlink_to(pipe(place.with_name("behind")))
    return place


KINDS: dict[str, Callable[[Path], Path]] = {
    "a named pipe": pipe,
    "a directory": directory,
    "a socket": bound,
    "a device": lambda _: Path("/dev/zero"),
}


def said_by_check(console: Console, **given: str) -> str:
    given = {"AWS_EC2_METADATA_DISABLED": "true", "PETAL_S3_REQUEST_TIMEOUT": "3", **given}
    if "PETAL_S3_SESSION_TOKEN_CERT" in given:
        given["PETAL_S3_SESSION_TOKEN_URL"] = "https://127.0.0.1:1/token"
    if "AWS_WEB_IDENTITY_TOKEN_FILE" in given:
        given |= {"PETAL_S3_SESSION_TOKEN_URL": "", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
    answer = console.type("check", "--json", **given)
    assert answer.code != 0, answer
    return " ".join((answer.out + answer.err).split())


@pytest.mark.timeout(60)
@pytest.mark.guarantee(
    "attack",
    "a file that a setting names is a named pipe, a directory, a socket or a device",
    "it is refused by the setting's name and never waited for",
)
@pytest.mark.threat("user")
@pytest.mark.parametrize("name", [*OURS, *OF_AWS])
def test_a_pipe_where_a_file_is_named_is_said_and_not_waited_for(
    console: Console, sea: Sea, tmp_path: Path, name: str
) -> None:
    said = said_by_check(console, **{name: str(link(tmp_path / "named"))})
    assert f"{name}" in said
    assert "a named pipe" in said


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a named pipe"])
@pytest.mark.parametrize("name", [*OURS, "AWS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_so_is_anything_else_that_is_no_file(
    console: Console, sea: Sea, tmp_path: Path, name: str, kind: str
) -> None:
    said = said_by_check(console, **{name: str(KINDS[kind](tmp_path / "named"))})
    assert f"{name}" in said
    assert kind in said


@pytest.mark.timeout(60)
def test_a_pipe_in_the_home_directory_is_said_too(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    (tmp_path / ".aws").mkdir()
    pipe(tmp_path / ".aws" / "credentials")
    assert "AWS_SHARED_CREDENTIALS_FILE" in said_by_check(console, HOME=str(tmp_path))


@pytest.mark.timeout(60)
def test_a_pipe_that_a_profile_names_is_said_too(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    file.write_text(f"[default]\nca_bundle = {pipe(tmp_path / 'bundle')}\n")
    said = said_by_check(console, AWS_CONFIG_FILE=str(file))
    assert "ca_bundle" in said
    assert "a named pipe" in said


def test_no_command_begins_where_openssl_would_wait(console: Console, tmp_path: Path) -> None:
    told = console.start("status", SSL_CERT_FILE=str(pipe(tmp_path / "named")))
    assert told.end() == 2
    assert f"SSL_CERT_FILE names {tmp_path / 'named'}, which is a named pipe" in told.said


@pytest.mark.timeout(60)
def test_the_empty_device_names_no_file(console: Console, sea: Sea) -> None:
    """As AWS's tools are told to read none."""
    given = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    assert console.type("ls", **given).code == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_file_is_opened(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = KINDS[kind](tmp_path / "named")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
        assert not_a_file(place) == kind
        with pytest.raises(OSError, match=kind):
            read_file(place, 10)


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(file)
    assert not_a_file(tmp_path / "link") == not_a_file(file) == not_a_file(tmp_path / "none") == ""
    assert read_file(tmp_path / "link", 4) == b"0123"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 4)
