"""Notice what other processes do to the outbox: by file-system events, else by looking often."""

from __future__ import annotations

import asyncio
import contextlib

from petal_s3.core.event_reader import EventReader
from petal_s3.core.inotify import COMES, ENDS, GOES, MODIFIED, OVERFLOWED, Event, Inotify
from petal_s3.errors import LocalStorageError, S3IntegrationError
from petal_s3.intake.places import MountTable
from petal_s3.outbox import queries
from petal_s3.service import said_flight
from petal_s3.service.assembly import Parts
from petal_s3.service.said_flight import SaidFlight

SELDOM_S = 120.0
"""How often it is looked where events tell of each change."""
_REST_S = 0.5
_DATABASE, _LOCK = "outbox.db", "drain.lock"


class Others:
    """Follows the other processes on the outbox: what they enter, what they say of the flight."""

    def __init__(self, parts: Parts, said: SaidFlight) -> None:
        self._base = parts.base
        self._lock = parts.lock
        self._checked_at = float("-inf")
        self._pause = parts.drainer.pause
        self._fetcher = parts.fetcher
        self._said = said
        self._version = -1
        self._reader: EventReader | None = None
        self._stirred = asyncio.Event()
        self.replaced = asyncio.Event()
        """Set when outbox or lock may be other files than before, or gone."""

    @property
    def told(self) -> bool:
        """Whether file-system events tell of each change."""
        return self._reader is not None

    def stir(self) -> None:
        """Look soon: something has changed in this process."""
        self._stirred.set()

    async def follow(self) -> None:
        """Follow for ever; cancel to stop."""
        mounts, loop = MountTable(), asyncio.get_running_loop()
        if mounts.fd is not None:
            loop.add_reader(mounts.fd, self._on_mounts)
        try:
            while True:
                await self._listen()
                with contextlib.suppress(S3IntegrationError):
                    await self.look()
                every_s = SELDOM_S if self.told else said_flight.LOOK_S
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), every_s)
                self._stirred.clear()
        finally:
            self._close()
            if mounts.fd is not None:
                loop.remove_reader(mounts.fd)
            mounts.close()

    async def look(self) -> None:
        """Take in what others have written; raises :class:`LocalStorageError`."""
        version = await self._base.outbox(queries.version)
        changed, self._version = version != self._version, version
        if changed:
            self._pause.others_wrote()
            await self._fetcher.others_wrote()
        await self._said.look()

    async def left_ours(self) -> bool:
        """Whether outbox and lock are still the files that others would open."""
        base, now = self._base, self._base.now()
        recently = now - self._checked_at < SELDOM_S
        if self.told and base.outbox.is_open and recently and not self.replaced.is_set():
            return True
        self.replaced.clear()
        self._checked_at = now
        try:
            if await base.files.run(self._lock.lost):
                return False
            return not base.outbox.is_open or not await base.outbox.missing()
        except LocalStorageError:
            return False

    async def _listen(self) -> None:
        if self._reader is None:
            source = await self._base.files.run(watched_folder, str(self._base.settings.state_dir))
            if source is not None:
                self._reader = EventReader(source, self._on_events, self._on_failure, _REST_S)

    def _on_events(self, events: list[Event]) -> None:
        for _, what, name in events:
            if what & (ENDS | OVERFLOWED):
                self._close()
            elif not name.startswith((_DATABASE, _LOCK)):
                continue
            if what & (ENDS | OVERFLOWED) or (what & (COMES | GOES) and name in {_DATABASE, _LOCK}):
                self.replaced.set()
            self.stir()

    def _on_mounts(self) -> None:
        """Another disk may lie over the state directory, or its own may be away."""
        self.replaced.set()
        self.stir()

    def _on_failure(self, _: OSError) -> None:
        self._reader = None
        self.stir()

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def watched_folder(folder: str) -> Inotify | None:
    """The events of what is written in a folder; none where they cannot be had; blocking."""
    try:
        with contextlib.ExitStack() as on_error:
            made = Inotify()
            on_error.callback(made.close)
            made.watch(folder, COMES | GOES | MODIFIED)
            on_error.pop_all()
            return made
    except OSError:
        return None
