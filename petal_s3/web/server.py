"""The stand-alone door: the same routes over aiohttp, for robots without the host."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from petal_s3.errors import ConfigError, NotAllowed, S3IntegrationError, as_json
from petal_s3.service.service import Service
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import Call, Reply, Route, headers_of

log = logging.getLogger("petal_s3")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_CONNECTIONS = 200
HEAD_S = 15.0  # so long may the head of a first request take
_IDLE_S = 60.0
_STOP_S = 2.0  # aiohttp takes it twice
_LONGEST_LINE = 16 * 1024


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
    """Who may come in: of this machine or with the token, and not sent by a web page."""

    def __init__(self, host: str, token: str | None) -> None:
        """Raises :class:`ConfigError` as :func:`check_binding`."""
        check_binding(host, token)
        self._local = is_loopback(host)
        self._token = token

    def check(self, request: web.Request) -> None:
        """Raise :class:`NotAllowed`: 403, or 401 where the token is missing."""
        if self._local and not is_loopback(_host_in(f"//{request.headers.get('Host', '')}")):
            # A page of a stranger whose name suddenly means this machine (DNS rebinding).
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
    """Connections: as many as the machine bears, and none that says nothing for long.

    A new one takes the place of the oldest that asks nothing now. Where all are being answered,
    it is the new one that goes.
    """

    def __init__(
        self, server: Any, *, most: int = MOST_CONNECTIONS, head_s: float = HEAD_S
    ) -> None:
        self._server = server
        self._most = most
        self._head_s = head_s
        self._silent: dict[Any, asyncio.TimerHandle] = {}
        self._resting: set[Any] = set()

    def __call__(self) -> Any:
        """The protocol of a new connection."""
        loop, protocol = asyncio.get_running_loop(), self._server()
        self._silent[protocol] = loop.call_later(self._head_s, self._close, protocol)
        loop.call_later(0, self._make_room)  # once it is connected
        return protocol

    def spoke(self, protocol: Any) -> None:
        """A request of it has come whole."""
        self._resting.discard(protocol)
        waited = self._silent.pop(protocol, None)
        if waited is not None:
            waited.cancel()

    def rests(self, protocol: Any) -> None:
        """What it asked is answered; aiohttp closes it when it asks nothing more for long."""
        self._resting.add(protocol)

    @property
    def watched(self) -> int:
        """How many connections are silent or at rest."""
        return len(self._silent) + len(self._resting)

    def _make_room(self) -> None:
        here = [one for one in self._server.connections if _is_open(one)]
        self._resting.intersection_update(here)
        surplus = len(here) - self._most
        if surplus > 0:
            idle = [one for one in here if one in self._silent or one in self._resting]
            for protocol in idle[:surplus]:
                self._close(protocol)

    def _close(self, protocol: Any) -> None:
        self.spoke(protocol)
        if _is_open(protocol):
            protocol.transport.abort()


def _is_open(protocol: Any) -> bool:
    return protocol.transport is not None and not protocol.transport.is_closing()


def make_app(
    service: Service, guard: Guard, spoke: Callable[[Any], None], rests: Callable[[Any], None]
) -> web.Application:
    """The application with every route, behind the guard.

    ``spoke`` hears who has asked, ``rests`` who is answered.
    """
    leaving = asyncio.Event()

    @web.middleware
    async def in_order(request: web.Request, handler: Handler) -> web.StreamResponse:
        spoke(request.protocol)
        try:
            guard.check(request)
            return await _told(request, handler)
        except NotAllowed as error:
            return _problem(error)
        finally:
            if _is_open(request.protocol):
                rests(request.protocol)

    app = web.Application(middlewares=[in_order])
    for route in ROUTES:
        path = route.path.replace(":path}", ":.+}")
        app.router.add_route(route.method, path, _handler(service, route, leaving))

    async def leave(_: web.Application) -> None:
        leaving.set()

    app.on_shutdown.append(leave)
    return app


async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer, where it is a failure too."""
    try:
        return await handler(request)
    except S3IntegrationError as error:
        return _problem(error)
    except web.HTTPException as error:
        said = S3IntegrationError(f"{error.reason}.", code="http", status=error.status)
        return _problem(said, {k: v for k, v in error.headers.items() if k == "Allow"})
    except ConnectionError:
        raise
    except Exception:
        log.exception("request failed")
        hidden = S3IntegrationError("An error of petal-s3 itself; see its log.")
        return _problem(hidden)


def _problem(error: S3IntegrationError, more: Any = None) -> web.Response:
    headers = {**dict(headers_of(error)), **(more or {})}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(as_json(error), status=error.status, headers=headers)


def _handler(service: Service, route: Route, leaving: asyncio.Event) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(
            path=request.match_info,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=_body(request),
            leaving=lambda: leaving.is_set() or request.transport is None,
        )
        reply = await route(service, call)
        return await _answer(request, reply, service.settings.request_timeout)

    return handle


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    async for block in request.content.iter_any():
        yield block


async def _answer(request: web.Request, reply: Reply, patience_s: float) -> web.StreamResponse:
    """Hand it over; who takes nothing for ``patience_s`` is let go, with what it holds."""
    content, headers = reply.content, {**reply.headers, "Content-Type": reply.content_type}
    if isinstance(content, bytes):
        return web.Response(body=content, status=reply.status, headers=headers)
    response = web.StreamResponse(status=reply.status, headers=headers)
    try:
        async with contextlib.aclosing(content) as blocks:  # type: ignore[type-var]
            await response.prepare(request)
            async for block in blocks:
                await asyncio.wait_for(response.write(block), patience_s)
            await response.write_eof()
    # The head is gone already: a body that ends early is how it is told.
    except ConnectionError:
        log.debug("listener is gone path=%s", ascii(request.path))
    except S3IntegrationError as error:
        _break_off(request, error.message)
    except asyncio.TimeoutError:
        _break_off(request, "nobody reads it")
    except Exception:
        log.exception("answer crashed")
        _break_off(request, "an error of petal-s3 itself")
    return response


def _break_off(request: web.Request, reason: str) -> None:
    log.warning("answer broken off path=%s reason=%s", ascii(request.path), reason)
    if request.transport is not None:
        request.transport.abort()


class Server:
    """The server on its socket; ``port`` is the real one where 0 was asked for."""

    def __init__(
        self,
        service: Service,
        *,
        host: str,
        port: int,
        token: str | None,
        most: int = MOST_CONNECTIONS,
        head_s: float = HEAD_S,
    ) -> None:
        """Raises :class:`ConfigError` for an address that others reach, without a token."""
        self.host = host
        self.port = port
        self._most = most
        self._head_s = head_s
        self._gate: Gate | None = None
        self._runner = web.AppRunner(
            make_app(service, Guard(host, token), self._spoke, self._rests),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_IDLE_S,
            shutdown_timeout=_STOP_S,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; raises :class:`ConfigError` where that cannot be."""
        await self._runner.setup()
        gate = self._gate = Gate(self._runner.server, most=self._most, head_s=self._head_s)
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                gate, self.host.strip("[]"), self.port, backlog=128
            )
        except OSError as error:
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror  # a name has its own
            raise ConfigError(
                f"{self.host}:{self.port} cannot be listened on ({why}): set"
                " PETAL_S3_API_HOST and PETAL_S3_API_PORT."
            ) from error
        self.port = self._listening.sockets[0].getsockname()[1]

    def _spoke(self, protocol: Any) -> None:
        if self._gate is not None:
            self._gate.spoke(protocol)

    def _rests(self, protocol: Any) -> None:
        if self._gate is not None:
            self._gate.rests(protocol)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._runner.server.connections) if self._runner.server is not None else 0

    @property
    def watched(self) -> int:
        """How many connections may be closed to make room for others."""
        return 0 if self._gate is None else self._gate.watched

    async def stop(self) -> None:
        """Let nobody in, end what runs on."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()


async def serve(service: Service, *, host: str, port: int, said: Callable[[str], None]) -> None:
    """Drain, watch and answer until SIGINT or SIGTERM; ``said`` hears the address."""
    server = Server(service, host=host, port=port, token=service.settings.api_token)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await server.start()
        await service.start()
        host = server.host.strip("[]")
        said(f"http://{f'[{host}]' if ':' in host else host}:{server.port}/")
        await ended.wait()
    finally:
        service.stopping = True
        await server.stop()
        await service.stop()
