"""Decide when the autopilot's card is listed and what is fetched of it next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from petal_s3.autopilot import partial
from petal_s3.autopilot.backoff import Backoff
from petal_s3.autopilot.entering import enter
from petal_s3.autopilot.fetch import Interrupted, Job, NotSame, Progress, fetch
from petal_s3.autopilot.ftp_client import Card, Changed, Held, NotFound, Silence
from petal_s3.autopilot.listings import Listings
from petal_s3.autopilot.salvage import sweep
from petal_s3.core.clock import Clock
from petal_s3.core.threads import run_in
from petal_s3.errors import LocalStorageError, S3IntegrationError
from petal_s3.intake.entry import Intake
from petal_s3.intake.flight_holds import Hold
from petal_s3.intake.flight_state import FlightState
from petal_s3.outbox import card as card_files
from petal_s3.outbox import card_listing
from petal_s3.outbox.card import CardFile

log = logging.getLogger("petal_s3")

LOOK_S = 0.5
"""How often it is looked whether the autopilot may be asked."""
STORAGE_S = 30.0
"""How long it waits for a disk that refuses."""
_UNUSED_S = 900.0


class CardFetcher:
    """Fetches what the settings want, while the vehicle is on the ground and heard.

    It runs in the process that drains. Times are seconds of one steady clock.
    """

    def __init__(
        self,
        intake: Intake,
        flight: FlightState,
        newest_before: Callable[[], Awaitable[int | None]],
        now: Clock,
    ) -> None:
        """``newest_before``: the time of the newest log that the bucket held before this outbox, in
        seconds since 1970, 0 where it held none; none while that is not known."""
        self.progress = Progress()
        self._failure: Hold | None = None
        self._stirred = asyncio.Event()
        self._interrupts = False
        self._intake, self._flight = intake, flight
        self._now = now
        self._card: Card | None = None
        self._off = intake.settings.fetch == "off"
        self._listings = Listings(intake, flight, newest_before, now)
        self._not_now: dict[int, Backoff] = {}
        self._loop, self._begun = Backoff(), False

    # -- what others say

    def attach(self, card: Card | None) -> None:
        """From now on this is asked; none: no card can be reached."""
        self._card = card
        self.wake()

    @property
    def is_on(self) -> bool:
        """Whether a card can be reached, and is to be fetched from."""
        return self._card is not None and not self._off

    @property
    def is_heard(self) -> bool:
        """Whether the autopilot is heard now."""
        return self._flight.is_heard(self._now())

    @property
    def hold(self) -> Hold | None:
        """Why nothing is asked of the card now; none where it is, or could be."""
        if not self.is_on:
            return None
        return self._flight.ask_hold(self._now()) or self._failure

    def wake(self) -> None:
        """What is known of the vehicle has changed, or others wrote into the outbox: look now."""
        self._stirred.set()

    def asked(self) -> None:
        """Something was asked for in the outbox: it comes before what is fetched now."""
        self._not_now.clear()
        self._loop = Backoff()
        self._interrupts = True
        self.wake()

    async def others_wrote(self) -> None:
        """Others wrote into the outbox; what they ask of the card comes first."""
        self.wake()
        if await self._intake.outbox(card_listing.asked_scan):
            self.asked()

    # -- the loop

    async def run(self) -> None:
        """Repeat :meth:`step`, until cancelled."""
        self._begun = False
        while True:
            [found] = await asyncio.gather(self.step(), return_exceptions=True)
            if isinstance(found, Exception):
                log.error("fetching from the card crashed", exc_info=found)
                found = STORAGE_S
            elif isinstance(found, BaseException):
                raise found
            if found > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), found)

    async def step(self) -> float:
        """Do what comes next; returns how many seconds later to look again."""
        self._stirred.clear()
        self._interrupts = False
        card = self._card
        if card is None or self._off:
            return _UNUSED_S
        try:
            await self._begin()
            await self._listings.note_lapse()
            hold = self._flight.ask_hold(self._now())
            if hold is not None:
                await self._listings.note_flight(hold)
                return LOOK_S
            pause_s = await self._next(card)
        except Held as error:
            self._failure = Hold(error.reason, error.message)
            await self._listings.note_flight(self._failure)
            return LOOK_S
        except S3IntegrationError as error:
            self._failure = Hold(error.code, error.message)
            if isinstance(error, LocalStorageError):
                return STORAGE_S
            self._loop.failed(self._now())
            return self._loop.until - self._now()
        self._failure = None
        return pause_s

    async def _begin(self) -> None:
        if not self._begun:
            await sweep(self._intake)
            await self._listings.begin()
            self._begun = True

    async def _next(self, card: Card) -> float:
        number = await self._intake.outbox(card_listing.asked_scan)
        if number or self._listings.is_due:
            await self._listings.take(card)
            self._loop = Backoff()
            await self._intake.outbox(card_listing.answered_scan, number)
            return 0.0
        not_now = {one for one, wait in self._not_now.items() if wait.until > self._now()}
        file = await self._intake.outbox(card_files.next_file, not_now)
        if file is None:
            return self._idle_s()
        await self._take(card, file)
        return 0.0

    def _idle_s(self) -> float:
        now = self._now()
        waits = [one.until for one in self._not_now.values() if one.until > now]
        return max(0.0, min([self._listings.at, *waits]) - now)

    # -- fetching

    async def _take(self, card: Card, file: CardFile) -> None:
        try:
            if file.state != "fetched":
                listed = await self._intake.outbox(card_listing.listed)
                path, to_stop = listed.full_path(file), lambda: self._interrupts
                await fetch(Job(self._intake, card, file, path, self.progress, to_stop))
                file = await self._intake.outbox(card_files.get, file.id)
            await enter(self._intake, file)
            self._not_now.pop(file.id, None)
            self._loop = Backoff()
        except Interrupted:
            return
        except (NotSame, Changed) as error:
            await self._begin_anew(file, error)
        except (LocalStorageError, Held, Silence):
            raise
        except S3IntegrationError as error:  # of this file: the others need not wait
            await self._intake.outbox(card_files.note, file.id, error.code, error.message)
            self._not_now.setdefault(file.id, Backoff()).failed(self._now())
            if isinstance(error, NotFound):  # what was fetched of it may be all that is left
                self._listings.at = self._now()

    async def _begin_anew(self, file: CardFile, error: S3IntegrationError) -> None:
        log.warning("begins anew path=%s reason=%s", ascii(file.path), error.message)
        self._not_now.setdefault(file.id, Backoff()).failed(self._now())
        await run_in(self._intake.files, partial.discard, self._intake.settings.state_dir, file.id)
        await self._intake.outbox(
            card_files.restart, file.id, error.code, error.message, self._now()
        )
        self._listings.at = self._now()
