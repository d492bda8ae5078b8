"""The commands over MQTT, each as a function of the service and of what was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from petal_s3.host import mqtt_requests as asks
from petal_s3.service import card_verbs
from petal_s3.service.service import Service
from petal_s3.service.views.card import CardFileView, CardView
from petal_s3.service.views.objects import PresignView
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import LandedView, StatusView
from petal_s3.web.requests import Nothing
from petal_s3.web.responses import DismissView, RowsView
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import Call

PETAL = "petal-s3"
STREAM = f"{PETAL}/publish_status_stream"
"""The command by which what changes is published."""

Needs = Literal["read", "change", "presign"]

_ROUTES = {route.name: route for route in ROUTES}


class Streams(Protocol):
    """Who publishes what changes."""

    def subscribe(self, name: str, rate_hz: float, for_s: float) -> None:
        """Begin, or begin anew; raises :class:`Throttled`."""

    def unsubscribe(self, name: str) -> None:
        """End; one that is not there has ended already."""


Run = Callable[[Service, Any, Streams], Awaitable[BaseModel]]


@dataclass(frozen=True)
class Command:
    """One command; ``rest``: the operations of REST that it is, where it is any.

    ``flat``: the fields of the answer stand beside ``status``, as those of petal-flight-log's own
    streams do, not below ``data``.
    """

    name: str
    summary: str
    run: Run
    answer: tuple[type[BaseModel], ...]
    ask: type[BaseModel] = Nothing
    needs: Needs = "read"
    rest: str = ""
    flat: bool = False


async def _rest(service: Service, name: str, **given: object) -> BaseModel:
    route = _ROUTES[name]
    reply = await route.run(service, route.ask.model_validate(given), Call())
    if not isinstance(reply.body, BaseModel):
        raise TypeError(name)
    return reply.body


def _on_row(name: str) -> Run:
    async def run(service: Service, ask: asks.RowAsk, _: Streams) -> BaseModel:
        return await _rest(service, name, row_id=ask.id)

    return run


async def _status(service: Service, _: Nothing, __: Streams) -> BaseModel:
    return await _rest(service, "status")


async def _outbox(service: Service, ask: asks.OutboxAsk, _: Streams) -> BaseModel:
    if ask.id is not None:
        return await _rest(service, "row", row_id=ask.id)
    return await _rest(service, "rows", state=ask.state, limit=ask.limit, token=ask.token)


async def _landed(service: Service, _: Nothing, __: Streams) -> BaseModel:
    return await _rest(service, "landed")


async def _dismiss(service: Service, ask: asks.DismissAsk, _: Streams) -> BaseModel:
    return await _rest(service, "dismiss", ids=ask.ids, state=ask.state)


async def _cancel(service: Service, ask: asks.CancelAsk, _: Streams) -> BaseModel:
    return await _rest(service, "cancel", row_id=ask.id, purge=ask.purge)


async def _pin(service: Service, ask: asks.PinAsk, _: Streams) -> BaseModel:
    return await _rest(service, "pin" if ask.pinned else "unpin", row_id=ask.id)


async def _presign(service: Service, ask: asks.PresignAsk, _: Streams) -> BaseModel:
    return await _rest(service, "presign", s3_key=ask.s3_key, expires=ask.expires)


async def _card(service: Service, ask: asks.CardAsk, _: Streams) -> BaseModel:
    return await _rest(service, "card_scan" if ask.scan else "card")


async def _fetch(service: Service, ask: asks.FetchAsk, _: Streams) -> BaseModel:
    return await _rest(service, "card_fetch", file_id=ask.id)


async def _safe_to_erase(service: Service, _: Nothing, __: Streams) -> BaseModel:
    card = await card_verbs.safe_to_erase(service)
    return asks.SafeView(
        safe_to_erase=card.safe_to_erase,
        not_safe=card.not_safe,
        on_card=card.on_card,
        unproven=card.unproven,
    )


async def _subscribe(_: Service, ask: asks.SubscribeAsk, streams: Streams) -> BaseModel:
    rate_hz = min(ask.data_rate_hz, asks.RATE_HZ)
    streams.subscribe(ask.subscribed_stream_id, rate_hz, ask.seconds)
    return asks.SubscribedView(
        subscribed_stream_id=ask.subscribed_stream_id,
        data_rate_hz=rate_hz,
        mqtt_topic=STREAM,
        ends_in_s=ask.seconds,
    )


async def _unsubscribe(_: Service, ask: asks.UnsubscribeAsk, streams: Streams) -> BaseModel:
    streams.unsubscribe(ask.unsubscribed_stream_id)
    return asks.UnsubscribedView(unsubscribed_stream_id=ask.unsubscribed_stream_id)


def _of_row(name: str, summary: str, rest: str, ask: type[BaseModel] = asks.RowAsk) -> Command:
    own: dict[str, Run] = {"cancel": _cancel, "pin": _pin}
    return Command(name, summary, own.get(name) or _on_row(name), (RowView,), ask, "change", rest)


COMMANDS: tuple[Command, ...] = (
    Command(
        "status", "Are my logs up, and if not, why?", _status, (StatusView,), rest="GET /status"
    ),
    Command(
        "outbox",
        "Rows of the outbox, the latest first, or one row",
        _outbox,
        (RowsView, RowView),
        asks.OutboxAsk,
        rest="GET /outbox, GET /outbox/{id}",
    ),
    Command(
        "landed",
        "A flight has ended: scan now",
        _landed,
        (LandedView,),
        needs="change",
        rest="POST /landed",
    ),
    _of_row("retry", "Try a row now", "POST /outbox/{id}/retry"),
    _of_row("resend", "Send a proven log again whose object is gone", "POST /outbox/{id}/resend"),
    Command(
        "dismiss",
        "Show dead rows no longer",
        _dismiss,
        (DismissView,),
        asks.DismissAsk,
        "change",
        "POST /outbox/dismiss",
    ),
    _of_row("cancel", "Give a row up", "DELETE /outbox/{id}", asks.CancelAsk),
    _of_row(
        "pin",
        "Keep the file of a row, or let it go",
        "POST, DELETE /outbox/{id}/pin",
        asks.PinAsk,
    ),
    Command(
        "presign",
        "A URL that opens one object",
        _presign,
        (PresignView,),
        asks.PresignAsk,
        "presign",
        "GET /bucket/presign/{s3_key}",
    ),
    Command(
        "card",
        "The autopilot's card, as it was listed last or now",
        _card,
        (CardView,),
        asks.CardAsk,
        rest="GET /card, POST /card/scan",
    ),
    Command(
        "fetch",
        "Fetch one log of the card",
        _fetch,
        (CardFileView,),
        asks.FetchAsk,
        "change",
        "POST /card/{id}/fetch",
    ),
    Command(
        "safe_to_erase",
        "Whether every log on the card is proven in the bucket",
        _safe_to_erase,
        (asks.SafeView,),
    ),
    Command(
        "subscribe_status_stream",
        "Publish what changes, as it changes",
        _subscribe,
        (asks.SubscribedView,),
        asks.SubscribeAsk,
        flat=True,
    ),
    Command(
        "unsubscribe_status_stream",
        "Publish it no longer",
        _unsubscribe,
        (asks.UnsubscribedView,),
        asks.UnsubscribeAsk,
        flat=True,
    ),
)
