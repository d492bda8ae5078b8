"""The card of the vehicle whose heartbeats are heard: asked only while it is on the ground."""

from __future__ import annotations

import logging
from collections.abc import Callable

from petal_s3.autopilot.carrier import Carrier, NoTrace, Trace
from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.ftp_client import Held
from petal_s3.autopilot.trace import FileTrace
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.intake import flight_holds as holds
from petal_s3.intake.flight_holds import Hold
from petal_s3.intake.flight_state import FlightState

log = logging.getLogger("petal_s3")

QUIET_S = 3.0
"""How long after others used the connection nothing new is begun: often they go on."""

Lent = Callable[[float], bool]
"""Whether somebody else has used the connection within so many seconds; 0: at this moment."""


def vehicle_card(
    settings: Settings,
    flight: FlightState,
    carrier: Carrier,
    now: Clock,
    *,
    lent: Lent | None = None,
) -> MavftpCard:
    """The card that a carrier leads to; made in the loop.

    ``lent``: of a connection that is shared; one of our own may reset sessions that nobody uses.
    """

    def may_ask(within_s: float = 0.0) -> Held | None:
        used = lent is not None and lent(within_s)
        hold = holds.ASK_DEAF if used else flight.ask_hold(now())
        return None if hold is None else _held(hold)

    terms = Terms(
        may_ask=may_ask,
        may_begin=lambda: may_ask(QUIET_S),
        now=now,
        may_reset=lent is None,
        max_rate=int(settings.fetch_max_rate),
    )
    return MavftpCard(carrier, terms, _trace(settings))


def _held(hold: Hold) -> Held:
    return Held(hold.sentence, reason=hold.code)


def _trace(settings: Settings) -> Trace:
    if settings.autopilot_trace is None:
        return NoTrace()
    try:
        return FileTrace(settings.autopilot_trace)
    except OSError as error:
        log.warning("no trace is written to %s: %s", settings.autopilot_trace, error.strerror)
        return NoTrace()
