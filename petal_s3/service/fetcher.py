"""What fetches from the autopilot's card; imported only where a process can reach one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from petal_s3.core.clock import Clock
from petal_s3.errors import S3IntegrationError
from petal_s3.intake.entry import Intake
from petal_s3.intake.flight_holds import Hold
from petal_s3.intake.flight_state import FlightState
from petal_s3.service.gate import UploadGate
from petal_s3.upload.inventory import Inventory

if TYPE_CHECKING:
    from petal_s3.autopilot.fetching import CardFetcher
    from petal_s3.autopilot.ftp_client import Card


class Fetcher:
    """Stands for the loop that fetches; there is none before a card is attached."""

    def __init__(self, make: Callable[[], CardFetcher]) -> None:
        self.loop: CardFetcher | None = None
        self._make = make
        self._attached = asyncio.Event()

    def attach(self, card: Card | None) -> None:
        """From now on this card is asked; none: it can no longer be reached."""
        if self.loop is None:
            self.loop = self._make()
        self.loop.attach(card)
        self._attached.set()

    @property
    def is_on(self) -> bool:
        """Whether a card can be reached, and is to be fetched from."""
        return self.loop is not None and self.loop.is_on

    @property
    def is_heard(self) -> bool:
        """Whether the autopilot is heard now."""
        return self.loop is not None and self.loop.is_heard

    @property
    def hold(self) -> Hold | None:
        """Why nothing is asked of the card now; none where it is, or could be."""
        return None if self.loop is None else self.loop.hold

    def wake(self) -> None:
        """What is known of the vehicle has changed."""
        if self.loop is not None:
            self.loop.wake()

    def asked(self) -> None:
        """Something was asked for in the outbox: it comes before what is fetched now."""
        if self.loop is not None:
            self.loop.asked()

    async def others_wrote(self) -> None:
        """Other processes wrote into the outbox, and may have asked for something."""
        if self.loop is not None:
            await self.loop.others_wrote()

    async def run(self) -> None:
        """Fetch, until cancelled."""
        await self._attached.wait()
        assert self.loop is not None
        await self.loop.run()


def fetcher_of(
    intake: Intake, flight: FlightState, inventory: Inventory, gate: UploadGate, now: Clock
) -> Fetcher:
    """The fetcher of a service; the bucket is asked only while something may be sent."""

    async def newest_before() -> int | None:
        if gate.closed() is None:
            with contextlib.suppress(S3IntegrationError):  # asked again after the next listing
                return await inventory.newest_log()
        return None

    def make() -> CardFetcher:
        from petal_s3.autopilot.fetching import CardFetcher  # noqa: PLC0415 - not without a card

        return CardFetcher(intake, flight, newest_before, now)

    return Fetcher(make)
