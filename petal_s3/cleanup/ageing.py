"""Carry the count of ages on, have copies of cancelled rows deleted after a day, and sweep."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.errors import LocalStorageError
from petal_s3.intake import descriptions, spool
from petal_s3.outbox import ages, copies
from petal_s3.outbox.ages import Ages, Moment
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.server_time import ServerClock

log = logging.getLogger("petal_s3")

EVERY_S = 300.0

JUMPED = (
    "The clock of S3 has jumped by {jump}: from then on the age of every proof and of every"
    " cancelled copy counts anew."
)


async def note_ages(outbox: OutboxThread, server_clock: ServerClock) -> Ages:
    """Carry the count of ages on; raises :class:`LocalStorageError`."""
    moment = Moment(server_clock.steady(), server_clock.wall(), server_clock.agreed_s)
    return await outbox(ages.carry_on, moment)


class Ageing:
    """What goes by its age in the spool; only the process that drains runs it."""

    def __init__(
        self, outbox: OutboxThread, files: Executor, server_clock: ServerClock, place: Path
    ) -> None:
        """``place``: the spool."""
        self.advice: list[str] = []
        self._outbox = outbox
        self._files = files
        self._clock = server_clock
        self._spool = place
        self._seen: spool.Seen = {}

    async def run(self) -> None:
        """Look every five minutes; cancel to stop. Nothing that fails here ends the drain."""
        while True:
            (error,) = await asyncio.gather(self.step(), return_exceptions=True)
            if isinstance(error, LocalStorageError):
                log.warning("spool not looked through reason=%s", error.message)
            elif error is not None:
                log.error("looking through the spool crashed", exc_info=error)
            await asyncio.sleep(EVERY_S)

    async def step(self) -> None:
        """Look once; raises :class:`LocalStorageError`."""
        now = await note_ages(self._outbox, self._clock)
        self._tell(now)
        expired = await self._outbox(copies.expire, now.oldest(ages.DAY_S))
        needed = await self._outbox(copies.needed)
        for row in expired:
            if row.path not in needed:
                log.info("copy of a cancelled row deleted id=%d size=%d", row.id, row.size)
                await run_in(self._files, spool.discard, self._spool, row.path)
        await run_in(
            self._files, spool.sweep, self._spool, needed, self._seen, self._clock.steady()
        )

    async def settled(self, row: Row) -> None:
        """A row was settled: its copy goes, or stays for a day and says so itself."""
        if row.has_copy and row.state == "cancelled":  # without the outbox it would be sent
            await run_in(self._files, descriptions.mark, Path(row.path), cancelled=True)
        elif row.spooled and row.state in {"verified", "cancelled"}:
            await run_in(self._files, spool.discard, self._spool, row.path)

    def _tell(self, now: Ages) -> None:
        advice = [JUMPED.format(jump=_spoken(now.jump_s))] if now.jumped else []
        for sentence in advice:
            if sentence not in self.advice:
                log.warning("ages begin anew reason=%s", sentence)
        self.advice = advice


def _spoken(seconds: float) -> str:
    way = "forward" if seconds > 0 else "back"
    hours = abs(seconds) / ages.HOUR_S
    return f"{hours / 24:.0f} days {way}" if hours >= 48 else f"{hours:.0f} hours {way}"
