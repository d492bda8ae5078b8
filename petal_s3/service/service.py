"""The verbs that all front ends share: enqueue, scan, status, wait, cancel, start, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterable, Callable, Collection
from typing import Any

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import LocalStorageError
from petal_s3.intake.again import retry
from petal_s3.intake.enqueue import enqueue
from petal_s3.intake.entry import PRIORITY_ASKED, RowOptions
from petal_s3.intake.flight_state import FlightState
from petal_s3.intake.receive import receive
from petal_s3.outbox import deletions, requests
from petal_s3.outbox.rows import Row
from petal_s3.s3.capabilities import Capabilities
from petal_s3.service.assembly import Parts, Seams, build
from petal_s3.service.draining import Draining
from petal_s3.service.overview import Overview
from petal_s3.service.reporting import Reporter
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import LandedView, StatusView
from petal_s3.service.waiting import Progress, Waiting


class Service:
    """Everything that lives as long as the process; every front end calls this."""

    def __init__(
        self,
        settings: Settings,
        *,
        host_machine_id: str | None = None,
        flight: FlightState | None = None,
        now: Clock = clock.now,
        wall: Clock = time.time,
        capabilities: Capabilities | None = None,
    ) -> None:
        """Nothing is opened yet; raises :class:`ConfigError` when no machine id can be had.

        ``wall``: the device's own idea of the date, which is shown but not believed.
        ``capabilities``: what the server offers, where that is known: then it is not tried.
        """
        seams = Seams(now, wall, capabilities)
        parts = build(settings, flight or FlightState(), host_machine_id, seams)
        base = parts.base
        self.settings = settings
        self.now = base.now
        """Seconds of the clock that cannot be set."""
        self.flight = parts.flight
        self.ownership = base.ownership
        self.machine_id = base.ownership.machine_ids[0]
        self.outbox = base.outbox
        self.tokens = base.tokens
        self.s3 = base.s3
        self.files = base.files
        self.lock = parts.lock
        self.objects = parts.objects
        self.learner = parts.learner
        self.uploader = parts.uploader
        self.orphans = parts.orphans
        self.drainer = parts.drainer
        self.gate = parts.gate
        self.retention, self.ageing = parts.retention, parts.ageing
        self.intake = parts.intake
        self.watcher, self.fetcher = parts.watcher, parts.fetcher
        self.stopping, self.listeners = False, 0
        """Whether it ends; how many clients are told of every change."""
        self._tasks: list[asyncio.Task[None]] = []
        self._connect(parts)

    def _connect(self, parts: Parts) -> None:
        self.reporter = Reporter(parts)
        self.drain = Draining(parts, self.reporter)
        self.waiting = Waiting(parts, self.reporter)
        self.overview = Overview(parts, self.drain, self.reporter)
        self.flight_gate, self.changes = parts.flight_gate, parts.changes
        self.changes.on_changed.append(self.reporter.publish_news)
        self.changes.on_settled.append(self._on_settled)

    # -- life

    async def open(self) -> None:
        """Open state directory and outbox; raises :class:`LocalStorageError`."""
        await self.drain.open()

    async def start(self, *, watch: bool = True) -> None:
        """Open, then drain (and watch the log directories) in the background.

        What the disk refuses now is tried again until it succeeds.
        """
        try:
            await self.open()
        except (OSError, LocalStorageError) as error:
            self.drain.defer(error)
        await self.drain.begin()
        if watch:
            self._tasks.append(asyncio.create_task(self.watcher.watch()))

    async def leave_off(self) -> None:
        """Stop draining and watching, and let others drain; who asks is still answered."""
        self.stopping = True
        await cancel_and_wait(*self._tasks, *self.drain.tasks)
        self.lock.give()

    async def stop(self) -> None:
        """Stop everything, leaving the outbox as it stands; safe to call twice."""
        await self.leave_off()
        for body in list(self.objects.at_end):
            await body.close()
        await self.s3.close()
        if self.tokens is not None:
            await self.tokens.close()
        try:
            await self.outbox.close()
        finally:
            self.lock.give()
            self.files.threads.shutdown(wait=False)

    def stir(self) -> None:
        """What is known of the vehicle has changed: whoever waits for events looks now."""
        self.watcher.stir()
        self.drain.stir()
        self.fetcher.wake()

    def draining(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Drain while the block runs, and not a moment longer; several callers share one drain."""
        return self.drain.during()

    # -- taking logs in

    async def scan(self) -> int:
        """Look through the log directories; return how many new files are waited for."""
        return await self.watcher.scan()

    async def landed(self) -> LandedView:
        """A flight has ended: scan now, take what has settled."""
        found, enqueued = await self.watcher.scan_and_accept()
        await self.drainer.pause.retry_now()
        return self.overview.landed(found, enqueued)

    async def enqueue(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        name: str | None = None,
        priority: int = PRIORITY_ASKED,
        inside_only: bool = False,
        writing: Collection[str] | None = None,
        **more: Any,
    ) -> Row:
        """Enter a file by its path, durably, without waiting for its upload.

        ``writing``: as :func:`petal_s3.intake.enqueue.enqueue` takes it. ``more``:
        ``session_id``, ``kinds``, ``facts``, ``received_by`` and ``on_copied`` of
        :class:`RowOptions`. Raises as :func:`petal_s3.intake.enqueue.enqueue`.
        """
        options = RowOptions(name=name, key=key or "", priority=priority, **more)
        return await enqueue(self.intake, path, options, inside_only=inside_only, writing=writing)

    async def receive(
        self,
        chunks: AsyncIterable[bytes],
        name: str | Callable[[], str],
        *,
        key: str | None = None,
        announced: int = 0,
        **more: Any,
    ) -> Row:
        """Enter a body that comes in pieces, durably.

        ``announced``: how many bytes are to come, 0 where that is not known. ``more``:
        ``priority``, ``session_id``, ``kinds``, ``facts`` and ``received_by`` of
        :class:`RowOptions`.
        Raises as :func:`petal_s3.intake.receive.receive`.
        """
        options = RowOptions(key=key or "", **more)
        idle_s = self.settings.request_timeout
        return await receive(self.intake, chunks, name, options, idle_s=idle_s, announced=announced)

    # -- rows

    async def wait(
        self,
        row_id: int,
        *,
        patience_s: float | None = None,
        while_blocked: bool = True,
        on_progress: Progress | None = None,
    ) -> Row:
        """Return the row once it is settled.

        Raises :class:`NotNow` when nothing has moved for ``patience_s`` seconds, or as soon as
        nothing at all is sent (unless ``while_blocked``): the row stays and is sent later.
        ``on_progress`` gets bytes moved, size and bytes per second.
        """
        patience_s = self.settings.request_timeout if patience_s is None else patience_s
        return await self.waiting.wait(row_id, patience_s, while_blocked, on_progress)

    async def cancel(
        self, row_id: int, reason: str = "Cancelled on request.", *, purge: bool = False
    ) -> Row:
        """Give a row up; what was sent of it is aborted, its copy in the spool stays for a day.

        ``purge``: the copy is deleted now, also where the row was cancelled before.
        """
        row = await self.outbox(requests.cancel, row_id, reason, purge=purge)
        await self.changes.settled(row)
        self.drainer.pause.wake()
        return row

    async def retry(self, row_id: int) -> Row:
        """Try a row now, or again, as :func:`petal_s3.intake.again.retry`."""
        row = await retry(self.intake, row_id)
        await self.drainer.pause.retry_now()
        return row

    async def pin(self, row_id: int, *, pinned: bool) -> Row:
        """Keep the file of a row as long as the disk allows, or let it go like any other."""
        return await self.outbox(deletions.pin, row_id, pinned=pinned)

    async def _on_settled(self, row: Row) -> None:
        if row.state == "verified":
            self.retention.wake()
        await self.ageing.settled(row)

    # -- answers

    async def rows(
        self, *, state: str | None = None, limit: int = 100, token: int | None = None
    ) -> list[RowView]:
        """Rows, the latest first."""
        return await self.overview.rows(state, limit, token)

    async def row(self, row_id: int) -> RowView:
        """One row; raises :class:`S3FileNotFoundError`."""
        return await self.overview.row(row_id)

    async def status(self) -> StatusView:
        """How things are."""
        return await self.overview.status()
