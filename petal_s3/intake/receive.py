"""Take a body in, piece by piece, onto the disk: memory stays flat at any size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.errors import (
    BadInput,
    LocalStorageError,
)
from petal_s3.intake import spool
from petal_s3.logs import rosbag
from petal_s3.logs.sniff import check_content, kind_of, refused, shown_name

_HEAD_BYTES = 64
_TEXT_BYTES = 1024
_GATHERED_BYTES = 1024 * 1024
_GATHERED_S = 30.0  # a sweep takes what nobody has written to for long as left by a crash

Run = Callable[..., Awaitable[Any]]


class Half:
    """A file of the spool that is being written; blocking. A sweep removes what a crash left.

    Who is cancelled discards it while a thread may still write to it: one waits for the other.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / f".{secrets.token_hex(16)}.part"
        self._file: BinaryIO | None = None
        self._settled = False
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        """Append; raises :class:`LocalStorageError` when the disk is full."""
        with self._lock, _on_disk():
            if self._settled:
                return
            if self._file is None:
                self._file = spool.made(self.path)
            self._file.write(block)
            self._file.flush()

    def finish(self) -> None:
        """Make what was written survive a power cut."""
        with self._lock, _on_disk():
            if self._file is not None and not self._settled:
                os.fsync(self._file.fileno())
                self._file.close()

    def keep(self, place: Path) -> None:
        """Bring it to its place in the spool; on disk when this returns."""
        with self._lock, _on_disk():
            self.path = self.path.replace(place)
            fd = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def leave_to(self, path: str) -> None:
        """A row has the file at ``path`` now: if that is this one, it stays."""
        with self._lock:
            self._settled = self._settled or str(self.path) == path

    def discard(self) -> None:
        """Remove it, unless it is left to a row; nothing is written any more."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
            if not self._settled:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            self._settled = True


async def take_in(  # noqa: PLR0913
    chunks: AsyncIterable[bytes],
    half: Half,
    name: str,
    *,
    max_bytes: int,
    idle_s: float,
    run: Run,
    kinds: frozenset[str] = FLIGHT_KINDS,
) -> None:
    """Write ``chunks`` to ``half``; on disk when this returns.

    What cannot be a flight log by its first bytes is refused before the rest is taken. ``name``:
    of the file, empty while nobody knows it. Raises
    :class:`NotAFlightLog` (``too_large`` beyond ``max_bytes``), :class:`BadInput` when nothing
    comes for ``idle_s`` seconds, :class:`LocalStorageError`.
    """
    shown = shown_name(name) if name else "the file"
    enough = _HEAD_BYTES if kinds <= FLIGHT_KINDS else _TEXT_BYTES
    size, head, gathered = 0, b"", bytearray()
    coming, now = aiter(chunks), asyncio.get_running_loop().time
    written_at = now()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(coming), idle_s)
        except StopAsyncIteration:
            break
        except asyncio.TimeoutError:
            raise BadInput(
                f"Nothing more came of {shown} for {idle_s:.0f} s.", code="body_stalled", status=408
            ) from None
        size += len(chunk)
        if size > max_bytes:
            raise refused("too_large", f"{shown} is too large: the limit is {max_bytes} bytes.")
        gathered += chunk
        if not head and len(gathered) >= enough:
            head = bytes(gathered[:enough])
            _check_head(head, name, shown, kinds)
        full = len(gathered) >= _GATHERED_BYTES or now() - written_at >= _GATHERED_S
        if head and full:
            await run(half.write, bytes(gathered))
            gathered.clear()
            written_at = now()
    if not size:
        raise refused("empty", f"{shown} is empty (0 bytes).")
    await run(half.write, bytes(gathered))
    await run(half.finish)


def _check_head(head: bytes, name: str, shown: str, kinds: frozenset[str]) -> None:
    if name:
        check_content(head, kind_of(name, shown, kinds), shown)
    elif not head.startswith(rosbag.MAGIC):
        check_content(head, "ulog", shown)


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"There is no room in the state directory for this log ({error.strerror})."
        ) from error
