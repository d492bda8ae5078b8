"""The petal: mount the service into petal-app-manager and swap its bucket proxy for ours."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Protocol, cast

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response
from petal_app_manager.organization_manager import get_organization_manager
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action, mqtt_action

from petal_s3 import __version__
from petal_s3.core import clock
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import (
    NO_OBJECT,
    ConfigError,
    S3FileNotFoundError,
    S3IntegrationError,
    as_json,
)
from petal_s3.host.guarded import guarded
from petal_s3.intake.flight_state import FlightState
from petal_s3.web.guard import Guard, headers_of

_unfit: S3IntegrationError | None = None
"""Why the rest of petal-s3 cannot be loaded: packages that do not fit together."""
try:
    from petal_s3.host import rest
    from petal_s3.host.autopilot import Autopilot
    from petal_s3.host.mqtt import Mqtt, mount
    from petal_s3.host.proxy import S3BucketProxy
    from petal_s3.service import no_login
    from petal_s3.service.service import Service
    from petal_s3.web.openapi import Asked, responses_of
    from petal_s3.web.routes import ROUTES
    from petal_s3.web.routing import Route
except S3IntegrationError as error:
    _unfit, ROUTES = error, ()

log = logging.getLogger("petal_s3")

REGISTRY_KEYS = ("bucket", "s3_bucket")


class _HostProxy(Protocol):
    async def stop(self) -> object: ...


class BucketCallFailed(HTTPException):
    """How the registered proxy fails: the known sibling ignores error dicts and reports success,
    so it must raise; the host's own API turns this into the status it carries."""

    def __init__(self, error: S3IntegrationError) -> None:
        super().__init__(status_code=error.status, detail=as_json(error))
        self.code = error.code
        self.waiting_helps = error.waiting_helps


def fail_truthfully(error: S3IntegrationError) -> dict[str, object]:
    """Raise what the host and its petals understand.

    A missing object alone is a dict: the host answers 404 to these very words.
    """
    if isinstance(error, S3FileNotFoundError) and error.message == NO_OBJECT:
        return {"error": NO_OBJECT}
    raise BucketCallFailed(error) from error


class PetalS3(Petal):  # type: ignore[misc]
    """What the host loads. It never raises into the host, and has no property that could."""

    name = "petal-s3"
    version = __version__

    def __init__(self) -> None:
        super().__init__()
        self._service: Service | None = None
        self._proxy: S3BucketProxy | None = None
        self._replaced: dict[str, _HostProxy] = {}
        self._autopilot: Autopilot | None = None
        self.mqtt: Mqtt | None = None
        self._mqtt_handler: str | None = None
        self._inactive_because: S3IntegrationError | None = None
        self._guard = Guard()

    # -- starting and stopping

    def startup(self) -> None:
        """Check the settings, and register our proxy only when they are sound.

        It is registered also where the state directory cannot be used now: the host's own proxy
        would report lost logs as sent. Ours answers with the reason until the disk has space again.
        """
        with guarded("petal-s3 is not active"):
            try:
                self._build()
            except S3IntegrationError as error:
                self._inactive_because = error
                log.error("petal-s3 is not active: %s", error.message)  # noqa: TRY400 - no trace

    def _build(self) -> None:
        if _unfit is not None:
            raise _unfit
        settings = load_settings()
        self._guard = Guard(settings, token=settings.api_token)
        listens = "ext_mavlink" in self._proxies and not settings.upload_while_flying
        flight = FlightState(listening_since=clock.now() if listens else None)
        service = Service(settings, host_machine_id=_host_machine_id(), flight=flight)
        service.reporter.advice = no_login.advice(settings)
        for sentence in service.reporter.advice:
            log.warning("%s", sentence)
        self._service = service
        self._proxy = S3BucketProxy(service=service, fail=fail_truthfully)
        proxies = self._registry()
        for key in REGISTRY_KEYS:
            if key in proxies:
                self._replaced[key] = proxies[key]
            proxies[key] = self._proxy

    async def async_startup(self) -> None:
        """Start the drain, and stop the proxy that was replaced: the host does not."""
        service, proxy = self._service, self._proxy
        if service is None or proxy is None:
            return
        with guarded("petal-s3 could not start; the host keeps its own bucket proxy") as start:
            await service.start()
            await proxy.start()
        if start.error is not None:
            if isinstance(start.error, S3IntegrationError):
                self._inactive_because = start.error
            await self._step_back()
            return
        if "ext_mavlink" in self._proxies:
            self._autopilot = Autopilot(service, self._proxies["ext_mavlink"])
            self._autopilot.listen()
        if "mqtt" in self._proxies and service.settings.mqtt != "off":
            self.mqtt = Mqtt(self._active, self._proxies["mqtt"])
            self.mqtt.begin(self._setup_mqtt_actions)
        for old in {id(one): one for one in self._replaced.values()}.values():
            with guarded("the replaced bucket proxy did not stop"):
                await old.stop()
        log.info("petal-s3 started machine=%s bucket=%s", service.machine_id, proxy.bucket_name)

    def _registry(self) -> MutableMapping[str, _HostProxy]:
        return cast("MutableMapping[str, _HostProxy]", self._proxies)

    async def _step_back(self) -> None:
        proxies = self._registry()
        for key in REGISTRY_KEYS:
            if key in self._replaced:
                proxies[key] = self._replaced[key]
            else:
                proxies.pop(key, None)
        service, self._service, self._proxy = self._service, None, None
        if service is not None:
            await service.stop()

    async def async_shutdown(self) -> None:
        """Prepare to stop; the proxy goes on answering until the host stops it."""
        if self._service is not None:
            self._service.stopping = True
        if self._autopilot is not None:
            await self._autopilot.stop()
        if self.mqtt is not None:
            await self.mqtt.stop()

    def shutdown(self) -> None:
        """Do nothing: ``stop`` of the proxy closes everything."""

    # -- MQTT

    async def _setup_mqtt_actions(self) -> str | None:
        """Register our commands once, whether the host asks for it or we do."""
        if self._mqtt_handler is None and self.mqtt is not None:
            self._mqtt_handler = await super()._setup_mqtt_actions()
        return self._mqtt_handler

    # -- REST

    def _active(self) -> Service:
        if self._service is None:
            raise self._inactive_because or ConfigError(
                "petal-s3 is not active; see the host's log."
            )
        return self._service


def _endpoint(route: Route) -> Callable[..., Awaitable[Response]]:
    """A method of the petal that the host mounts; what is asked is checked by the route itself."""

    async def endpoint(self: PetalS3, request: Request) -> Response:
        return await rest.answer(route, request, self._active, self._guard)

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
            openapi_extra=Asked(route),
        )(endpoint),
    )


async def _to_page(self: PetalS3, request: Request) -> Response:
    """The page's own links are relative: it has to be asked with a slash at its end."""
    try:
        headers = headers_of(request.headers.items())
        self._guard.check_page(headers, request.url.scheme, link=True)
    except S3IntegrationError as error:
        return JSONResponse(as_json(error), status_code=error.status)
    # Relative, so that it holds behind a proxy that has another prefix (RFC 9110, 10.2.2).
    there = f"{request.url.path.rpartition('/')[2]}/"
    return Response(status_code=307, headers={"Location": there})


_to_page.__name__ = "rest_to_page"
if ROUTES:
    _marked = http_action("GET", "", include_in_schema=False)(_to_page)
    setattr(PetalS3, "rest_to_page", _marked)  # noqa: B010 - as those below

for _route in ROUTES:
    setattr(PetalS3, f"rest_{_route.name}", _endpoint(_route))


if _unfit is None:
    mount(PetalS3, mqtt_action)


def _why_not(method: str, reason: S3IntegrationError) -> Callable[..., Awaitable[Response]]:
    """A method of the petal that answers every request with why nothing else is here."""

    async def endpoint(self: PetalS3, request: Request) -> Response:
        said = reason
        try:
            self._guard.check_page(headers_of(request.headers.items()), request.url.scheme)
        except S3IntegrationError as error:
            said = error
        return JSONResponse(as_json(said), status_code=said.status)

    endpoint.__name__ = f"inactive_{method.lower()}"
    marked = http_action(method, "/{path:path}", summary="Why petal-s3 is not active")
    return cast("Callable[..., Awaitable[Response]]", marked(endpoint))


if _unfit is not None:
    for _method in ("GET", "POST", "DELETE"):
        setattr(PetalS3, f"rest_{_method}", _why_not(_method, _unfit))


def _host_machine_id() -> str | None:
    with guarded("the host does not know its machine id"):
        found = get_organization_manager().machine_id
        return str(found) if found else None
    return None
