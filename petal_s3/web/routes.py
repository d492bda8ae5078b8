"""The REST operations once; ``plugin`` and ``server`` only mount them.

An operation is a function of the service, of what was asked (checked by its model) and of the
call itself; it answers a :class:`Reply` or raises one of our errors.
"""

from __future__ import annotations

from pathlib import Path

from petal_s3 import __version__
from petal_s3.core.kinds import ALL_KINDS, SUFFIXES, TEXT_KINDS
from petal_s3.intake.entry import PRIORITY_ASKED
from petal_s3.logs.sniff import log_suffix
from petal_s3.objects.key_names import valid_session_id
from petal_s3.service import sessions, vehicle
from petal_s3.service.metrics import CONTENT_TYPE
from petal_s3.service.service import Service
from petal_s3.service.views.rows import RowView
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
from petal_s3.web.page import POLICY, page
from petal_s3.web.responses import FlightView, RowsView
from petal_s3.web.routing import Call, Reply, Route, joined

_PAGE_ROWS = 100
_NO_TEXTS = {suffix for kind in ALL_KINDS - TEXT_KINDS for suffix in SUFFIXES[kind]}


# -- how things are


async def get_status(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Are my logs up, and if not, why?"""
    return Reply(await service.status())


async def get_health(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """Cheap; nothing outside this machine is asked."""
    return Reply(health_view(service.settings, service.machine_id, await service.status()))


async def get_metrics(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """The text that Prometheus reads."""
    return Reply((await service.overview.metrics()).encode(), content_type=CONTENT_TYPE)


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


async def get_page(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """The status page, for people."""
    rows = await service.rows(limit=_PAGE_ROWS)
    text = page(service.machine_id, service.settings.bucket_name, await service.status(), rows)
    return Reply(
        text.encode("utf-8", "replace"),
        headers={
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        content_type="text/html; charset=utf-8",
    )


# -- flights and rows


async def post_landed(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """A flight has ended: scan now."""
    return Reply(await service.landed())


async def post_flight(service: Service, ask: asks.FlightBody, _: Call) -> Reply:
    """Say whether the vehicle is armed, where no autopilot is heard."""
    return Reply(FlightView(flight_state=await vehicle.declare(service, armed=ask.armed)))


async def get_outbox(service: Service, ask: asks.RowsAsk, _: Call) -> Reply:
    """Rows, the latest first, and the token of the next page."""
    token = int(ask.token) if ask.token else None
    rows = await service.rows(state=ask.state, limit=ask.limit + 1, token=token)
    shown = rows[: ask.limit]
    following = str(shown[-1].id) if len(rows) > ask.limit else None
    return Reply(RowsView(rows=shown, next_token=following))


async def get_row(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """One row."""
    return Reply(await service.row(ask.row_id))


async def post_outbox(service: Service, ask: asks.EnqueueBody, _: Call) -> Reply:
    """Enqueue a file that lies inside the log directories; the same file gives the same row.

    A text log with a session belongs to its logs.
    """
    priority = PRIORITY_ASKED if ask.priority is None else ask.priority
    named = log_suffix(Path(ask.path).name)
    if ask.session_id is not None and not ask.key and named not in _NO_TEXTS:
        row = await sessions.enter_log(
            service, ask.path, ask.session_id, inside_only=True, priority=priority
        )
    else:
        if ask.session_id is not None:
            valid_session_id(ask.session_id)
        row = await service.enqueue(
            ask.path, key=ask.key, session_id=ask.session_id, inside_only=True, priority=priority
        )
    return Reply(await service.row(row.id))


async def post_retry(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Try it now; the file of a dead or cancelled row is examined again, as if new."""
    row = await service.retry(ask.row_id)
    return Reply(await service.row(row.id))


async def delete_row(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Give it up; what was sent of it is aborted."""
    row = await service.cancel(ask.row_id)
    return Reply(await service.row(row.id))


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
    Route("GET", "/", "page", "The status page", get_page, answer="text/html"),
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
    Route(
        "GET",
        "/outbox",
        "rows",
        "Rows of the outbox, the latest first",
        get_outbox,
        ask=asks.RowsAsk,
        answer=RowsView,
        errors=(400, 503, 507),
    ),
    Route(
        "POST",
        "/outbox",
        "enqueue",
        "Enqueue a file inside the log directories",
        post_outbox,
        ask=asks.EnqueueBody,
        answer=RowView,
        errors=(400, 403, 404, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/outbox/{row_id}",
        "row",
        "One row of the outbox",
        get_row,
        ask=asks.RowAsk,
        answer=RowView,
        errors=(400, 404, 503, 507),
    ),
    Route(
        "POST",
        "/outbox/{row_id}/retry",
        "retry",
        "Try a row now",
        post_retry,
        ask=asks.RowAsk,
        answer=RowView,
        errors=(400, 403, 404, 409, 413, 422, 503, 507),
    ),
    Route(
        "DELETE",
        "/outbox/{row_id}",
        "cancel",
        "Give a row up",
        delete_row,
        ask=asks.RowAsk,
        answer=RowView,
        errors=(400, 404, 503, 507),
    ),
    Route("GET", "/bucket/info", "info", "Configuration and state", get_info, answer=InfoView),
    *BUCKET_ROUTES,
)
