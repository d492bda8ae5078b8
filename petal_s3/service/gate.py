"""Decide whether anything may be sent now, and say why not: the one place for that."""

from __future__ import annotations

from petal_s3.core.clock import Clock
from petal_s3.intake.flight_state import FlightState
from petal_s3.service.reasons import Reason, reason
from petal_s3.upload.worker import Drainer


class FlightGate:
    """Closed while the vehicle is armed, or may be: the autopilot is silent, or cannot be heard."""

    def __init__(self, flight: FlightState, *, while_flying: bool, now: Clock) -> None:
        """``while_flying``: uploads were allowed at any time."""
        self._flight = flight
        self._while_flying = while_flying
        self._now = now

    def reason(self) -> Reason | None:
        """Why the vehicle allows no upload now; none when it does."""
        hold = None if self._while_flying else self._flight.hold(self._now())
        return None if hold is None else reason(hold.code, hold.sentence)

    def sentence(self) -> str | None:
        """The sentence of :meth:`reason`."""
        found = self.reason()
        return None if found is None else found.sentence


class UploadGate:
    """Closed by the vehicle, and by what blocked the last attempt: link, credentials, bucket."""

    def __init__(self, flight: FlightGate, drainer: Drainer, *, now: Clock) -> None:
        self._flight = flight
        self._drainer = drainer
        self._now = now

    def reason(self) -> Reason | None:
        """Why nothing was sent at the last try, though the next one may be due; none if it was."""
        block = self._drainer.pause.block
        blocked = None if block is None else reason(block.code, block.reason)
        return self._flight.reason() or blocked

    def closed(self) -> Reason | None:
        """Why nothing is sent at this moment; none while an attempt is made or due."""
        block = self._drainer.pause.block
        if block is not None and block.until > self._now():
            return self.reason()
        return self._flight.reason()

    def closed_sentence(self) -> str | None:
        """The sentence of :meth:`closed`."""
        found = self.closed()
        return None if found is None else found.sentence
