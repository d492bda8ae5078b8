"""Open the file of a row, also where it was rotated to another name since it was entered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import NotAFlightLog, SourceChanged, SourceGone
from petal_s3.intake.moved_directories import moved_to
from petal_s3.logs.sniff import shown_name
from petal_s3.outbox import identities
from petal_s3.outbox.rows import REFUSED, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import Digest
from petal_s3.upload.source_file import SourceFile, renamed, replaced

log = logging.getLogger("petal_s3")


@dataclass(frozen=True)
class Opened:
    """A row, its open file, and what was read of it at once."""

    row: Row
    source: SourceFile
    whole: Digest | None = None


Look = Callable[[SourceFile], Digest | None]
"""Reads of a file that was opened just now; blocking."""


@dataclass(frozen=True)
class SourceOpener:
    """Opens the files of rows; ``files`` runs what reads from the disk.

    ``directories``: the log directories; one that was moved and left a link is followed.
    """

    outbox: OutboxThread
    files: Executor
    directories: Sequence[Path] = ()

    async def open(self, row: Row, look: Look = lambda _: None) -> Opened:
        """The row and its open file; raises as :class:`SourceFile`, and as ``look`` does.

        Raises :class:`NotAFlightLog` for a row that an earlier version queued unexamined.
        """
        if row.verdict == REFUSED:
            raise NotAFlightLog(
                f"{shown_name(row.name)} was no log when it was found; `retry` examines it anew.",
                code="not_examined",
            )
        try:
            return await self._opened(row, look)
        except NotAFlightLog as error:
            moved = await self._moved(row) if error.code == "not_allowed" else None
            if moved is None:
                raise
            return await self._opened(moved, look)
        except (SourceChanged, SourceGone) as error:
            rotated = not row.spooled and row.kind not in FLIGHT_KINDS
            followed = await self._followed(row) if rotated else None
            if followed is None:
                if rotated and not row.asked_key and await self._is_replaced(row):
                    # The file that has its name now is entered by itself.
                    raise SourceGone(
                        f"{Path(row.path).name} was rotated away before it was proven in S3."
                    ) from error
                raise
        log.info("file followed path=%s to=%s", ascii(row.path), ascii(followed.path))
        return await self._read(followed, look)

    async def _opened(self, row: Row, look: Look) -> Opened:
        opened = await self._read(row, look)
        if opened.source.identity == row.identity:
            return opened
        # Another inode of the same file: its time may change next.
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(opened.source.close)
            row = await self.outbox(identities.note_inode, row, opened.source.identity)
            on_failure.pop_all()
        return replace(opened, row=row)

    async def _read(self, row: Row, look: Look) -> Opened:
        """Open the file and look at it, in one turn on the thread."""
        work = asyncio.get_running_loop().run_in_executor(self.files, _open, row, look)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_close)  # it goes on to its end, and nobody takes what it opens
            raise

    async def _followed(self, row: Row) -> Row | None:
        """The row with the name that its file has now; none where it is not found."""
        now = await run_in(self.files, renamed, Path(row.path), row.identity)
        return await self.outbox(identities.change_path, row, str(now)) if now else None

    async def _moved(self, row: Row) -> Row | None:
        """The row with the place that its file has since its log directory was moved."""
        if row.spooled:
            return None
        now = await run_in(self.files, moved_to, row.path, self.directories)
        return await self.outbox(identities.move_path, row, now) if now else None

    async def _is_replaced(self, row: Row) -> bool:
        return await run_in(self.files, replaced, Path(row.path), row.identity)


def _open(row: Row, look: Look) -> Opened:
    source = SourceFile(Path(row.path), row.identity, real=not row.spooled)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(source.close)
        opened = Opened(row, source, look(source))
        on_failure.pop_all()
    return opened


def _close(work: asyncio.Future[Opened]) -> None:
    if not work.cancelled() and work.exception() is None:
        work.result().source.close()
