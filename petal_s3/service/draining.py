"""Open the outbox and drain it while this process holds the lock; mend both where they fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from petal_s3.core.signs import Signs
from petal_s3.core.tasks import any_of, cancel_and_wait, to_end
from petal_s3.errors import LocalStorageError
from petal_s3.intake.spooling import adopt_copies
from petal_s3.outbox import transitions
from petal_s3.outbox.state_dir import prepare
from petal_s3.outbox.storage_errors import DAMAGED
from petal_s3.service.assembly import Parts
from petal_s3.service.others import Others
from petal_s3.service.reasons import Reason, reason
from petal_s3.service.reporting import Reporter, import_all
from petal_s3.service.said_flight import SaidFlight

log = logging.getLogger("petal_s3")

REPORT_S = 2.0
_LONGEST_S = 600.0  # of a report, or of opening an outbox
_QUIET = 2.5  # so much less often is reported where nothing is under way


@dataclass(frozen=True)
class Timing:
    """Seconds between two tries: to get the lock, to use a disk that failed, to report."""

    lock_s: float = 1.0
    storage_s: float = 4.0
    report_s: float = REPORT_S


class Draining:
    """The drain of this process; several callers share one."""

    def __init__(self, parts: Parts, reporter: Reporter) -> None:
        self.deferred: Reason | None = None
        """Why the drain cannot begin; none when it can."""
        self.timing = Timing()
        self.said_flight = SaidFlight(parts)
        self._others = Others(parts, self.said_flight)
        self._settings, self._outbox = parts.base.settings, parts.base.outbox
        self._run = parts.base.files.run
        self._lock = parts.lock
        self._learner, self._drainer = parts.learner, parts.drainer
        self._signs = Signs(parts.base.now, _LONGEST_S)
        self._working: list[asyncio.Task[None]] = []
        self._works = (parts.drainer, parts.retention, parts.ageing, parts.fetcher)
        self._intake, self._watcher = parts.intake, parts.watcher
        self._reporter = reporter
        self._callers = 0
        self._task: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()
        """Held while the drain begins or ends."""
        self._rebuilding = False
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Something has changed that others should hear of soon."""
        self._others.stir()
        self._stirred.set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The running drain; empty when none runs."""
        return [] if self._task is None else [self._task]

    @property
    def is_alive(self) -> bool:
        """Whether the drain goes on, or waits for what it needs; false where it ended or hangs."""
        if not self.tasks or any(task.done() for task in (*self.tasks, *self._working)):
            return False
        signs = (self._signs, *((self._drainer.signs,) if self._working else ()))
        return self._rebuilding or all(one.are_fresh for one in signs)

    # -- opening

    async def open(self) -> None:
        """Open state directory and outbox, anew where they were removed underneath.

        Raises :class:`LocalStorageError`.
        """
        try:
            if await self._outbox.missing():
                await self._run(prepare, self._settings.state_dir)
                await self._open_outbox()
                await self._learner.load()
        except LocalStorageError as error:
            self._outbox.closed_by = error
            raise
        except OSError as error:
            why = f"The state directory cannot be used ({error.strerror})."
            self._outbox.closed_by = LocalStorageError(why)
            raise

    async def _open_outbox(self) -> None:
        try:
            await self._outbox.open()
        except LocalStorageError as error:
            if error.code != DAMAGED or not await to_end(self._run(self._lock.take)):
                raise
            try:
                await self._outbox.rebuild()
            finally:
                if not self._callers:
                    self._lock.give()

    def defer(self, error: Exception) -> None:
        """Remember why the drain cannot begin; it is tried again."""
        code = error.code if isinstance(error, LocalStorageError) else LocalStorageError.code
        why = reason(code, str(error))
        if why != self.deferred:  # logged once: it may go on for days
            log.warning("drain deferred reason=%s", why.sentence)
        self.deferred = why

    # -- beginning and ending

    async def begin(self) -> None:
        """Drain in the background, as soon as no other process does."""
        self._callers += 1
        async with self._switching:
            if self._task is None and self._callers:
                self._drainer.pause.block = None  # what held up the drain before is asked anew
                import_all()
                self._task = asyncio.create_task(self._drain())

    async def end(self) -> None:
        """The last caller stops the drain: its row is released, and others may drain."""
        self._callers -= 1
        await to_end(self._stop())

    async def _stop(self) -> None:
        async with self._switching:
            if self._callers or self._task is None:
                return
            await cancel_and_wait(self._task)
            self._task = None
            self._lock.give()

    @contextlib.asynccontextmanager
    async def during(self) -> AsyncIterator[None]:
        """Drain while the block runs, and not a moment longer."""
        try:
            await self.begin()
            yield
        finally:
            await self.end()

    # -- the drain

    async def _drain(self) -> None:
        following = asyncio.create_task(self._others.follow())
        try:
            await self._drain_in_turn()
        finally:
            await cancel_and_wait(following)

    async def _drain_in_turn(self) -> None:
        while True:
            while not await self._took_lock():
                self._signs.give()
                await asyncio.sleep(self.timing.lock_s)
            works = self._working = [asyncio.create_task(one.run()) for one in self._works]
            try:
                await self._report_while_ours()
            finally:
                self._working = []
                await cancel_and_wait(*works)
            # Outbox or lock were removed underneath: begin again with what lies there now.
            self._lock.give()
            self._drainer.pause.block = None
            self._watcher.ask_scan()

    async def _took_lock(self) -> bool:
        """Whether the outbox is ours to drain now; a disk that fails is asked again."""
        try:
            if await self._run(self._lock.lost):
                self._lock.give()
            await self.open()
            # A cancelled caller gives the lock back: the thread must not take it after that.
            if not await to_end(self._run(self._lock.take)):
                return False
            await self._outbox(transitions.release_claims)
            await self.said_flight.look()
            await adopt_copies(self._intake)
        except (OSError, LocalStorageError) as error:
            self.defer(error)
            if self._lock.held and isinstance(error, LocalStorageError) and error.code == DAMAGED:
                await self._rebuild(damaged=True)
            else:
                await asyncio.sleep(self.timing.storage_s)
            return False
        self.deferred = None
        return True

    async def _report_while_ours(self) -> None:
        with contextlib.suppress(LocalStorageError):  # only what is shown depends on it
            await self._reporter.recall()
        while await self._others.left_ours():
            self._signs.give()
            report = asyncio.create_task(self._mend_and_report())
            try:
                await asyncio.wait({report})
            finally:
                await cancel_and_wait(report)
            error = None if report.cancelled() else report.exception()
            if error is not None:  # of whatever kind: the uploads go on
                log.error("drain could not say how things are", exc_info=error)
            await self._rest()

    async def _rest(self) -> None:
        """Until the next report: often while something is under way."""
        self._stirred.clear()
        busy = self._watcher.settling or self._drainer.is_busy or not self._others.told
        pause_s = self.timing.report_s * (1.0 if busy else _QUIET)
        await any_of(self._stirred, self._others.replaced, within_s=pause_s)

    async def _mend_and_report(self) -> None:
        block = self._drainer.pause.block
        damaged = block is not None and block.code == DAMAGED
        if damaged or self._rebuilding:
            await self._rebuild(damaged=damaged)
        await self._reporter.publish_changes()
        with contextlib.suppress(LocalStorageError):  # what is not kept is learnt again
            await self._learner.keep()

    async def _rebuild(self, *, damaged: bool) -> None:
        """Begin a new outbox from what lies on the disk; the bucket tells what is up already.

        A disk that fails meanwhile is asked again, until all is done.
        """
        self._rebuilding = True
        try:
            if damaged or not self._outbox.is_open:
                await self._outbox.rebuild()
            await self._drainer.pause.retry_now()
            await adopt_copies(self._intake)
            self._drainer.pause.wake()
        except LocalStorageError as error:
            log.warning("outbox not rebuilt reason=%s", error.message)
            return
        self._rebuilding = False
        self._watcher.ask_scan()
