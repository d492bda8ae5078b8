"""The petal: mount the service into petal-app-manager and swap its bucket proxy for ours."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from fastapi import HTTPException
from fastapi.responses import JSONResponse, Response
from petal_app_manager.organization_manager import get_organization_manager
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action
from pydantic import BaseModel, ConfigDict

from . import __version__, clock, config, routes
from .bucket import Answer, S3BucketProxy
from .errors import ConfigError, S3IntegrationError, as_json
from .flight import FlightState, Heartbeat
from .metrics import CONTENT_TYPE
from .service import Service

log = logging.getLogger("petal_s3")

REGISTRY_KEYS = ("bucket", "s3_bucket")


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


class EnqueueRequest(BaseModel):
    """Body of POST /outbox."""

    model_config = ConfigDict(extra="forbid")

    path: str
    key: str | None = None
    priority: int | None = None
    session_id: str | None = None


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
        settings = config.load()
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

    @http_action("GET", "/status", summary="Are my logs up, and if not, why?")
    async def rest_status(self) -> Any:
        """How things are, in one JSON."""
        return await self._rest(routes.get_status)

    @http_action("GET", "/health", summary="Health of petal-s3")
    async def rest_health(self) -> Any:
        """Cheap; asks nobody outside."""
        return await self._rest(routes.get_health)

    @http_action("GET", "/metrics", summary="Figures for Prometheus")
    async def rest_metrics(self) -> Any:
        """Text, not JSON."""

        async def text(service: Service) -> Response:
            return Response(await routes.get_metrics(service), media_type=CONTENT_TYPE)

        return await self._rest(text)

    @http_action("POST", "/landed", summary="A flight has ended: scan now")
    async def rest_landed(self) -> Any:
        """Scan the log directories and take what has settled."""
        return await self._rest(routes.post_landed)

    @http_action("GET", "/outbox", summary="Rows of the outbox, the latest first")
    async def rest_outbox(
        self, state: str | None = None, limit: int = 100, token: str | None = None
    ) -> Any:
        """A page of rows."""
        return await self._rest(lambda service: routes.get_outbox(service, state, limit, token))

    @http_action("POST", "/outbox", summary="Enqueue a file inside the log directories")
    async def rest_enqueue(self, body: EnqueueRequest) -> Any:
        """The same file twice gives the same row."""
        return await self._rest(
            lambda service: routes.post_outbox(service, body.path, body.key, body.priority)
        )

    @http_action("GET", "/outbox/{row_id}", summary="One row of the outbox")
    async def rest_row(self, row_id: int) -> Any:
        """One row."""
        return await self._rest(lambda service: routes.get_row(service, row_id))

    @http_action("POST", "/outbox/{row_id}/retry", summary="Try a row now")
    async def rest_retry(self, row_id: int) -> Any:
        """Also brings back a dead or cancelled row."""
        return await self._rest(lambda service: routes.post_retry(service, row_id))

    @http_action("DELETE", "/outbox/{row_id}", summary="Give a row up")
    async def rest_cancel(self, row_id: int) -> Any:
        """What was sent of it is aborted."""
        return await self._rest(lambda service: routes.delete_row(service, row_id))

    def _active(self) -> Service:
        if self._service is None:
            raise self._wrong or ConfigError("petal-s3 is not active; see the host's log.")
        return self._service

    async def _rest(self, work: Callable[[Service], Awaitable[Any]]) -> Any:
        try:
            return await work(self._active())
        except S3IntegrationError as error:
            return JSONResponse(as_json(error), status_code=error.status)
        except Exception:
            log.exception("request failed")
            hidden = ConfigError(
                "An error of petal-s3 itself; see the host's log.", code="internal"
            )
            return JSONResponse(as_json(hidden), status_code=500)


def _host_machine_id() -> str | None:
    try:
        found = get_organization_manager().machine_id
    except Exception:
        log.exception("the host does not know its machine id")
        return None
    return str(found) if found else None
