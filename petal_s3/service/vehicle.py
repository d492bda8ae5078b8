"""Take in what is heard of the vehicle, and send at once when it allows that again."""

from __future__ import annotations

from typing import cast

from petal_s3.errors import Conflict
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.service.service import Service
from petal_s3.service.views.view import Flight


def declare(service: Service, *, armed: bool) -> Flight:
    """Take in what a caller says of the flight; returns the flight state.

    Raises :class:`Conflict` where an autopilot is heard.
    """
    was_closed = service.flight_gate.reason() is not None
    if not service.flight.declare(armed=armed, now=service.now()):
        raise Conflict("An autopilot is heard: it says itself whether the vehicle is armed.")
    if was_closed:
        _send_if_open(service)
    return cast("Flight", service.flight.state(service.now()))


def heartbeat(service: Service, beat: Heartbeat) -> None:
    """Take in a heartbeat; one that ends a flight or lets uploads go on has effect at once."""
    was_closed = service.flight_gate.reason() is not None
    service.flight.heartbeat(beat, service.now())
    if service.flight.may_be_ending:
        service.watcher.ask_scan()  # the wait for files to settle runs beside the confirmation
    if was_closed:
        _send_if_open(service)


def _send_if_open(service: Service) -> None:
    if service.flight_gate.reason() is None:
        service.watcher.ask_scan()
        service.drainer.pause.wake()
