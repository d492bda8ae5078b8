"""Take in what is heard of the vehicle, and send at once when it allows that again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from petal_s3.intake.flight_state import Heartbeat
from petal_s3.service.service import Service
from petal_s3.service.views.view import Flight


async def declare(service: Service, *, armed: bool) -> Flight:
    """Take in what a caller says of the flight, whichever process drains; returns its state.

    Raises as :meth:`petal_s3.service.said_flight.SaidFlight.say`.
    """
    await service.drain.said_flight.say(armed=armed)
    return cast("Flight", service.flight.state(service.now()))


def hearing(service: Service, *, possible: bool) -> None:
    """Take in whether the host can hear an autopilot."""
    with _stirring(service):
        service.flight.hearing(possible=possible, now=service.now())


def heartbeat(service: Service, beat: Heartbeat) -> None:
    """Take in a heartbeat; one that ends a flight or lets uploads go on has effect at once."""
    was_closed = service.flight_gate.reason() is not None
    with _stirring(service):
        service.flight.heartbeat(beat, service.now())
    if service.flight.may_be_ending:
        service.watcher.ask_scan()  # the wait for files to settle runs beside the confirmation
    if was_closed and service.flight_gate.reason() is None:
        service.watcher.ask_scan()
        service.drainer.pause.wake()


@contextmanager
def _stirring(service: Service) -> Iterator[None]:
    """What waits for events hears of it where the block changes what is known of the flight."""
    before = _known(service)
    yield
    if _known(service) != before:
        service.stir()


def _known(service: Service) -> tuple[object, ...]:
    flight = service.flight
    return flight.state(service.now()), flight.declared, flight.lapses
