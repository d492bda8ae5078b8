"""Keep what a caller says of the flight in the outbox, and follow what others say there."""

from __future__ import annotations

import asyncio
import time
import uuid

from petal_s3.errors import Conflict, Transient
from petal_s3.outbox import flight_word
from petal_s3.outbox.flight_word import Word
from petal_s3.service.assembly import Parts

LOOK_S = 0.5
"""How often it is looked whether another process has said something, where no event tells."""
TAKEN_S = 5.0  # within this the process that drains has taken in what was said
_STALE_S = 10.0  # "disarmed" ends what was said before; later it says nothing
_POLL_S = 0.1


class SaidFlight:
    """What was said of the flight, the same in every process on the outbox.

    The process that drains keeps to it. It alone ends it: when it hears an autopilot.
    """

    def __init__(self, parts: Parts) -> None:
        self._base = parts.base
        self._parts = parts
        self._word: Word | None = None
        """What was taken in last."""
        self._turn = asyncio.Lock()

    async def say(self, *, armed: bool) -> None:
        """Say it to the process that drains, and return when that has taken it in.

        Where no process drains, the next one that does takes it in. Raises :class:`Conflict`
        where an autopilot is heard, :class:`Transient` where the process that drains does not
        answer, :class:`LocalStorageError` where it cannot be written; "armed" counts in this
        process all the same.
        """
        when = time.strftime("%Y-%m-%d %H:%M UTC by this machine's clock", time.gmtime())
        word = Word(armed, when, uuid.uuid4().hex, self._base.now())
        async with self._turn:
            if not self._take_in(word):
                raise _heard()
            await self._base.outbox(flight_word.say, word)
            if self._parts.lock.held:
                await self._taken(word)
                return
        if await self._base.files.run(self._parts.lock.holder) is not None:
            await self._until_taken(word)

    async def look(self) -> None:
        """Take in what was said last; raises :class:`LocalStorageError`."""
        async with self._turn:
            word = await self._base.outbox(flight_word.said)
            if word is None:
                await self._vanished()
            elif self._word is None or self._word.number != word.number:
                await self._is_new(word)
            elif self._parts.lock.held:
                await self._is_known(word)

    async def _is_new(self, word: Word) -> None:
        flight = self._parts.flight
        old = word.taken or self._base.now() - word.at > _STALE_S
        stale = old and not word.armed
        if stale and not flight.declared:
            self._word = word
        elif not self._take_in(word) and self._parts.lock.held:
            await self._end(word)
        if self._word is word and self._parts.lock.held:
            await self._is_known(word)

    async def _is_known(self, word: Word) -> None:
        if self._parts.flight.declared is not word.armed:  # an autopilot was heard since
            await self._end(word)
        elif not word.taken:
            await self._taken(word)

    async def _vanished(self) -> None:
        """It was ended by the process that drains; where that is this one, the outbox is new."""
        word, flight = self._word, self._parts.flight
        if word is None:
            return
        if self._parts.lock.held and flight.declared is word.armed:
            await self._base.outbox(flight_word.say, word)
            return
        flight.withdraw()
        self._word = None

    def _take_in(self, word: Word) -> bool:
        """Let it count in this process; false where an autopilot is heard."""
        parts = self._parts
        was_closed = parts.flight_gate.reason() is not None
        if not parts.flight.declare(armed=word.armed, now=self._base.now(), since=word.since):
            return False
        self._word = word
        parts.watcher.stir()
        if was_closed and parts.flight_gate.reason() is None:
            parts.watcher.ask_scan()
            parts.drainer.pause.wake()
        return True

    async def _taken(self, word: Word) -> None:
        """This process drains and keeps to it: others may know."""
        await self._base.outbox(flight_word.take, word)
        await self._parts.changes.changed()

    async def _end(self, word: Word) -> None:
        await self._base.outbox(flight_word.end, word)
        self._word = None

    async def _until_taken(self, word: Word) -> None:
        until = self._base.now() + TAKEN_S
        while self._base.now() < until:
            found = await self._base.outbox(flight_word.said)
            if found is None:
                await self.look()
                raise _heard()
            if found.taken or found.number != word.number:  # or another was said since
                return
            await asyncio.sleep(_POLL_S)
        raise Transient(
            "The process that uploads has not taken in yet what was said of the flight; it lies in"
            " the outbox and counts as soon as it has. See GET /status.",
            code="not_now",
        )


def _heard() -> Conflict:
    return Conflict("An autopilot is heard: it says itself whether the vehicle is armed.")
