"""The proxy of the environment is used, and a person's ~/.netrc is never read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from petal_s3.errors import S3BucketError, S3CredentialsError, S3IntegrationError
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.forward_proxy import peer_of, proxy_for
from petal_s3.s3.s3_settings import S3Settings

LOGIN = base64.b64encode(b"pilot:pa:55 word").decode()
PERSON = base64.b64encode(b"person:private").decode()
TOKEN = b'{"accessKeyId": "ASIA1", "secretAccessKey": "s3cr3t", "sessionToken": "t0ken"}'


@dataclass
class Peer:
    """Whatever is connected to: it keeps each request's head, and answers as it is told."""

    status: str = "200 OK"
    body: bytes = TOKEN
    heads: list[list[str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(self, name: str) -> list[str]:
        """Every value of a header that came, of whatever request."""
        pairs = (line.split(": ", 1) for head in self.heads for line in head[1:])
        return [value for found, value in pairs if found.lower() == name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head.strip().split("\r\n"))
            answer = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\n"
            writer.write(f"{answer}Content-Type: application/json\r\n\r\n".encode() + self.body)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    async with server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Peer]:
    """A token service."""
    async with listening() as peer:
        yield peer


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Peer]:
    async with listening() as peer:
        yield peer


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A login of a person for every host there is."""
    file = tmp_path / "netrc"
    file.write_text("default login person password private\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    home = Path.home()
    home.mkdir(parents=True, exist_ok=True)
    (home / ".netrc").write_bytes(file.read_bytes())


async def fetched(url: str) -> str:
    """The key id that a token service hands out."""
    tokens = TokenService(url, timeout_s=30)
    try:
        return (await tokens.get()).access_key_id
    finally:
        await tokens.close()


# -- ~/.netrc


@pytest.mark.usefixtures("netrc")
@pytest.mark.guarantee(
    "credentials",
    "the netrc of a person has a login for every host",
    "no request carries it, neither to the token service nor to S3 nor to a proxy",
)
@pytest.mark.threat("path")
async def test_no_login_of_a_person_goes_to_the_token_service(service: Peer) -> None:
    assert await fetched(f"{service.url}/token") == "ASIA1"
    assert service.headers("authorization") == []


@pytest.mark.usefixtures("netrc")
async def test_the_login_in_the_address_of_the_token_service_is_sent(service: Peer) -> None:
    url = service.url.replace("://", "://pilot:pa%3A55%20word@")
    assert await fetched(f"{url}/token") == "ASIA1"
    assert service.headers("authorization") == [f"Basic {LOGIN}"]


@pytest.mark.usefixtures("netrc")
async def test_no_login_of_a_person_goes_to_a_proxy(
    service: Peer, proxy: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    await fetched(f"{service.url}/token")
    assert len(proxy.heads) == 1
    assert (proxy.headers("authorization"), proxy.headers("proxy-authorization")) == ([], [])


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("proxied", [False, True])
async def test_no_login_of_a_person_goes_to_s3(
    service: Peer, proxy: Peer, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    if proxied:
        monkeypatch.setenv("http_proxy", proxy.url)
    s3 = S3(S3Settings("logs", endpoint_url=service.url), None)
    try:
        with pytest.raises(S3IntegrationError):
            await s3.page("flight_logs/")
    finally:
        await s3.close()
    asked = proxy if proxied else service
    (sent,) = asked.headers("authorization")
    assert sent.startswith("AWS4-HMAC-SHA256 Credential=AKIA1/")
    assert PERSON not in str(asked.heads)


# -- proxies of the environment


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_the_token_service_is_asked_through_the_proxy(
    service: Peer, proxy: Peer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{proxy.port}")
    assert await fetched(f"{service.url}/token") == "ASIA1"
    assert proxy.heads[0][0] == f"POST {service.url}/token HTTP/1.1"
    assert service.heads == []


async def test_the_proxy_gets_the_login_that_its_own_address_names(
    service: Peer, proxy: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = proxy.url.replace("://", "://pilot:pa%3A55%20word@")
    monkeypatch.setenv("http_proxy", named)
    await fetched(f"{service.url}/token")
    assert proxy.headers("proxy-authorization") == [f"Basic {LOGIN}"]
    assert proxy.headers("authorization") == []


async def test_over_tls_the_proxy_is_asked_for_a_tunnel(
    proxy: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.status, proxy.body = "407 Proxy Authentication Required", b""
    monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://pilot:pa%3A55%20word@"))
    with pytest.raises(S3CredentialsError) as caught:
        await fetched("https://tokens.example/token")
    assert proxy.heads[0][0].startswith("CONNECT tokens.example:443 ")
    assert proxy.headers("proxy-authorization") == [f"Basic {LOGIN}"]
    assert caught.value.message == (
        "The token service at tokens.example cannot be reached (the proxy on the way answered"
        " HTTP 407)."
    )
    assert caught.value.peer == ("127.0.0.1", proxy.port)


@pytest.mark.parametrize("excepted", ["127.0.0.1", "example.org, 127.0.0.1:{port}", "*"])
async def test_a_host_that_no_proxy_names_is_asked_itself(
    service: Peer, proxy: Peer, monkeypatch: pytest.MonkeyPatch, excepted: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", excepted.format(port=service.port))
    assert await fetched(f"{service.url}/token") == "ASIA1"
    assert (len(service.heads), proxy.heads) == (1, [])


@pytest.mark.parametrize(
    "address", ["http://pilot:pa55@proxy:none", "http://:pa55@", "ftp://pa55@host", "http://[pa55"]
)
async def test_a_proxy_whose_address_makes_no_sense_is_named(
    service: Peer, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("http_proxy", address)
    sentence = (
        "The environment's http_proxy is not the address of a proxy: http://HOST:PORT is expected."
    )
    with pytest.raises(S3CredentialsError) as caught:
        await fetched(f"{service.url}/token")
    assert caught.value.message == (f"The token service at 127.0.0.1 cannot be reached. {sentence}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    s3 = S3(S3Settings("logs", endpoint_url=service.url), None)
    with pytest.raises(S3BucketError) as refused:
        await s3.page("flight_logs/")
    await s3.close()
    assert refused.value.message == sentence
    assert service.heads == []


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy", "peer"),
    [
        ("http://s3.example/b", "", "http://u:p@one.example:3128", ("one.example", 3128)),
        ("http://s3.example/b", "example", None, ("s3.example", 80)),
        ("http://s3.example:9000/b", "s3.example:9000", None, ("s3.example", 9000)),
        ("https://s3.example", "", "http://two.example", ("two.example", 80)),
        ("https://s3.example", "s3.example:443", None, ("s3.example", 443)),
        ("https://[::1]:9000/b", "::1", None, ("::1", 9000)),
    ],
)
def test_the_peer_is_the_proxy_where_one_stands_before_the_address(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    no_proxy: str,
    proxy: str | None,
    peer: tuple[str, int],
) -> None:
    monkeypatch.setenv("http_proxy", "http://u:p@one.example:3128")
    monkeypatch.setenv("https_proxy", "two.example")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for(url), peer_of(url)) == (proxy, peer)
