"""Fetch one log of the autopilot's card, from the byte on that is here, and enter it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from petal_s3.autopilot import partial
from petal_s3.autopilot.ftp_client import Card, FtpError, NotFound, Silence
from petal_s3.autopilot.partial import Kept, Partial
from petal_s3.core.clock import boot_id
from petal_s3.core.tasks import to_end
from petal_s3.core.threads import run_in
from petal_s3.errors import Transient
from petal_s3.intake.entry import (
    Intake,
)
from petal_s3.intake.reserve import Room
from petal_s3.outbox import card as card_files
from petal_s3.outbox.card import CardFile

log = logging.getLogger("petal_s3")

HASHED_BYTES = 8 * 1024 * 1024
"""Up to this size the autopilot computes a checksum of the file: it reads all of it in one go."""
TAIL_BYTES = 1024
"""So much of what is here is read again before it is gone on with."""
WINDOWS, WINDOW_BYTES = 4, 1024
"""So many pieces of so many bytes are read again when all of a file is here."""
GATHERED_BYTES = 32 * 1024
GATHERED_S = 0.5
KEPT_S = 2.0
"""How often it is made to survive a power cut what was fetched."""


class NotSame(Transient):
    """What the card holds is not what was fetched of it before: it begins anew."""

    code = "card_changed"


class Interrupted(Transient):
    """Something else comes first; it goes on where it was."""

    code = "card_interrupted"


@dataclass
class Progress:
    """What is fetched now, and how many bytes came since this process began."""

    file_id: int | None = None
    fetched_bytes: int = 0
    received_bytes: int = 0
    hashes: bool = field(default=True)
    """Whether the autopilot was not seen to fail when it was asked for a checksum."""


@dataclass(frozen=True)
class Job:
    """A settled file that is to be fetched; ``path``: its path on the card.

    ``interrupted``: tells whether something else is asked of the card first.
    """

    intake: Intake
    card: Card
    file: CardFile
    path: str
    progress: Progress
    interrupted: Callable[[], bool] = lambda: False

    async def note(self, kept: Kept) -> None:
        """So much of it survives a power cut."""
        await self.intake.outbox(card_files.advance, self.file.id, kept.size, kept.crc32)

    async def on_card(self, start: int, end: int) -> bytes:
        """The bytes that the card holds there."""
        found = bytearray()

        async def take(block: bytes) -> None:
            found.extend(block)

        await self.card.read(self.path, start, end, take)
        return bytes(found)


class _Writer:
    """Takes the bytes as they come, and writes them in larger pieces."""

    def __init__(self, job: Job, part: Partial, room: Room) -> None:
        self._job = job
        self._part = part
        self._room = room
        self._gathered = bytearray()
        self._now = asyncio.get_running_loop().time
        self._written_at = self._kept_at = self._now()

    async def take(self, block: bytes) -> None:
        """Take the next bytes; raises :class:`Interrupted` behind them."""
        self._gathered += block
        self._job.progress.fetched_bytes += len(block)
        self._job.progress.received_bytes += len(block)
        now = self._now()
        if now - self._kept_at >= KEPT_S:
            await self.keep()
        elif len(self._gathered) >= GATHERED_BYTES or now - self._written_at >= GATHERED_S:
            await self._write()
        if self._job.interrupted():
            raise Interrupted("Something else is asked of the card first.")

    async def _write(self) -> None:
        block, self._written_at = bytes(self._gathered), self._now()
        self._gathered.clear()
        if block:
            await run_in(self._job.intake.files, self._append, block)

    def _append(self, block: bytes) -> None:
        self._room.take(len(block))
        self._part.append(block)

    async def keep(self) -> None:
        """Write all that came, durably, and say so in the outbox."""
        await self._write()
        self._kept_at = self._now()
        await self._job.note(await run_in(self._job.intake.files, self._part.flush))


async def fetch(job: Job) -> None:
    """Fetch what is missing of a file, and compare it with the card.

    Raises what the card raises, :class:`NotSame`, :class:`Interrupted` and
    :class:`LocalStorageError`: what came before is kept in any case.
    """
    intake, file = job.intake, job.file
    await _check_size(job)
    place = partial.place_of(intake.settings.state_dir, file.id, file.path)
    known = Kept(file.fetched_bytes, file.crc32)
    same_boot = file.kept_boot == boot_id()
    kept = await run_in(intake.files, partial.resume, place, known, file.size, same_boot=same_boot)
    room = await intake.reserve.room()
    await run_in(intake.files, room.check, file.size - kept.size)
    part = await run_in(intake.files, Partial, place, kept)
    job.progress.file_id, job.progress.fetched_bytes = file.id, kept.size
    try:
        await job.note(kept)
        await _compare(job, part, max(0, kept.size - TAIL_BYTES), kept.size)
        await _read_rest(job, part, room, kept)
        await _check_whole(job, part)
        await run_in(intake.files, part.date, float(file.logged_at) or None)
        await run_in(intake.files, part.flush)
        await intake.outbox(card_files.fetched, file.id)
    finally:
        job.progress.file_id = None
        room.give_back()  # its row counts it from now on; of half a file the disk tells
        part.close()


async def _read_rest(job: Job, part: Partial, room: Room, kept: Kept) -> None:
    if kept.size == job.file.size:
        return
    writer = _Writer(job, part, room)
    try:
        await job.card.read(job.path, kept.size, job.file.size, writer.take)
    finally:
        await to_end(writer.keep())


async def _check_size(job: Job) -> None:
    size = await job.card.open_size(job.path)
    if size != job.file.size:
        raise NotSame(f"It had {job.file.size} bytes when it was listed and has {size} now.")


async def _compare(job: Job, part: Partial, start: int, end: int) -> None:
    """Raise :class:`NotSame` where the card holds other bytes there than the disk."""
    if start < end:
        here = await run_in(job.intake.files, part.read, start, end)
        if await job.on_card(start, end) != here:
            raise NotSame(
                f"The card holds other bytes from {start} to {end} than were fetched of it."
            )


async def _check_whole(job: Job, part: Partial) -> None:
    """Compare what can be compared without reading all of it twice."""
    size = part.kept.size
    if size != job.file.size:
        raise NotSame(f"{size} bytes of {job.file.size} came.")
    await _check_size(job)
    for _ in range(WINDOWS):
        start = random.randint(0, max(0, size - WINDOW_BYTES))  # noqa: S311 - no secret
        await _compare(job, part, start, min(size, start + WINDOW_BYTES))
    told = await _told_crc32(job) if size <= HASHED_BYTES else None
    if told not in {None, part.kept.crc32}:
        raise NotSame("The autopilot computes another checksum of it than that of what came.")


async def _told_crc32(job: Job) -> int | None:
    """The checksum by the autopilot's own reading; none where it tells none."""
    if not job.progress.hashes:
        return None
    try:
        return await job.card.crc32(job.path)
    except NotFound:
        raise
    except (FtpError, Silence) as error:
        log.info("autopilot tells no checksum reason=%s", error.message)
        job.progress.hashes = False
        return None
