"""The REST operations on the autopilot's card: what is on it, list it now, fetch one log."""

from __future__ import annotations

from petal_s3.service import card_verbs
from petal_s3.service.service import Service
from petal_s3.service.views.card import CardFileView, CardView
from petal_s3.web import requests as asks
from petal_s3.web.routing import Call, Reply, Route


async def get_card(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """What is known of the card, and whether it may be erased; nothing is asked of it."""
    return Reply(await card_verbs.show(service))


async def post_scan(service: Service, _: asks.Nothing, __: Call) -> Reply:
    """List the card now; 503 with the reason where that cannot be."""
    return Reply(await card_verbs.scan(service))


async def post_fetch(service: Service, ask: asks.CardFileAsk, _: Call) -> Reply:
    """Fetch this log, also where the settings leave it out."""
    return Reply(await card_verbs.fetch(service, ask.file_id))


CARD_ROUTES: tuple[Route, ...] = (
    Route("GET", "/card", "card", "The autopilot's card", get_card, answer=CardView),
    Route(
        "POST",
        "/card/scan",
        "card_scan",
        "List the card now",
        post_scan,
        answer=CardView,
        errors=(409, 503, 507),
    ),
    Route(
        "POST",
        "/card/{file_id}/fetch",
        "card_fetch",
        "Fetch one log of the card",
        post_fetch,
        ask=asks.CardFileAsk,
        answer=CardFileView,
        errors=(400, 403, 404, 409, 413, 422, 503, 507),
    ),
)
