"""The routes as an aiohttp application: each asks the guard, and errors become JSON answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping

from aiohttp import web

from petal_s3.errors import S3IntegrationError, as_json
from petal_s3.service.service import Service
from petal_s3.web import guard as guards
from petal_s3.web.connections import Bodies, Connection, is_open
from petal_s3.web.guard import Guard
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import FOR_NO_OTHER_SITE, Call, Reply, Route, headers_of

log = logging.getLogger("petal_s3")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    service: Service,
    guard: Guard,
    bodies: Bodies,
    spoke: Callable[[Connection], None],
    rests: Callable[[Connection], None],
) -> web.Application:
    """The application with every route; each asks ``guard`` before anything is done.

    ``spoke`` is called with a connection whose request has come, ``rests`` when it is answered.
    """
    leaving = asyncio.Event()

    @web.middleware
    async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
        spoke(request.protocol)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _no_route(request, guard, error)
        finally:
            if is_open(request.protocol):
                rests(request.protocol)

    app = web.Application(middlewares=[watched])
    for route in ROUTES:
        path = route.path.replace(":path}", ":.+}")
        app.router.add_route(route.method, path, _handler(service, route, guard, bodies, leaving))

    async def leave(_: web.Application) -> None:
        leaving.set()

    async def let_read(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(FOR_NO_OTHER_SITE)
        response.headers.update(_cors(guard.origins, request.headers.get("Origin", "")))

    app.on_shutdown.append(leave)
    app.on_response_prepare.append(let_read)
    return app


def _cors(origins: Collection[str], origin: str) -> Mapping[str, str]:
    """What lets a browser give an answer to a page of ``origin`` (Fetch, 3.3); none for others."""
    if origin.lower() not in origins:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Range",
        "Vary": "Origin",
    }


def _no_route(request: web.Request, guard: Guard, error: web.HTTPException) -> web.StreamResponse:
    """Answer where no operation is; a browser asks so whether a page may ask (CORS preflight)."""
    headers = guards.headers_of(request.headers.items())
    try:
        if request.method == "OPTIONS" and headers.get("origin", "").lower() in guard.origins:
            guard.check_page(headers, request.scheme)
            return web.Response(status=204)
        guard.check(request.method, headers, request.remote or "", request.scheme)
    except S3IntegrationError as refused:
        return _problem(refused)
    said = S3IntegrationError(f"{error.reason}.", code="http", status=error.status)
    return _problem(said, {k: v for k, v in error.headers.items() if k == "Allow"})


def _problem(error: S3IntegrationError, more: Mapping[str, str] | None = None) -> web.Response:
    headers = {**dict(headers_of(error)), **(more or {})}
    return web.json_response(as_json(error), status=error.status, headers=headers)


def _handler(
    service: Service, route: Route, guard: Guard, bodies: Bodies, leaving: asyncio.Event
) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        with contextlib.ExitStack() as counted:

            def active() -> Service:  # once the guard has let the request pass
                if request.can_read_body:
                    counted.enter_context(bodies.one(form=route.form is not None))
                return service

            replying = route(active, _call(request, leaving), guard)
            return await _answer(request, replying, service.settings.request_timeout)

    return handle


async def _answer(
    request: web.Request, replying: Coroutine[object, object, Reply], patience_s: float
) -> web.StreamResponse:
    stream: web.StreamResponse | None = None
    try:
        reply = await replying
        content, headers = reply.content, {**reply.headers, "Content-Type": reply.content_type}
        if isinstance(content, bytes):
            return web.Response(body=content, status=reply.status, headers=headers)
        stream = web.StreamResponse(status=reply.status, headers=headers)
        await _send(request, stream, content, patience_s)
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


def _call(request: web.Request, leaving: asyncio.Event) -> Call:
    return Call(
        path=request.match_info,
        query=dict(request.query),
        headers=guards.headers_of(request.headers.items()),
        body=_body(request),
        peer=request.remote or "",
        scheme=request.scheme,
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
