"""The petal: mount the service into petal-app-manager and swap its bucket proxy for ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from petal_app_manager.organization_manager import get_organization_manager
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from petal_s3 import __version__
from petal_s3.core import clock
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import ConfigError, S3IntegrationError, as_json
from petal_s3.intake.flight_state import FlightState, Heartbeat

_unfit: S3IntegrationError | None = None
"""Why the rest of petal-s3 cannot be loaded: packages that do not fit together."""
try:
    from petal_s3.host.proxy import Answer, S3BucketProxy
    from petal_s3.service.service import Service
    from petal_s3.upload.attempt import ended
    from petal_s3.web.openapi import asked_of, responses_of
    from petal_s3.web.routes import ROUTES
    from petal_s3.web.routing import Call, Route, headers_of
except S3IntegrationError as error:
    _unfit, ROUTES = error, ()

log = logging.getLogger("petal_s3")

REGISTRY_KEYS = ("bucket", "s3_bucket")
_LOOK_S = 0.5
_GRACE_S = 3.0  # for answers that are under way when the host leaves


class BucketCallFailed(HTTPException):
    """How the registered proxy fails: the known sibling ignores error dicts and reports success,
    so it must raise; the host's own API turns this into the status it carries."""

    def __init__(self, error: S3IntegrationError) -> None:
        super().__init__(status_code=error.status, detail=as_json(error))
        self.code = error.code
        self.waiting_helps = error.waiting_helps


def fail_truthfully(error: S3IntegrationError) -> Answer:
    """Raise what the host and its petals understand."""
    raise BucketCallFailed(error) from error


class PetalS3(Petal):  # type: ignore[misc]
    """What the host loads. It never raises into the host, and has no property that could."""

    name = "petal-s3"
    version = __version__

    def __init__(self) -> None:
        super().__init__()
        self._service: Service | None = None
        self._proxy: S3BucketProxy | None = None
        self._replaced: dict[str, Any] = {}
        self._wrong: ConfigError | S3IntegrationError | None = None

    # -- life

    def startup(self) -> None:
        """Check the settings; only when they are sound, swap the proxies.

        A state directory that cannot be used now is no reason to step back: the host's own proxy
        would report as sent what is lost. Ours says why not, until the disk has room again.
        """
        try:
            self._build()
        except S3IntegrationError as error:
            self._wrong = error
            log.error("petal-s3 is not active: %s", error.message)  # noqa: TRY400 - it says it all
        except Exception:
            log.exception("petal-s3 is not active")

    def _build(self) -> None:
        if _unfit is not None:
            raise _unfit
        settings = load_settings()
        listens = "ext_mavlink" in self._proxies and not settings.upload_while_flying
        flight = FlightState(listening_since=clock.now() if listens else None)
        service = Service(settings, host_machine_id=_host_machine_id(), flight=flight)
        self._service = service
        self._proxy = S3BucketProxy(service=service, fail=fail_truthfully)
        proxies = cast(MutableMapping[str, Any], self._proxies)
        for key in REGISTRY_KEYS:
            if key in proxies:
                self._replaced[key] = proxies[key]
            proxies[key] = self._proxy

    async def async_startup(self) -> None:
        """Start draining; stop the proxy that was replaced, which nobody else does."""
        service, proxy = self._service, self._proxy
        if service is None or proxy is None:
            return
        try:
            await service.start()
            await proxy.start()
        except Exception as error:
            log.exception("petal-s3 could not start; the host keeps its own bucket proxy")
            if isinstance(error, S3IntegrationError):
                self._wrong = error
            await self._step_back()
            return
        self._listen("register_handler")
        for old in {id(one): one for one in self._replaced.values()}.values():
            try:
                await old.stop()
            except Exception:
                log.exception("the replaced bucket proxy did not stop")
        log.info("petal-s3 started machine=%s bucket=%s", service.machine_id, proxy.bucket_name)

    async def _step_back(self) -> None:
        proxies = cast(MutableMapping[str, Any], self._proxies)
        for key in REGISTRY_KEYS:
            if key in self._replaced:
                proxies[key] = self._replaced[key]
            else:
                proxies.pop(key, None)
        service, self._service, self._proxy = self._service, None, None
        if service is not None:
            await service.stop()

    async def async_shutdown(self) -> None:
        """The host is going: what is not proven stays in the outbox. The proxy serves on until
        the host stops it."""
        if self._service is not None:
            self._service.stopping = True
            self._listen("unregister_handler")

    def shutdown(self) -> None:
        """Nothing is left to do: ``stop`` of the proxy closes everything."""

    # -- the autopilot

    def _listen(self, verb: str) -> None:
        mavlink = self._proxies.get("ext_mavlink")
        if mavlink is None:
            return
        try:
            getattr(mavlink, verb)("HEARTBEAT", self._on_heartbeat)
            getattr(mavlink, verb)("EXTENDED_SYS_STATE", self._on_landed_state)
            getattr(mavlink, verb)("LEAF_STATUS", self._on_leaf_status)
        except Exception:
            log.exception("mavlink %s failed; landings are found by scanning", verb)

    async def _on_heartbeat(self, message: Any) -> None:
        # The host swallows what a handler raises, without a word.
        try:
            beat = Heartbeat(
                system=message.get_srcSystem(),
                component=message.get_srcComponent(),
                autopilot=message.autopilot,
                type=message.type,
                base_mode=message.base_mode,
            )
            if self._service is not None:
                self._service.heartbeat(beat)
        except Exception:
            log.exception("heartbeat not understood")

    async def _on_landed_state(self, message: Any) -> None:
        try:
            if self._service is not None:
                self._service.flight.landed_state(int(message.landed_state))
        except Exception:
            log.exception("EXTENDED_SYS_STATE not understood")

    async def _on_leaf_status(self, message: Any) -> None:
        try:
            if self._service is not None:
                self._service.flight.leaf_status(int(message.status))
        except Exception:
            log.exception("LEAF_STATUS not understood")

    # -- REST

    def _active(self) -> Service:
        if self._service is None:
            raise self._wrong or ConfigError("petal-s3 is not active; see the host's log.")
        return self._service

    async def _serve(self, route: Route, request: Request) -> Response:
        call = Call(
            path=request.path_params,
            query=dict(request.query_params),
            headers=dict(request.headers),
            body=request.stream(),
            leaving=_host_is_leaving,
        )
        try:
            reply = await route(self._active(), call)
        except S3IntegrationError as error:
            headers = dict(headers_of(error))
            return JSONResponse(as_json(error), status_code=error.status, headers=headers)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody hears it
        except Exception:
            log.exception("request failed")
            hidden = S3IntegrationError("An error of petal-s3 itself; see the host's log.")
            return JSONResponse(as_json(hidden), status_code=hidden.status)
        content, headers = reply.content, {**reply.headers, "content-type": reply.content_type}
        if isinstance(content, bytes):
            return Response(content, status_code=reply.status, headers=headers)
        patience_s = self._active().settings.request_timeout
        return _Stream(content, patience_s, status_code=reply.status, headers=headers)


class _Stream(StreamingResponse):
    """A stream that is closed however it ends. Who takes nothing of it for long is let go, and so
    is everybody when the host leaves: it would wait for the last of them, for ever."""

    def __init__(self, content: Any, patience_s: float, **more: Any) -> None:
        super().__init__(content, **more)
        self._patience_s = patience_s
        self._broken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand it over, until the host leaves."""
        handing_over = asyncio.create_task(super().__call__(scope, receive, send))
        try:
            while not handing_over.done():
                await asyncio.wait({handing_over}, timeout=_LOOK_S)
                if _host_is_leaving():
                    await asyncio.wait({handing_over}, timeout=_GRACE_S)
                    break
            if not handing_over.done():
                self._broken_off("the host leaves")
                _abort(receive)
        finally:
            await ended(handing_over)
        if self._broken:
            _abort(receive)
        elif not handing_over.cancelled():
            handing_over.result()

    async def stream_response(self, send: Send) -> None:
        """Hand it over; a body that ends early is how a failure is told."""

        async def patient(message: Message) -> None:
            await asyncio.wait_for(send(message), self._patience_s)

        try:
            async with contextlib.aclosing(self.body_iterator):  # type: ignore[type-var]
                await super().stream_response(patient)
        except S3IntegrationError as error:
            self._broken_off(error.message)
        except asyncio.TimeoutError:
            self._broken_off("nobody reads it")

    def _broken_off(self, reason: str) -> None:
        self._broken = True
        log.warning("answer broken off reason=%s", reason)


def _abort(receive: Receive) -> None:
    """Break the connection off: uvicorn would wait until what it holds is taken."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


def _endpoint(route: Route) -> Callable[..., Awaitable[Response]]:
    """A method of the petal that the host mounts; what is asked is checked by the route itself."""

    async def endpoint(self: PetalS3, request: Request) -> Response:
        return await self._serve(route, request)

    endpoint.__name__ = f"rest_{route.name}"
    endpoint.__doc__ = route.run.__doc__
    return cast(
        "Callable[..., Awaitable[Response]]",
        http_action(
            route.method,
            route.path,
            summary=route.summary,
            status_code=route.status,
            response_class=JSONResponse if isinstance(route.answer, type) else Response,
            responses=responses_of(route),
            openapi_extra=asked_of(route),
        )(endpoint),
    )


for _route in ROUTES:
    setattr(PetalS3, f"rest_{_route.name}", _endpoint(_route))


def _why_not(method: str, reason: S3IntegrationError) -> Callable[..., Awaitable[Response]]:
    """A method of the petal that answers every request with why nothing else is here."""

    async def endpoint(self: PetalS3, request: Request) -> Response:  # noqa: ARG001 - as mounted
        return JSONResponse(as_json(reason), status_code=reason.status)

    endpoint.__name__ = f"inactive_{method.lower()}"
    marked = http_action(method, "/{path:path}", summary="Why petal-s3 is not active")
    return cast("Callable[..., Awaitable[Response]]", marked(endpoint))


if _unfit is not None:
    for _method in ("GET", "POST", "DELETE"):
        setattr(PetalS3, f"rest_{_method}", _why_not(_method, _unfit))


def _host_is_leaving() -> bool:
    """Whether uvicorn has been told to stop: it waits for every answer, and some never end.

    It hears its signals by a method of its server, which is the one place that knows.
    """
    handler = signal.getsignal(signal.SIGTERM)
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))


def _host_machine_id() -> str | None:
    try:
        found = get_organization_manager().machine_id
    except Exception:
        log.exception("the host does not know its machine id")
        return None
    return str(found) if found else None
