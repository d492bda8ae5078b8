"""The stand-alone server: the same routes over aiohttp, for robots without the host."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiohttp import web

from petal_s3.errors import ConfigError, NotAllowed, S3IntegrationError, as_json
from petal_s3.service.service import Service
from petal_s3.web.guard import HEAD_S, MOST_CONNECTIONS, Connection, Gate, Guard, is_open
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import Call, Route, headers_of

log = logging.getLogger("petal_s3")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_IDLE_S = 60.0
_STOP_S = 2.0  # aiohttp takes it twice
_LONGEST_LINE = 16 * 1024


def make_app(
    service: Service,
    guard: Guard,
    spoke: Callable[[Connection], None],
    rests: Callable[[Connection], None],
) -> web.Application:
    """The application with every route, behind the guard.

    ``spoke`` is called with a connection whose request has come, ``rests`` when it is answered.
    """
    leaving = asyncio.Event()

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        spoke(request.protocol)
        try:
            guard.check(request)
            return await handler(request)
        except NotAllowed as error:
            return _problem(error)
        except web.HTTPException as error:
            said = S3IntegrationError(f"{error.reason}.", code="http", status=error.status)
            return _problem(said, {k: v for k, v in error.headers.items() if k == "Allow"})
        finally:
            if is_open(request.protocol):
                rests(request.protocol)

    app = web.Application(middlewares=[guarded])
    for route in ROUTES:
        path = route.path.replace(":path}", ":.+}")
        app.router.add_route(route.method, path, _handler(service, route, leaving))

    async def leave(_: web.Application) -> None:
        leaving.set()

    app.on_shutdown.append(leave)
    return app


def _problem(error: S3IntegrationError, more: Mapping[str, str] | None = None) -> web.Response:
    headers = {**dict(headers_of(error)), **(more or {})}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(as_json(error), status=error.status, headers=headers)


def _handler(service: Service, route: Route, leaving: asyncio.Event) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        stream: web.StreamResponse | None = None
        try:
            reply = await route(service, _call(request, leaving))
            content, headers = reply.content, {**reply.headers, "Content-Type": reply.content_type}
            if isinstance(content, bytes):
                return web.Response(body=content, status=reply.status, headers=headers)
            stream = web.StreamResponse(status=reply.status, headers=headers)
            await _send(request, stream, content, service.settings.request_timeout)
        except S3IntegrationError as error:
            return _problem(error)
        except ConnectionError:
            raise
        # The boundary of REST: a bug is logged, its words are never sent.
        except Exception:
            log.exception("request failed")
            if stream is None:
                return _problem(S3IntegrationError("An error of petal-s3 itself; see its log."))
            _break_off(request, "an error of petal-s3 itself")
        return stream

    return handle


def _call(request: web.Request, leaving: asyncio.Event) -> Call:
    return Call(
        path=request.match_info,
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=_body(request),
        leaving=lambda: leaving.is_set() or request.transport is None,
    )


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    async for block in request.content.iter_any():
        yield block


async def _send(
    request: web.Request,
    stream: web.StreamResponse,
    content: AsyncIterator[bytes],
    patience_s: float,
) -> None:
    """Send a stream; a client that takes nothing for ``patience_s`` is disconnected."""
    try:
        async with contextlib.aclosing(content) as blocks:  # type: ignore[type-var]
            await stream.prepare(request)
            async for block in blocks:
                await asyncio.wait_for(stream.write(block), patience_s)
            await stream.write_eof()
    # The headers are sent already: a failure ends the body early.
    except ConnectionError:
        log.debug("client is gone path=%s", ascii(request.path))
    except S3IntegrationError as error:
        _break_off(request, error.message)
    except asyncio.TimeoutError:
        _break_off(request, "the client reads nothing")


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
        assert self._runner.server is not None
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

    def _spoke(self, protocol: Connection) -> None:
        if self._gate is not None:
            self._gate.spoke(protocol)

    def _rests(self, protocol: Connection) -> None:
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
        """Take no new connection, end what runs on."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()


async def serve(service: Service, *, host: str, port: int, said: Callable[[str], None]) -> None:
    """Drain, watch and answer until SIGINT or SIGTERM; ``said`` is called with the address."""
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
