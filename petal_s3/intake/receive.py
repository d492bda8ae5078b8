"""Enter a body that comes in pieces: each piece goes to the disk, memory stays flat at any size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from petal_s3.core.files import check_descriptors, create_private, remove, sync
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.tasks import to_end
from petal_s3.core.threads import run_in
from petal_s3.errors import BadInput, LocalStorageError, NotAFlightLog
from petal_s3.intake.entry import Intake, RowOptions
from petal_s3.intake.reserve import Room
from petal_s3.intake.spooling import enter_copy
from petal_s3.logs.sniff import check_content, kind_of, kind_of_content, refused, shown_name
from petal_s3.outbox.rows import Row

_HEAD_BYTES = 64
_TEXT_BYTES = 1024
_GATHERED_BYTES = 1024 * 1024
_FORM_BYTES = 64 * 1024  # of what is announced, at most that much is about the file
GATHERED_S = 30.0  # a sweep removes a file that was not written to for long as left by a crash


async def receive(
    intake: Intake,
    chunks: AsyncIterable[bytes],
    name: str | Callable[[], str],
    options: RowOptions,
    *,
    idle_s: float = 60.0,
    announced: int = 0,
) -> Row:
    """Enter a body that comes in pieces, of whatever size; durable when this returns.

    It goes straight to the spool. ``name``: that of the file, or a function that tells it when
    all has come; the name in ``options`` is not used. ``announced``: how many bytes are to come,
    0 where that is not known. Raises as :func:`~petal_s3.intake.enqueue.enqueue`,
    :class:`BadInput` when nothing comes for ``idle_s`` seconds, and :class:`LocalStorageError`
    where the disk has no room for them, before the first is taken. A body that breaks off leaves
    nothing behind.
    """
    options = intake.with_checked_key(options)
    known = name if isinstance(name, str) else None
    if known is not None:
        kind_of(known, shown_name(known), options.kinds)  # before a byte of it is taken
    room = await intake.reserve.room()
    limit = intake.settings.max_file_size
    if announced > limit + _FORM_BYTES:
        raise _too_large(shown_name(known) if known else "the file", limit)
    await run_in(intake.files, room.check, announced)
    part = PartialFile(intake.spool, room)
    try:
        await write_stream(intake, chunks, part, known or "", kinds=options.kinds, idle_s=idle_s)
        final = name if isinstance(name, str) else name()
        row = await to_end(_enter(intake, part, replace(options, name=final)))
    finally:
        await run_in(intake.files, part.discard)
    intake.on_enqueued()
    return row


async def _enter(intake: Intake, part: PartialFile, options: RowOptions) -> Row:
    row = await enter_copy(intake, part.path, options, put_in_place=part.keep)
    part.leave_to(row.path)
    return row


class PartialFile:
    """A file of the spool that is being written; blocking. A sweep removes what a crash left.

    A cancelled task may discard it while a thread still writes to it: one waits for the other.
    """

    def __init__(self, directory: Path, room: Room | None = None) -> None:
        """``room``: what it may take of the disk; none: that is not looked at."""
        self.path = directory / f".{secrets.token_hex(16)}.part"
        self._room = room
        self._file: BinaryIO | None = None
        self._settled = False
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        """Append; raises :class:`LocalStorageError` when the disk is full, or would be."""
        with self._lock, _storage_errors():
            if self._settled:
                return
            if self._room is not None:
                self._room.take(len(block))
            if self._file is None:
                self._file = create_private(self.path)
            self._file.write(block)
            self._file.flush()

    def finish(self) -> None:
        """Make what was written survive a power cut; raises :class:`LocalStorageError`."""
        with self._lock, _storage_errors():
            if self._file is not None and not self._settled:
                os.fsync(self._file.fileno())
                self._file.close()

    def keep(self, target: Path) -> None:
        """Move it to its path in the spool; on disk when this returns."""
        with self._lock, _storage_errors():
            self.path = self.path.replace(target)
            sync(target.parent)

    def leave_to(self, path: str) -> None:
        """A row has the file at ``path`` now: if that is this one, it stays."""
        with self._lock:
            self._settled = self._settled or str(self.path) == path
            if self._settled and self._room is not None:
                self._room.settle()

    def discard(self) -> None:
        """Remove it, unless it is left to a row; nothing is written any more."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
            if not self._settled:
                remove(self.path)
                if self._room is not None:
                    self._room.give_back()
            self._settled = True


async def write_stream(
    intake: Intake,
    chunks: AsyncIterable[bytes],
    part: PartialFile,
    name: str,
    *,
    kinds: frozenset[str],
    idle_s: float,
) -> None:
    """Write ``chunks`` to ``part``; on disk when this returns.

    A body whose first bytes cannot be those of a log is refused before the rest is taken.
    ``name``: of the file, empty while it is not known. Raises :class:`NotAFlightLog`
    (``too_large`` beyond the setting ``max_file_size``), :class:`BadInput` when nothing comes for
    ``idle_s`` seconds, and :class:`LocalStorageError`.
    """
    shown = shown_name(name) if name else "the file"
    max_bytes = intake.settings.max_file_size
    enough = _HEAD_BYTES if kinds <= FLIGHT_KINDS else _TEXT_BYTES
    size, checked, gathered = 0, False, bytearray()
    now = asyncio.get_running_loop().time
    written_at = now()
    coming = aiter(chunks)
    while (chunk := await _next_chunk(coming, shown, idle_s)) is not None:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(shown, max_bytes)
        gathered += chunk
        if not checked and len(gathered) >= enough:
            checked = True
            check_head(bytes(gathered[:enough]), name, shown, kinds)
        full = len(gathered) >= _GATHERED_BYTES or now() - written_at >= GATHERED_S
        if checked and full:
            await run_in(intake.files, part.write, bytes(gathered))
            gathered.clear()
            written_at = now()
    if not size:
        raise refused("empty", f"{shown} is empty (0 bytes).")
    await run_in(intake.files, part.write, bytes(gathered))
    await run_in(intake.files, part.finish)


def _too_large(shown: str, limit: int) -> NotAFlightLog:
    return refused("too_large", f"{shown} is too large: the limit is {limit} bytes.")


async def _next_chunk(coming: AsyncIterator[bytes], shown: str, idle_s: float) -> bytes | None:
    """The next chunk, none at the end; raises :class:`BadInput` when none comes in ``idle_s``."""
    try:
        return await asyncio.wait_for(anext(coming), idle_s)
    except StopAsyncIteration:
        return None
    except asyncio.TimeoutError:
        raise BadInput(
            f"Nothing more came of {shown} for {idle_s:.0f} s.", code="body_stalled", status=408
        ) from None


def check_head(head: bytes, name: str, shown: str, kinds: frozenset[str]) -> None:
    """Raise :class:`NotAFlightLog` when a body does not begin as one of its name or kinds."""
    if name:
        check_content(head, kind_of(name, shown, kinds), shown)
    else:
        check_content(head, kind_of_content(head) or "ulog", shown)


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"The state directory cannot hold this log ({error.strerror})."
        ) from error
