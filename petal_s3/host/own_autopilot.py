"""Listen to the autopilot over a connection of our own, for robots without the host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from petal_s3.autopilot.own_link import OwnLink
from petal_s3.autopilot.vehicle_card import vehicle_card
from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.host.guarded import guarded
from petal_s3.intake.flight_state import FlightState, Heartbeat
from petal_s3.service import vehicle
from petal_s3.service.service import Service


def flight_of(settings: Settings) -> FlightState:
    """What is known of the flight: an autopilot is waited for where it is said where one is."""
    listens = settings.autopilot is not None and not settings.upload_while_flying
    return FlightState(listening_since=clock.now() if listens else None)


@asynccontextmanager
async def own_autopilot(service: Service) -> AsyncIterator[None]:
    """While the block runs: what PETAL_S3_AUTOPILOT leads to is heard, and its card fetched.

    Raises :class:`ConfigError` where pymavlink is not installed; without the setting nothing is
    done.
    """
    endpoint = service.settings.autopilot
    if endpoint is None:
        yield
        return
    link = OwnLink(endpoint)
    link.on_heartbeat = lambda beat: _heartbeat(service, link, beat)
    link.on_landed_state = service.flight.landed_state
    card = vehicle_card(service.settings, service.flight, link, service.now)
    link.on_others = card.heard_others
    link.start()
    service.fetcher.attach(card)
    try:
        yield
    finally:
        service.fetcher.attach(None)
        await card.close()
        await link.stop()


def _heartbeat(service: Service, link: OwnLink, beat: Heartbeat) -> None:
    with guarded("heartbeat not taken in"):
        vehicle.heartbeat(service, beat)
        link.target = service.flight.system
