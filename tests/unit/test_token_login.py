"""A machine authenticates to its token service: with a bearer token, with a client certificate."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from petal_s3.errors import S3CredentialsError
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.token_login import TokenLogin, open_to_others
from tests.support.authority import Authority
from tests.support.token_server import serving

GOOD = {"accessKeyId": "ASIA1", "secretAccessKey": "s", "sessionToken": "t"}
BEARER = "b34rer-of-this-robot"


class Gate:
    """A token service that asks who is there, and writes down what it was told."""

    def __init__(self, expected: str = "") -> None:
        self.expected = expected
        self.told: list[tuple[str, str]] = []
        """Of each request the Authorization header, and the name in its certificate."""
        self.elsewhere = ""
        self.url = ""

    async def post(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown: dict[str, Any] = request.transport.get_extra_info("peercert") or {}
        name = "".join(v for rdn in shown.get("subject", ()) for k, v in rdn if k == "commonName")
        self.told.append((request.headers.get("Authorization", ""), name))
        if self.elsewhere:
            raise web.HTTPTemporaryRedirect(self.elsewhere)
        if self.expected and request.headers.get("Authorization") != f"Bearer {self.expected}":
            return web.json_response({}, status=401)
        return web.json_response(GOOD)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this machine trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
def strict(authority: Authority) -> ssl.SSLContext:
    """A server's side that takes no connection without a certificate of the authority."""
    context = authority.server("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    return context


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "bearer", f"{BEARER}\n".encode())


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


async def refused(tokens: TokenService) -> S3CredentialsError:
    with pytest.raises(S3CredentialsError) as caught:
        await tokens.get()
    await tokens.close()
    assert BEARER not in caught.value.message
    return caught.value


# -- the bearer token


async def test_the_bearer_token_is_sent_and_read_anew_at_each_call(file: Path) -> None:
    async with serving(Gate(BEARER)) as gate:
        tokens = TokenService(gate.url, timeout_s=30, login=TokenLogin(file))
        first = await tokens.get()
        written(file, b"the-next-one")
        gate.expected = "the-next-one"
        tokens.invalidate(first.generation)
        await tokens.get()
        await tokens.close()

    assert [told for told, _ in gate.told] == [f"Bearer {BEARER}", "Bearer the-next-one"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_a_line_break_at_the_end_is_none_of_the_token(file: Path, end: bytes) -> None:
    written(file, BEARER.encode() + end)
    assert TokenLogin(file).headers() == {"Authorization": f"Bearer {BEARER}"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (BEARER.encode() + b"\n\n", "one line of printable ASCII"),
        (BEARER.encode() + b"\nX-Other: header", "one line of printable ASCII"),
        (BEARER.encode() + b"\rX", "one line of printable ASCII"),
        (BEARER.encode() + b" more", "one line of printable ASCII"),
        (BEARER.encode() + b"\0", "one line of printable ASCII"),
        (BEARER.encode() + "\u00fc".encode(), "one line of printable ASCII"),
        (b"\xff\xfe" + BEARER.encode(), "one line of printable ASCII"),
        (BEARER.encode() * 10_000, "one line of printable ASCII"),
    ],
)
@pytest.mark.guarantee(
    "credentials",
    "the file of the bearer token is empty, has a line break inside, or is not ASCII",
    "the service is not asked; the reason names PETAL_S3_SESSION_TOKEN_FILE and quotes nothing",
)
async def test_what_is_no_bearer_token_is_refused_by_name(
    file: Path, content: bytes, said: str
) -> None:
    written(file, content)
    async with serving(Gate()) as gate:
        error = await refused(TokenService(gate.url, timeout_s=30, login=TokenLogin(file)))
    assert error.code == "token_service_login"
    assert "PETAL_S3_SESSION_TOKEN_FILE" in error.message
    assert said in error.message
    assert gate.told == []


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with serving(Gate()) as gate:
        for place in (tmp_path / "nothing", tmp_path):
            error = await refused(TokenService(gate.url, timeout_s=30, login=TokenLogin(place)))
            assert error.code == "token_service_login"
            assert "cannot be read" in error.message


async def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    async with serving(Gate()) as gate:
        login = TokenLogin(tmp_path / "pipe")
        assert (await refused(TokenService(gate.url, timeout_s=30, login=login))).code == (
            "token_service_login"
        )


@pytest.mark.threat(
    "stolen", "its bearer token was withdrawn at the token service", "it gets no new session"
)
async def test_a_wrong_token_is_a_refusal_of_this_machine(file: Path) -> None:
    async with serving(Gate("another")) as gate:
        error = await refused(TokenService(gate.url, timeout_s=30, login=TokenLogin(file)))
    assert error.code == "token_service_refused"


@pytest.mark.guarantee(
    "credentials",
    "the token service redirects to another host",
    "neither the bearer token nor a request goes there",
)
@pytest.mark.threat("tokens")
async def test_the_bearer_token_goes_to_no_other_host(file: Path) -> None:
    async with serving(Gate()) as gate, serving(Gate()) as other:
        gate.elsewhere = other.url
        error = await refused(TokenService(gate.url, timeout_s=30, login=TokenLogin(file)))
    assert error.code == "token_service_nonsense"
    assert len(gate.told) == 1
    assert other.told == []


@pytest.mark.guarantee(
    "credentials",
    "the token service is named by plain http beyond loopback, or a proxy stands before it",
    "the bearer token is not sent; the reason says that https is needed",
)
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.threat("path")
async def test_the_bearer_token_is_not_sent_over_plain_http(
    file: Path, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    async with serving(Gate()) as gate:
        url = gate.url
        if proxied:
            monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
        else:
            url = "http://tokens.example/token"
        error = await refused(TokenService(url, timeout_s=30, login=TokenLogin(file)))
    assert error.code == "token_service_login"
    assert "https://" in error.message
    assert gate.told == []


async def test_a_login_in_the_url_and_a_bearer_token_exclude_each_other(file: Path) -> None:
    async with serving(Gate()) as gate:
        url = gate.url.replace("://", "://user:pa55@")
        error = await refused(TokenService(url, timeout_s=30, login=TokenLogin(file)))
    assert error.code == "token_service_login"
    assert "pa55" not in error.message
    assert gate.told == []


# -- the client certificate


@pytest.mark.guarantee(
    "credentials",
    "the token service takes no connection without a certificate of its authority",
    "the robot shows that of PETAL_S3_SESSION_TOKEN_CERT; a renewed one is shown at the next call",
)
async def test_the_client_certificate_is_shown_and_read_anew(
    authority: Authority, strict: ssl.SSLContext, file: Path
) -> None:
    certificate = authority.client("robot-1")
    login = TokenLogin(file, certificate)
    async with serving(Gate(BEARER), strict) as gate:
        tokens = TokenService(gate.url, timeout_s=30, login=login)
        first = await tokens.get()
        written(certificate, authority.client("robot-2").read_bytes())
        tokens.invalidate(first.generation)
        await tokens.get()
        await tokens.close()
    assert gate.told == [(f"Bearer {BEARER}", "robot-1"), (f"Bearer {BEARER}", "robot-2")]


async def test_also_where_the_clock_is_before_the_release(
    authority: Authority, strict: ssl.SSLContext
) -> None:
    login = TokenLogin(None, authority.client("robot-1"))
    async with serving(Gate(), strict) as gate:
        tokens = TokenService(
            gate.url, timeout_s=30, login=login, ignore_dates=True, wall=lambda: 0.0
        )
        await tokens.get()
        await tokens.close()
    assert gate.told == [("", "robot-1")]


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        (ssl.TLSVersion.TLSv1_3, "none"),  # before 1.3 no server can say that it lacks one
        (ssl.TLSVersion.TLSv1_3, "of a stranger"),
        (ssl.TLSVersion.TLSv1_2, "of a stranger"),
    ],
)
@pytest.mark.guarantee(
    "credentials",
    "the token service asks for a client certificate, and gets none or one of another authority",
    "the reason names PETAL_S3_SESSION_TOKEN_CERT",
)
async def test_without_the_right_certificate_the_reason_names_the_setting(
    authority: Authority,
    strict: ssl.SSLContext,
    tmp_path: Path,
    shown: str,
    version: ssl.TLSVersion,
) -> None:
    strict.minimum_version = strict.maximum_version = version
    login = TokenLogin()
    if shown == "of a stranger":
        (tmp_path / "strangers").mkdir()
        login = TokenLogin(None, Authority(tmp_path / "strangers").client("robot-1"))
    with refusing(strict) as url:
        # With a context of its own; aiohttp read the machine's authorities at its import.
        more = {"ignore_dates": True, "wall": lambda: 0.0}
        error = await refused(TokenService(url, timeout_s=30, login=login, **more))
    assert error.code == "token_service_refused"
    assert "PETAL_S3_SESSION_TOKEN_CERT" in error.message


@contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[str]:
    """A server that says in TLS what it does not like; asyncio's hangs up before that is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_refuse, args=(server, context), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}/token"
        thread.join(30)


def _refuse(server: socket.socket, context: ssl.SSLContext) -> None:
    plain, _ = server.accept()
    with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as wire:
        with contextlib.suppress(OSError):
            wire.do_handshake()
        with contextlib.suppress(OSError):  # what is not read resets the connection
            socket.socket.shutdown(wire, socket.SHUT_WR)
            while socket.socket.recv(wire, 65536):
                pass


async def test_a_certificate_that_cannot_be_used_is_refused_by_name(
    authority: Authority, strict: ssl.SSLContext, tmp_path: Path
) -> None:
    whole = authority.client("robot-1").read_bytes()
    alone = written(tmp_path / "alone.pem", whole.partition(b"-----BEGIN PRIVATE")[0])
    garbage = written(tmp_path / "garbage.pem", b"no certificate")
    locked = authority.client("locked", b"pa55-of-the-key")
    async with serving(Gate(), strict) as gate:
        for certificate in (alone, garbage, locked, tmp_path / "nothing.pem"):
            login = TokenLogin(None, certificate)
            error = await refused(TokenService(gate.url, timeout_s=30, login=login))
            assert error.code == "token_service_login"
            assert "PETAL_S3_SESSION_TOKEN_CERT" in error.message
    assert gate.told == []


@pytest.mark.threat(
    "path",
    "the token service is named by plain http, and a client certificate is set",
    "it is not asked: a certificate is shown in TLS alone",
)
async def test_a_certificate_needs_tls(authority: Authority) -> None:
    login = TokenLogin(None, authority.client("robot-1"))
    async with serving(Gate()) as gate:
        error = await refused(TokenService(gate.url, timeout_s=30, login=login))
    assert (error.code, gate.told) == ("token_service_login", [])
    assert "https://" in error.message


@pytest.mark.parametrize(
    ("mode", "said"),
    [(0o600, ""), (0o400, ""), (0o640, "0640"), (0o604, "0604"), (0o644, "0644"), (0o620, "0620")],
)
def test_a_file_that_others_can_open_is_told(file: Path, mode: int, said: str) -> None:
    file.chmod(mode)
    assert open_to_others(file) == said
