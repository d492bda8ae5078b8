"""Take in only what leaves room: a reserve on the disk of the spool, and bounds for what waits.

The reserve is for the flight recorder and for the outbox itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.clock import Clock
from petal_s3.core.settings import MIB
from petal_s3.errors import LocalStorageError, Transient
from petal_s3.outbox import copies, queries
from petal_s3.outbox.thread import OutboxThread

RESERVE_BYTES = 512 * MIB
RESERVE_SHARE = 20
"""On a disk of which a 20th is less than that, the 20th."""
SPOOL_SHARE = 2
"""Copies that are not proven yet may fill a half of their disk."""
MOST_WAITING = 100_000
"""So many logs may wait before REST takes no more."""
PER_MINUTE = 600
"""So many logs and files REST takes in a minute."""


@dataclass(frozen=True)
class Space:
    """Of a file system, in bytes."""

    free: int
    total: int


def space_of(directory: Path) -> Space:
    """The space that this user has on the file system of ``directory``; blocking.

    Raises ``OSError``.
    """
    found = os.statvfs(directory)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def reserve_bytes(total: int, min_free: int) -> int:
    """How much stays free of a disk of ``total`` bytes: the setting MIN_FREE_BYTES, at least
    512 MiB or a 20th of the disk, whichever is less."""
    return max(min_free, min(RESERVE_BYTES, total // RESERVE_SHARE))


class Arrivals:
    """Counts the bytes that bodies and copies bring to the disk, from any thread.

    What was announced and has not come counts for nothing: whoever announces much and sends little
    would keep all others out.
    """

    def __init__(self) -> None:
        self.coming = 0
        """Of those that come now: no row has them yet."""
        self.settled = 0
        """Of those that have come whole, since this process began."""
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """Count ``size`` bytes that come."""
        with self._lock:
            self.coming += size

    def end(self, size: int, *, whole: bool) -> None:
        """What had ``size`` bytes has come whole, or was removed again."""
        with self._lock:
            self.coming -= size
            self.settled += size if whole else 0


@dataclass
class Room:
    """What one log may take of the disk; ``held``: bytes of copies that are not proven,
    ``given_up`` those among them whose rows were cancelled or died, both as of its beginning.
    ``arrivals`` tells what has come whole since, and what comes now, of this log and others."""

    place: Path
    min_free: int
    held: int
    given_up: int
    space: Callable[[Path], Space]
    arrivals: Arrivals

    def __post_init__(self) -> None:
        """Count from now on."""
        self._settled_before = self.arrivals.settled
        self._taken = 0

    def check(self, size: int) -> None:
        """Raise :class:`LocalStorageError` unless ``size`` bytes fit beside all that is there.

        Blocking.
        """
        try:
            disk = self.space(self.place)
        except OSError:
            return  # to write there says what is wrong
        reserve = reserve_bytes(disk.total, self.min_free)
        settled = self.arrivals.settled - self._settled_before
        held = self.held + settled + self.arrivals.coming
        if disk.free - size < reserve:
            raise LocalStorageError(
                f"No room for {size} bytes: {disk.free} bytes are free on the disk of"
                f" {self.place}, and {reserve} stay free for the flight recorder and the outbox."
                " Free some space there, or try again when what waits is up."
                f"{self._could_go()}"
            )
        if held + size > disk.total // SPOOL_SHARE:
            raise LocalStorageError(
                f"No room for {size} bytes: copies that are not up yet, and what comes in now, hold"
                f" {held} bytes in {self.place}, and may hold {disk.total // SPOOL_SHARE}. Try"
                f" again when they are up.{self._could_go()}",
                code="spool_full",
            )

    def take(self, size: int) -> None:
        """Count ``size`` bytes that are about to be written; raises as :meth:`check`."""
        self.check(size)
        self._taken += size
        self.arrivals.add(size)

    def give_back(self) -> None:
        """What was taken was removed again."""
        self._end(whole=False)

    def settle(self) -> None:
        """What was taken has come whole: from now on the outbox counts it."""
        self._end(whole=True)

    def _end(self, *, whole: bool) -> None:
        self.arrivals.end(self._taken, whole=whole)
        self._taken = 0

    def _could_go(self) -> str:
        if not self.given_up:
            return ""
        return (
            f" Copies of cancelled and dead rows hold {self.given_up} bytes: `petal-s3 cancel"
            " --purge` deletes them."
        )


class Reserve:
    """Whether anything more is taken in, and how much."""

    def __init__(self, outbox: OutboxThread, place: Path, min_free: int, now: Clock) -> None:
        """``place``: the spool."""
        self.space: Callable[[Path], Space] = space_of
        """Tells the space on the file system of a directory."""
        self._outbox = outbox
        self._place = place
        self._min_free = min_free
        self._now = now
        self._arrivals = Arrivals()
        self._allowed, self._allowed_at = float(PER_MINUTE), now()

    async def room(self) -> Room:
        """What one more log may take; raises :class:`LocalStorageError`."""
        held, given_up = await self._outbox(copies.held_bytes)
        return Room(self._place, self._min_free, held, given_up, self.space, self._arrivals)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count one log or file that REST takes in the block; what it refuses counts for nothing.

        Raises :class:`Transient` (``too_fast``) beyond 600 a minute.
        """
        now = self._now()
        gained = (now - self._allowed_at) * PER_MINUTE / 60
        self._allowed, self._allowed_at = min(float(PER_MINUTE), self._allowed + gained), now
        if self._allowed < 1:
            raise Transient(
                f"More than {PER_MINUTE} logs and files came by REST within a minute: try again in"
                " a second.",
                code="too_fast",
                retry_after_s=1.0,
            )
        self._allowed -= 1
        with contextlib.ExitStack() as refused:
            refused.callback(self._uncount)
            yield
            refused.pop_all()

    def _uncount(self) -> None:
        self._allowed += 1

    @contextlib.asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """As :meth:`counted`, for a row that REST asks for; raises
        :class:`LocalStorageError`, too, where too many wait."""
        with self.counted():
            counts = await self._outbox(queries.counts)
            waiting = counts["queued"] + counts["uploading"]
            if waiting >= MOST_WAITING:
                raise LocalStorageError(
                    f"{waiting} logs wait in the outbox already: no more are taken in this way"
                    " before some are up.",
                    code="outbox_full",
                )
            yield
