"""The autopilot's files over the host's MAVLink connection, whose own client is given way to.

Replies come to the host's component, which its own client has, too: they are told by session,
number and place. While the host lists or fetches files itself nothing is sent; a session that is
open then is given back as soon as the host lets go, since PX4 has but one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from petal_s3.autopilot import messages
from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.vehicle_card import vehicle_card
from petal_s3.host.guarded import guarded
from petal_s3.host.hearing import Hearing
from petal_s3.service.service import Service

MESSAGE = "FILE_TRANSFER_PROTOCOL"
_AUTOPILOT = 1


class MavlinkSender(Protocol):
    """What is used of the host's ``ext_mavlink``."""

    def send(self, key: str, msg: Any) -> object:
        """Send a message when its turn comes."""


class HostLink:
    """Carries payloads over ``ext_mavlink`` to the autopilot whose heartbeats are heard."""

    def __init__(self, service: Service, mavlink: MavlinkSender) -> None:
        self.heard: Callable[[bytes], None] | None = None
        self._flight = service.flight
        self._mavlink = mavlink

    def send(self, payload: bytes) -> None:
        """Send a payload; where it cannot be, no answer comes."""
        system = self._flight.system
        if system is not None:
            with guarded("FILE_TRANSFER_PROTOCOL not sent"):
                self._mavlink.send("mav", messages.file_transfer(system, _AUTOPILOT, payload))

    async def on_message(self, message: Any) -> None:
        """Take in a FILE_TRANSFER_PROTOCOL of anybody."""
        with guarded("FILE_TRANSFER_PROTOCOL not understood"):
            payload = messages.transferred(message, self._flight.system, None)
            if payload is not None and self.heard is not None:
                self.heard(payload)


class GivingWay(partial[Coroutine[Any, Any, None]]):
    """A handler of messages at whose call, in the host's thread that receives, others have a turn.

    That thread holds the host's lock nearly always, but not while it calls handlers: only then the
    host sends. It calls them for a whole batch without a break; what is asked next on account of
    the first messages would be ready when the lock is held again.
    """

    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, None]:
        """Let other threads go first; returns the coroutine of the handler."""
        time.sleep(0)
        return super().__call__(*args, **kwargs)


def card_of_host(service: Service, link: HostLink, hearing: Hearing) -> MavftpCard:
    """The card of the host's autopilot; made in the loop."""

    def lent(within_s: float) -> bool:
        return hearing.downloaded_within(within_s, service.now())

    return vehicle_card(service.settings, service.flight, link, service.now, lent=lent)
