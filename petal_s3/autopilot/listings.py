"""When the autopilot's card is listed, and when what was listed is in doubt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from petal_s3.autopilot.ftp_client import Card, FtpError, Silence
from petal_s3.autopilot.listing import look_through
from petal_s3.autopilot.salvage import salvage
from petal_s3.core.clock import Clock
from petal_s3.intake.entry import Intake
from petal_s3.intake.flight_holds import Hold
from petal_s3.intake.flight_state import FlightState
from petal_s3.outbox import card as card_files
from petal_s3.outbox import card_changes, card_listing
from petal_s3.outbox.card_listing import Rules

_MOST_SETTLING_S = 120.0


class Listings:
    """Lists the card, and takes in what it shows; ``at``: when it is listed next."""

    def __init__(
        self,
        intake: Intake,
        flight: FlightState,
        newest_before: Callable[[], Awaitable[int | None]],
        now: Clock,
    ) -> None:
        """As :class:`petal_s3.autopilot.fetching.CardFetcher`."""
        self.at = float("-inf")
        self._intake, self._flight = intake, flight
        self._newest_before = newest_before
        self._now = now
        settings = intake.settings
        self._rules = Rules(
            settings.fetch == "all", int(settings.max_file_size), settings.settle_seconds
        )
        self._flights_ended = self._lapses = 0
        self._settling = 0
        self._doubted = ""

    @property
    def is_due(self) -> bool:
        """Whether to list it now."""
        return self._flight.flights_ended != self._flights_ended or self._now() >= self.at

    # -- what makes a listing doubtful

    async def begin(self) -> None:
        """Nothing has looked at the card until now."""
        self._doubted = ""
        await self._doubt("begin", flies=False)

    async def note_flight(self, hold: Hold) -> None:
        """A vehicle that flies, or is not heard for long, may write what was not listed."""
        if hold.code == "armed":
            await self._doubt("armed", flies=True)
        elif self._flight.state(self._now()) == "unknown":
            await self._doubt("unheard", flies=False)

    async def note_lapse(self) -> None:
        """An autopilot that is heard again may have been restarted, or have another card."""
        if self._lapses != self._flight.lapses:
            self._lapses, self._doubted = self._flight.lapses, ""
            await self._doubt("silent", flies=False)

    async def _doubt(self, why: str, *, flies: bool) -> None:
        if self._doubted != why:
            await self._intake.outbox(card_listing.doubt, flies=flies)
            self._doubted, self.at, self._settling = why, float("-inf"), 0

    # -- listing

    async def take(self, card: Card) -> None:
        """List it now; raises what ``card`` raises: what was listed before is in doubt then."""
        ended = self._flight.flights_ended
        try:
            listing = await look_through(card)
        except (FtpError, Silence):
            await self._doubt("unlisted", flies=False)
            raise
        outbox, first = self._intake.outbox, ended == 0
        listed = await outbox(card_changes.take, listing, self._now(), self._rules, baseline=first)
        self._flights_ended, self._doubted = ended, ""
        await self._compare_with_bucket()
        settles = any(one.state == "seen" for one in await outbox(card_files.on_card))
        again = listed.agree < 2 or settles
        self._settling = self._settling + 1 if again else 0
        later_s = min(_MOST_SETTLING_S, self._rules.settle_s * 2 ** max(0, self._settling - 3))
        self.at = self._now() + (later_s if again else self._intake.settings.scan_interval)
        if listed.agree >= 2:
            await salvage(self._intake)

    async def _compare_with_bucket(self) -> None:
        if await self._intake.outbox(card_listing.is_to_compare):
            newest = await self._newest_before()
            if newest is not None:
                await self._intake.outbox(card_listing.compared, newest)
