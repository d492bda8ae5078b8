"""The way to S3 itself is wrong: names that do not resolve, certificates of others, no TLS."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from robot import Robot, until

from petal_s3.demo.link import Link, Shape
from petal_s3.s3.connection import reachable
from petal_s3.s3.stalls import Patience
from petal_s3.upload import pause
from tests.support.authority import Authority


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this machine trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(made.file))
    return made


@contextlib.asynccontextmanager
async def behind_tls(robot: Robot, context: ssl.SSLContext) -> AsyncIterator[Link]:
    """The drone's link ends at a server that speaks TLS, which passes on to the counting link."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", robot.link.port)
        await asyncio.gather(poured(reader, back), poured(onward, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with Link(f"https://127.0.0.1:{port}", buffer_bytes=16 * 1024) as chaos:
        robot.given = {**robot.given, "endpoint_url": chaos.url}
        await robot.restart()
        yield chaos
        await robot.service.stop()
    server.close()


async def poured(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await source.read(64 * 1024):
            target.write(block)
            await target.drain()
    target.transport.abort()


# -- TLS


@pytest.mark.guarantee(
    "links",
    "slow over TLS, where buffers take the body in one gulp",
    "it arrives at the first attempt: what the peer acknowledges counts as movement",
)
async def test_over_tls_too_what_moves_is_not_given_up(robot: Robot, authority: Authority) -> None:
    async with behind_tls(robot, authority.server("127.0.0.1")) as chaos:
        robot.service.s3.server.calls.patience = Patience(stall_s=1.5, answer_s=0.0)
        chaos.shape(Shape(up_bytes_s=150_000))
        row = await robot.land(size=450_000)

        done = await robot.attempt(row)

        assert done.attempts == 1
        robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "stalled over TLS in the middle of a part",
    "given up with the reason; then it goes on",
)
async def test_over_tls_too_a_stall_is_given_up(robot: Robot, authority: Authority) -> None:
    async with behind_tls(robot, authority.server("127.0.0.1")) as chaos:
        robot.service.s3.server.calls.patience = Patience(stall_s=0.5)
        chaos.stall_after(up=300_000)
        row = await robot.land(size=2_000_000)

        stalled = await robot.attempt(row)
        done = await robot.attempt(row)

        assert (stalled.state, stalled.code) == ("queued", "offline")
        assert "stalled after" in stalled.reason
        robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "S3's certificate comes from an issuer that this machine does not trust, or names another host",
    "nothing is sent, not even a head; it waits with the reason",
)
@pytest.mark.parametrize("wrong", ["issuer", "name"])
@pytest.mark.threat("path")
async def test_a_certificate_of_another_owner_gets_nothing(
    robot: Robot, authority: Authority, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    if wrong == "issuer":
        monkeypatch.delenv("AWS_CA_BUNDLE")
    server = authority.server("127.0.0.1" if wrong == "issuer" else "elsewhere.test")
    async with behind_tls(robot, server):
        row = await robot.attempt(await robot.land())

    assert (row.state, row.code) == ("queued", "tls")
    said = "its issuer is not known" if wrong == "issuer" else "it is for another address"
    assert re.search(rf"certificate that came is not one for .*{said}", row.reason)
    assert "?" not in row.reason  # no address with what was asked for
    assert robot.ledger.requests() == []

    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    async with behind_tls(robot, authority.server("127.0.0.1")):
        robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")


BREAKS: dict[str, Callable[[Link], None]] = {
    "reset after a byte": lambda chaos: chaos.cut_after(up=1),
    "closed in our greeting": lambda chaos: chaos.cut_after(up=200, reset=False),
    "reset after a byte of theirs": lambda chaos: chaos.cut_after(down=1),
    "closed in their certificate": lambda chaos: chaos.cut_after(down=500, reset=False),
    "silent in their certificate": lambda chaos: chaos.stall_after(down=500),
    "never answered": Link.black_hole,
}


@pytest.mark.guarantee(
    "links",
    "cut or silent in the TLS handshake",
    "offline, like any cut; the next attempt arrives",
)
@pytest.mark.parametrize("where", BREAKS)
async def test_a_handshake_that_breaks_is_a_link_that_broke(
    robot: Robot, authority: Authority, where: str
) -> None:
    robot.given = {**robot.given, "request_timeout": 1}
    async with behind_tls(robot, authority.server("127.0.0.1")) as chaos:
        BREAKS[where](chaos)
        row = await robot.attempt(await robot.land())
        chaos.heal()
        done = await robot.finish(row)

        assert (row.state, row.code) == ("queued", "offline")
        assert "127.0.0.1" in row.reason
        robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "plain http answers where https is expected",
    "nothing of a request goes out in the clear; it waits with the reason",
)
@pytest.mark.threat("path")
async def test_nothing_is_sent_in_the_clear_where_tls_is_expected(robot: Robot) -> None:
    heard = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(64 * 1024))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        heard.extend(await reader.read(64 * 1024))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await robot.restart(endpoint_url=f"https://127.0.0.1:{port}")
    row = await robot.attempt(await robot.land())
    server.close()

    assert (row.state, row.code) == ("queued", "offline")
    assert "does not speak TLS" in row.reason
    assert heard.startswith(b"\x16\x03")  # a handshake, and nothing after it
    for secret in (b"GET", b"PUT", b"amz", robot.tokens.issued[-1]["sessionToken"].encode()):
        assert secret not in heard


# -- names


class Names:
    """What the resolver of this machine says."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], Awaitable[None]] = self.unknown

    async def unknown(self) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def silent(self) -> None:
        await until(lambda: self.answer != self.silent)

    async def known(self) -> None:
        pass

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        if host == "cloud":
            await self.answer()
        where = "127.0.0.1" if host == "cloud" else host
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (where, port))]


@pytest.fixture
async def names(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver under the test's hand; S3 goes by a name."""
    made = Names()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", made.getaddrinfo)
    for name in ("POLL_S", "PROBE_FIRST_S", "PROBE_S"):
        monkeypatch.setattr(pause, name, 0.05)
    robot.given = {**robot.given, "endpoint_url": f"http://cloud:{robot.link.port}"}
    return made


@pytest.mark.guarantee(
    "links",
    "the name of S3 does not resolve",
    "it waits with the reason; when it resolves, it is sent without waiting for the backoff",
)
async def test_a_name_that_resolves_again_is_used_at_once(robot: Robot, names: Names) -> None:
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6  # the backoff says a minute
    row = await robot.land()
    block = await until(lambda: service.drainer.pause.seen_down and service.drainer.block)
    waiting = await robot.row(row)

    names.answer = names.known
    done = await robot.until_state(row, "verified")

    assert (waiting.state, waiting.code) == ("queued", "offline")
    assert "cloud" in waiting.reason
    assert block.until - block.since == 60
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "the resolver never answers",
    "given up in time, with the reason",
)
async def test_a_resolver_that_never_answers_is_given_up(robot: Robot, names: Names) -> None:
    names.answer = names.silent
    service = await robot.restart(request_timeout=0.3)
    service.drainer.timing.probe = lambda peer: reachable(peer, 0.2)
    row = await robot.attempt(await robot.land())

    assert (row.state, row.code) == ("queued", "offline")
    assert row.reason == "No answer from cloud in time."
    names.answer = names.known
    robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")
