"""Find finished logs: scan the log directories, wait until files settle, enter them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.threads import run_in
from petal_s3.errors import LocalStorageError, NotAFlightLog, NotFinished, S3IntegrationError
from petal_s3.intake.deleted_files import note_deleted
from petal_s3.intake.entry import PRIORITY_FOUND, Intake, RowOptions, enter_log, enter_refused
from petal_s3.intake.files_with_rows import was_rotated, without_row, written
from petal_s3.intake.flight_state import FlightState
from petal_s3.intake.log_directories import directory_of
from petal_s3.intake.looking import Found, in_chunks
from petal_s3.intake.moved_directories import follow
from petal_s3.intake.noticing import Noticing
from petal_s3.intake.settling import FoundFile, StableFiles
from petal_s3.intake.unclosed import UnclosedBags
from petal_s3.intake.writers import locked
from petal_s3.outbox import identities, known_directories
from petal_s3.outbox.rows import printable

log = logging.getLogger("petal_s3")

# A log that was found is of the kinds of its directory, and has the name and the key that follow.
_FOUND = RowOptions(priority=PRIORITY_FOUND, kinds=frozenset(), received_by="scan")


class Watcher:
    """Watches the log directories, and enters each log once its recorder has finished it."""

    poll_s = 0.25
    """Seconds between two checks of the files that are waited for."""
    retry_s = 2.0
    """Seconds until a scan that failed is repeated."""
    compare_s = 5.0
    """For so many seconds proven files with another time are compared, then a scan may be due."""

    def __init__(self, intake: Intake, flight: FlightState, *, now: Clock = clock.now) -> None:
        self.settling = StableFiles(intake.settings.settle_seconds)
        self.noticing = Noticing(intake.settings, now, self.settling.watches)
        self._intake = intake
        self._flight = flight
        self.now = now
        self._failure = self._unread = ""
        self._unclosed = UnclosedBags()
        self._flights_ended = 0
        self._looked_at = (-1, -1)

    @property
    def trouble(self) -> str:
        """Why there may be logs that are not found or entered now; empty when all is well."""
        return self._failure or self._unread

    @property
    def held(self) -> list[str]:
        """Files that no longer change and are taken only after the flight."""
        armed = self._flight.state(self.now()) == "armed"
        return self.settling.ready(self.now(), not_before=None) if armed else []

    @property
    def has_landed(self) -> bool:
        """Whether a flight ended so short ago that files settle from then on."""
        ended_at, settle_s = self._flight.ended_at, self._intake.settings.settle_seconds
        return ended_at is not None and self.now() - ended_at < settle_s

    @property
    def advice(self) -> list[str]:
        """What a person should do so that every log is found."""
        return [*self.noticing.advice, *self._unclosed.advice]

    def ask_scan(self) -> None:
        """Scan soon: there may be a new log."""
        self.noticing.ask()

    def stir(self) -> None:
        """Something has changed that :meth:`step` may have to see."""
        self.noticing.stirred.set()

    async def watch(self) -> None:
        """Repeat :meth:`step`, until cancelled; what fails is repeated a little later."""
        self.noticing.begin()
        try:
            while True:
                # A step that crashes must not end the watch: the next one may fare better.
                [failure] = await asyncio.gather(self.step(), return_exceptions=True)
                await self._rest(self._noted(failure))
        finally:
            await self.noticing.end()

    async def _rest(self, pause_s: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.noticing.stirred.wait(), pause_s)
        self.noticing.stirred.clear()

    async def step(self) -> None:
        """Scan if asked, if it is time or if a flight has ended; enter files that have settled.

        Raises :class:`LocalStorageError` while state directory or outbox cannot be used.
        """
        await self.noticing.look(self._intake.files)
        if self._flight_has_ended() or self.noticing.due():
            await self.scan()
        await self.accept_settled()

    def _noted(self, failure: BaseException | None) -> float:
        """Log why a step failed, if it did; return how many seconds to wait for the next one."""
        known, self._failure = self._failure, ""
        if failure is None:
            # A flight ends also by silence; files settle by themselves.
            polls = self.settling or self._flight.state(self.now()) == "armed"
            return self.poll_s if polls else max(self.poll_s, self.noticing.wait_s())
        if isinstance(failure, S3IntegrationError):
            self._failure = failure.message
            if self._failure != known:  # logged once: the disk may be full of such lines
                log.warning("scan deferred code=%s reason=%s", failure.code, self._failure)
        elif isinstance(failure, Exception):
            log.error("scan crashed", exc_info=failure)
        else:
            raise failure
        return self.retry_s

    def _flight_has_ended(self) -> bool:
        self._flight.state(self.now())
        known, self._flights_ended = self._flights_ended, self._flight.flights_ended
        return self._flights_ended != known

    async def scan(self) -> int:
        """Look through the log directories; return how many new files are waited for.

        Raises :class:`LocalStorageError`.
        """
        intake = self._intake
        self.noticing.begins()
        await follow(intake)
        known = await intake.outbox(known_directories.known)
        found = Found()
        new = await self._watch_new(in_chunks(intake.settings, found, known))
        if found.trouble and found.trouble != self._unread:
            log.warning("folder not read reason=%s", found.trouble)
        self._unread = found.trouble
        await self._remember(found, known)
        writing = await run_in(intake.files, intake.open_for_writing, found.unclosed)
        self._unclosed.note(found.unclosed, writing, self.now(), time.time())
        await note_deleted(intake)
        await self.noticing.ended(found, intake.files)
        return new

    async def _remember(self, found: Found, known: Mapping[str, bool]) -> None:
        """Which log directories were there outlasts this process; written where it changes."""
        if found.there != known:
            configured = frozenset(map(str, self._intake.settings.directories))
            await self._intake.outbox(known_directories.remember, found.there, configured)

    async def _watch_new(self, looking: Iterator[list[FoundFile]]) -> int:
        intake, new = self._intake, 0
        while files := await run_in(intake.files, next, looking, None):
            found = await without_row(intake, files)
            fresh = [file for file in found if not await was_rotated(intake, *file)]
            new += self.settling.watch(fresh, self.now())
        self.stir()  # whoever scans: the watch has to see when they settle
        return new

    async def scan_and_accept(self) -> tuple[int, int]:
        """Scan now and enter what has settled: how many files were found, how many entered."""
        await self.scan()
        return len(self.settling), await self.accept_settled()

    async def accept_settled(self) -> int:
        """Enter the files that have settled, unless armed; return how many got a new row.

        Raises :class:`LocalStorageError`.
        """
        files = self._intake.files
        if self.settling:
            await run_in(files, self.settling.check, self.now())
            await self._forget_entered()
        if not self.settling or self._flight.state(self.now()) == "armed":
            return 0
        ready = self.settling.ready(self.now(), not_before=self._flight.ended_at)
        writing = await run_in(files, self._intake.open_for_writing, ready)
        accepted = 0
        try:
            known: list[str] = []
            for path in sorted(ready):  # of one flight the first file comes first
                if path in writing or await run_in(files, locked, path):
                    self.settling.busy(path, self.now())
                elif await self._proven_before(path):
                    known.append(path)
                else:
                    accepted += await self._accept(path)
            accepted += await self._accept_known(known)
        finally:
            if accepted:  # also when the disk was full for the next one
                self._intake.on_enqueued()
        return accepted

    async def _forget_entered(self) -> None:
        """Watch no longer what somebody has enqueued by its path meanwhile: it has its row."""
        if (changed := await self._intake.outbox(written)) == self._looked_at:
            return
        left = {path for path, _ in await without_row(self._intake, self.settling.files)}
        for path in self.settling.paths:
            if path not in left:
                self.settling.done(path)
        self._looked_at = changed

    async def _proven_before(self, path: str) -> bool:
        """Whether a file of its path and size was proven: it is compared, after what is new."""
        watched = self.settling.identity(path)
        if watched is None or path != printable(path):
            return False
        return bool(await self._intake.outbox(identities.proven_at, path, watched.size))

    async def _accept_known(self, paths: list[str]) -> int:
        """Accept files that may be proven ones with another time, for a while and unless armed."""
        accepted, until = 0, self.now() + self.compare_s
        for path in paths:
            accepted += await self._accept(path)
            if self.now() >= until or self._flight.state(self.now()) == "armed":
                break
        return accepted

    async def _accept(self, path: str) -> bool:
        """Enter a file; whether it has a new row. It is watched further only if it changed."""
        intake, known = self._intake, False
        directory = await run_in(intake.files, directory_of, Path(path), intake.directories)
        try:
            row = await enter_log(intake, Path(path), _FOUND, directory=directory)
            known = row.state == "verified"
        except NotAFlightLog as error:
            await enter_refused(intake, Path(path), error, directory, received_by="scan")
        except NotFinished:
            self.settling.busy(path, self.now())
            return False
        except LocalStorageError:
            raise
        except S3IntegrationError as error:
            log.warning("log not accepted path=%s reason=%s", ascii(path), error.message)
            self.settling.done(path)
            return False
        self.settling.done(path)
        return not known
