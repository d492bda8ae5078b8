"""Run the outbox on a thread of its own: SQLite connections belong to one thread."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import LocalStorageError
from petal_s3.outbox.database import GONE, file_id_of, is_away, set_aside
from petal_s3.outbox.forking import in_turn
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.storage_errors import storage_errors

log = logging.getLogger("petal_s3")

P = ParamSpec("P")
T = TypeVar("T")


class OutboxThread:
    """An outbox whose calls run on one thread, and are awaited."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="petal-s3-outbox")
        self._closed = False
        self.opened: Outbox | None = None
        """The open database, to be used on its thread alone; none while it is closed."""
        self.server_s: Callable[[], int | None] = lambda: None
        """S3's time in seconds since 1970, for the journal; none while it is not known."""
        self.now: Clock = clock.now
        """Seconds of the clock that cannot be set."""
        self.closed_by: LocalStorageError | None = None
        """Why it could not be opened, when that was tried last."""

    @property
    def is_open(self) -> bool:
        """Whether the database is open; a rebuild that failed leaves it closed."""
        return self.opened is not None

    async def missing(self) -> bool:
        """Whether it has to be opened: it is closed, or no longer the file at its path.

        Raises :class:`LocalStorageError` while the disk that it lies on is not mounted.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._missing)

    def _missing(self) -> bool:
        if self.opened is None:
            return True
        with storage_errors(self._path):
            there, known = file_id_of(self._path), self.opened.sql.file_id
            if there is None and known is not None and is_away(self._path, known[0]):
                raise LocalStorageError(
                    f"The disk that holds the outbox {self._path} is not mounted: mount it again.",
                    code=GONE,
                )
            return there != known

    async def open(self) -> None:
        """Open the database where it is :meth:`missing`; raises :class:`LocalStorageError`."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._open)

    def _open(self) -> None:
        if not self._missing():
            return
        old, self.opened = self.opened, self._told_time(Outbox(self._path))
        if old is not None:
            log.error("outbox was gone, opened anew path=%s", self._path)
            with suppress(sqlite3.Error):
                old.close()

    def _told_time(self, outbox: Outbox) -> Outbox:
        outbox.server_s = self.server_s
        outbox.now = self.now
        return outbox

    async def rebuild(self) -> None:
        """Set a damaged database aside and begin a new one; only while the drain lock is held."""
        outbox, self.opened = self.opened, None
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._thread, _anew, outbox, self._path)
        self.opened = self._told_time(made)

    async def close(self) -> None:
        """Close the database and end the thread; safe to call twice."""
        self._closed = True
        outbox, self.opened = self.opened, None
        if outbox is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, outbox.close)
        self._thread.shutdown(wait=False)

    async def __call__(
        self, verb: Callable[Concatenate[Outbox, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function on the outbox on the thread: ``await outbox(queries.get, row_id)``.

        A cancelled caller does not undo the call: what was started is committed.
        """
        outbox = self.opened
        if outbox is None:
            raise self.why_closed()
        loop = asyncio.get_running_loop()

        def call() -> T:
            with outbox.sql.there():
                return verb(outbox, *args, **kwargs)

        return await loop.run_in_executor(self._thread, call)

    @property
    def is_starting(self) -> bool:
        """Whether it was not tried yet to open it."""
        return self.opened is None and not self._closed and self.closed_by is None

    def why_closed(self) -> LocalStorageError:
        """Why it is not open. A full disk is 507; what is over soon, or with this process, 503."""
        if self._closed:
            return LocalStorageError("The outbox is closed.", code="closed", status=503)
        if self.closed_by is not None:
            known = self.closed_by
            why = LocalStorageError(known.message, code=known.code, status=known.status)
            why.__cause__ = self.closed_by
            return why
        return LocalStorageError(
            "petal-s3 is starting: its outbox is not open yet.",
            code="starting",
            status=503,
            retry_after_s=1,
        )


def _anew(old: Outbox | None, path: Path) -> Outbox:
    if old is not None:
        with suppress(sqlite3.Error):
            old.close()
    with storage_errors(path), in_turn(path.parent):
        aside = set_aside(path)
    log.error("outbox damaged, set aside as=%s", aside)
    return Outbox(path)
