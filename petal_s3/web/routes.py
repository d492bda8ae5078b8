"""The REST operations once; ``plugin`` and ``server`` only mount them.

An operation is a function of the service, of what was asked (checked by its model) and of the
call itself; it answers a :class:`Reply` or raises one of our errors.
"""

from __future__ import annotations

from petal_s3 import __version__
from petal_s3.service import vehicle
from petal_s3.service.service import Service
from petal_s3.service.views.history import HistoryView
from petal_s3.service.views.status import (
    HealthView,
    InfoView,
    LandedView,
    StatusView,
    health_view,
    info_view,
)
from petal_s3.web import events
from petal_s3.web import requests as asks
from petal_s3.web.bucket_routes import BUCKET_ROUTES
from petal_s3.web.card_routes import CARD_ROUTES
from petal_s3.web.login_routes import LOGIN_ROUTES
from petal_s3.web.page import PAGE_ROUTES
from petal_s3.web.responses import FlightView
from petal_s3.web.routing import Call, Reply, Route, joined
from petal_s3.web.row_routes import ROW_ROUTES

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# -- how things are


async def get_status(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Are my logs up, and if not, why?"""
    return Reply(await service.status())


async def get_health(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Cheap; nothing outside this machine is asked."""
    return Reply(health_view(service.settings, service.machine_id, await service.status()))


async def get_metrics(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """The text that Prometheus reads."""
    return Reply((await service.overview.metrics()).encode(), content_type=_METRICS_TYPE)


async def get_info(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Configuration and state, no secrets."""
    status = await service.status()
    return Reply(info_view(service.settings, service.machine_id, __version__, status))


async def get_events(service: Service, _: asks.Nothing, call: Call) -> Reply:
    """Server-sent events: ``progress`` with a row, ``status``."""
    stream = events.listen(service, call.leaving)
    begun = await anext(stream, b"")  # counted from here on, until it ends
    return Reply(
        joined(begun, stream),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        content_type="text/event-stream",
    )


async def get_history(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Rate and backlog of the last day: a sample a minute at most, only where it changed."""
    return Reply(await service.overview.history())


# -- flights


async def post_landed(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """A flight has ended: scan now."""
    return Reply(await service.landed())


async def post_flight(service: Service, ask: asks.FlightBody, _: Call) -> Reply:
    """Say whether the vehicle is armed, where no autopilot is heard."""
    return Reply(FlightView(flight_state=await vehicle.declare(service, armed=ask.armed)))


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/status",
        "status",
        "Are my logs up, and if not, why?",
        get_status,
        answer=StatusView,
    ),
    Route("GET", "/health", "health", "Health of petal-s3", get_health, answer=HealthView),
    Route("GET", "/metrics", "metrics", "Figures for Prometheus", get_metrics),
    Route(
        "GET",
        "/events",
        "events",
        "What changes, as it changes",
        get_events,
        answer="text/event-stream",
    ),
    Route(
        "GET",
        "/history",
        "history",
        "Rate and backlog of the last day",
        get_history,
        answer=HistoryView,
    ),
    Route(
        "POST",
        "/landed",
        "landed",
        "A flight has ended: scan now",
        post_landed,
        answer=LandedView,
    ),
    Route(
        "POST",
        "/flight",
        "flight",
        "Say whether the vehicle is armed",
        post_flight,
        ask=asks.FlightBody,
        answer=FlightView,
        errors=(400, 408, 409, 413, 503, 507),
    ),
    *PAGE_ROUTES,
    *LOGIN_ROUTES,
    *ROW_ROUTES,
    *CARD_ROUTES,
    Route("GET", "/bucket/info", "info", "Configuration and state", get_info, answer=InfoView),
    *BUCKET_ROUTES,
)
