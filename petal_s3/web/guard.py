"""Which requests the stand-alone server answers, and how many connections it holds."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from petal_s3.errors import ConfigError, NotAllowed

Connection = web.RequestHandler

MOST_CONNECTIONS = 200
HEAD_S = 15.0  # for the head of a first request


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_binding(host: str, token: str | None) -> None:
    """Raise :class:`ConfigError` where others could reach the server without a token."""
    if not is_loopback(host) and not token:
        raise ConfigError(
            f"PETAL_S3_API_TOKEN must be set to serve on {host}: others can reach that address."
        )


class Guard:
    """Requests are allowed from this machine or with the token, and never from a web page."""

    def __init__(self, host: str, token: str | None) -> None:
        """Raises :class:`ConfigError` as :func:`check_binding`."""
        check_binding(host, token)
        self._local = is_loopback(host)
        self._token = token

    def check(self, request: web.Request) -> None:
        """Raise :class:`NotAllowed`: 403, or 401 where the token is missing."""
        if self._local and not is_loopback(_host_in(f"//{request.headers.get('Host', '')}")):
            # A page of another site, whose name now resolves to this machine (DNS rebinding).
            raise NotAllowed("This server is asked by another name than its own.")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            raise NotAllowed("Pages of other sites may not ask this server.")
        if request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
            raise NotAllowed("Pages of other sites may not ask this server.")
        if self._token is not None:
            kind, _, told = request.headers.get("Authorization", "").partition(" ")
            given = told.strip().encode("utf-8", "surrogateescape")
            right = hmac.compare_digest(given, self._token.encode())
            if kind.lower() != "bearer" or not right:
                raise NotAllowed(
                    "A bearer token is needed: PETAL_S3_API_TOKEN.", code="no_token", status=401
                )


def _host_in(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class Gate:
    """Limits connections: to a number, and to a time in which the first request must come.

    A new one takes the place of the oldest that asks nothing now. Where all are being answered,
    it is the new one that is closed.
    """

    def __init__(
        self, server: web.Server, *, most: int = MOST_CONNECTIONS, head_s: float = HEAD_S
    ) -> None:
        self._server = server
        self._most = most
        self._head_s = head_s
        self._silent: dict[Connection, asyncio.TimerHandle] = {}
        self._resting: set[Connection] = set()

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        loop, protocol = asyncio.get_running_loop(), self._server()
        self._silent[protocol] = loop.call_later(self._head_s, self._close, protocol)
        loop.call_later(0, self._make_room)  # once it is connected
        return protocol

    def spoke(self, protocol: Connection) -> None:
        """A request of it has come whole."""
        self._resting.discard(protocol)
        waited = self._silent.pop(protocol, None)
        if waited is not None:
            waited.cancel()

    def rests(self, protocol: Connection) -> None:
        """What it asked is answered; aiohttp closes it when it asks nothing more for long."""
        self._resting.add(protocol)

    @property
    def watched(self) -> int:
        """How many connections are silent or at rest."""
        return len(self._silent) + len(self._resting)

    def _make_room(self) -> None:
        here = [one for one in self._server.connections if is_open(one)]
        self._resting.intersection_update(here)
        surplus = len(here) - self._most
        if surplus > 0:
            idle = [one for one in here if one in self._silent or one in self._resting]
            for protocol in idle[:surplus]:
                self._close(protocol)

    def _close(self, protocol: Connection) -> None:
        self.spoke(protocol)
        if protocol.transport is not None and is_open(protocol):
            protocol.transport.abort()


def is_open(protocol: Connection) -> bool:
    """Whether a connection is neither closed nor being closed."""
    return protocol.transport is not None and not protocol.transport.is_closing()
