"""Listen to the autopilot over the host's MAVLink connection, and know when nobody can."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from petal_s3.autopilot.client import MavftpCard
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.host.card_link import MESSAGE, GivingWay, HostLink, card_of_host
from petal_s3.host.guarded import guarded
from petal_s3.host.hearing import LOOK_S, Hearing
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.service import vehicle
from petal_s3.service.service import Service


class MavlinkProxy(Protocol):
    """What is used of the host's ``ext_mavlink``; its handlers must be coroutine functions."""

    def register_handler(self, key: str, fn: Any) -> object:
        """Let ``fn`` be called with each message of this name."""

    def send(self, key: str, msg: Any) -> object:
        """Send a message when its turn comes."""

    def unregister_handler(self, key: str, fn: Any) -> object:
        """No longer."""


class Autopilot:
    """Passes on to the service what the host hears; nothing that it raises gets into the host."""

    def __init__(self, service: Service, mavlink: MavlinkProxy) -> None:
        self._service = service
        self._mavlink = mavlink
        self._hearing = Hearing(mavlink)
        self._looking: asyncio.Task[None] | None = None
        self._link = HostLink(service, mavlink)
        self._card: MavftpCard | None = None
        self._handlers = (
            ("HEARTBEAT", self._on_heartbeat),
            ("EXTENDED_SYS_STATE", self._on_landed_state),
            ("LEAF_STATUS", self._on_leaf_status),
            (MESSAGE, GivingWay(self._link.on_message)),
        )

    def listen(self) -> None:
        """Listen from now on."""
        with guarded("the autopilot cannot be listened to; landings are found by scanning"):
            for name, handler in self._handlers:
                self._mavlink.register_handler(name, handler)
            self._card = card_of_host(self._service, self._link, self._hearing)
            self._service.fetcher.attach(self._card)
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Listen no more."""
        with guarded("listening to the autopilot did not end"):
            for name, handler in self._handlers:
                self._mavlink.unregister_handler(name, handler)
        if self._looking is not None:
            await cancel_and_wait(self._looking)
        if self._card is not None:
            self._service.fetcher.attach(None)
            with guarded("what was asked of the autopilot did not end"):
                await self._card.close()

    async def _look(self) -> None:
        """Look for ever whether an autopilot can be heard; cancel to stop."""
        with guarded("the host's MAVLink locks could not be looked at"):
            while True:
                possible = self._hearing.is_possible(self._service.now())
                vehicle.hearing(self._service, possible=possible)
                await asyncio.sleep(LOOK_S)
        vehicle.hearing(self._service, possible=True)  # the rule of silence remains

    def _heard(self) -> None:
        self._hearing.heard(self._service.now())
        if self._card is not None:
            self._card.heard_others()

    async def _on_heartbeat(self, message: Any) -> None:
        with guarded("heartbeat not understood"):
            self._heard()
            beat = Heartbeat(
                system=message.get_srcSystem(),
                component=message.get_srcComponent(),
                autopilot=message.autopilot,
                type=message.type,
                base_mode=message.base_mode,
            )
            vehicle.heartbeat(self._service, beat)

    async def _on_landed_state(self, message: Any) -> None:
        with guarded("EXTENDED_SYS_STATE not understood"):
            self._heard()
            self._service.flight.landed_state(int(message.landed_state))

    async def _on_leaf_status(self, message: Any) -> None:
        with guarded("LEAF_STATUS not understood"):
            self._heard()
            self._service.flight.leaf_status(int(message.status))
