"""May anything be asked of the autopilot now? Asked before each request."""

from __future__ import annotations

from collections.abc import Callable

from petal_s3.autopilot.ftp_client import Held
from petal_s3.core.clock import Clock
from petal_s3.intake.flight_state import FlightState


def flight_gate(flight: FlightState, now: Clock) -> Callable[[], Held | None]:
    """Why nothing may be asked, by what is known of the flight; none where it may."""

    def may_ask() -> Held | None:
        hold = flight.ask_hold(now())
        return None if hold is None else Held(hold.sentence, reason=hold.code)

    return may_ask
