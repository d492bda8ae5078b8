"""What a person may ask of the autopilot's card, whichever process has it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from petal_s3.errors import Conflict, S3IntegrationError, Transient
from petal_s3.outbox import card, card_listing
from petal_s3.service import card_summary
from petal_s3.service.reasons import NO_DRAIN
from petal_s3.service.views.card import CardFileView, CardView

if TYPE_CHECKING:
    from petal_s3.service.report import Report
    from petal_s3.service.service import Service

_POLL_S = 0.1


async def show(service: Service) -> CardView:
    """What is known of the card; nothing is asked of it."""
    live = (await service.overview.seen()).live
    return await service.outbox(card_summary.whole, live)


async def scan(service: Service) -> CardView:
    """List the card now, by the process that has it.

    Raises :class:`Conflict` where that has no card, and :class:`Transient` where it is not listed
    within the setting ``request_timeout``: the sentence says why, and it is listed later.
    """
    number = uuid.uuid4().hex
    await service.outbox(card_listing.ask_scan, number)
    service.fetcher.asked()
    until = service.now() + service.settings.request_timeout
    while await service.outbox(card_listing.asked_scan) == number:
        seen = await service.overview.seen()
        if not seen.drained:
            raise Transient(NO_DRAIN.sentence, code=NO_DRAIN.code)
        _check(seen.live)
        if seen.live.card_reason or service.now() >= until:
            raise Transient(seen.live.card_reason or "The card was not listed in time; it will be.")
        await asyncio.sleep(_POLL_S)
    return await show(service)


async def safe_to_erase(service: Service) -> CardView:
    """The card, and whether it may be erased: where it seems so it is listed once more, now."""
    known = await show(service)
    if not known.safe_to_erase:
        return known
    try:
        return await scan(service)
    except S3IntegrationError as error:
        return known.model_copy(update={"safe_to_erase": False, "not_safe": error.message})


def _check(report: Report) -> None:
    if not report.card_on:
        raise Conflict(
            "The process that uploads has no autopilot's card to ask: PETAL_S3_FETCH is off, or"
            " PETAL_S3_AUTOPILOT is not set where there is no host.",
            code="no_card",
        )


async def fetch(service: Service, file_id: int) -> CardFileView:
    """Fetch this one, also where the settings leave it out; a row of it that was given up is
    tried again.

    Raises :class:`S3FileNotFoundError`, :class:`Conflict` for one that cannot be fetched, and as
    :meth:`~petal_s3.service.service.Service.retry`.
    """
    file = await service.outbox(card.ask, file_id)
    if file.row_id is not None and file.row_state in {"dead", "cancelled"}:
        await service.retry(file.row_id)
        file = await service.outbox(card.get, file_id)
    await service.outbox(card_listing.ask_scan, uuid.uuid4().hex)
    service.fetcher.asked()
    return card_summary.file_view(await service.outbox(card_listing.listed), file)
