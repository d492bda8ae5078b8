"""Take in only what leaves room: a reserve on the disk of the spool, and bounds for what waits.

The reserve is for the flight recorder and for the outbox itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
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


@dataclass
class Coming:
    """A body whose size was announced: ``left`` of it have not come yet."""

    left: int


@dataclass(frozen=True)
class Room:
    """What one log may take of the disk; ``held``: bytes of copies that are not proven,
    ``given_up`` those among them whose rows were cancelled or died, ``expected``: bytes that
    others have announced."""

    place: Path
    min_free: int
    held: int
    given_up: int
    expected: int
    space: Callable[[Path], Space]

    def check_all(self, size: int) -> None:
        """Raise :class:`LocalStorageError` unless ``size`` bytes fit beside all others.

        Blocking.
        """
        self._check(size, self.expected, 0)

    def check(self, size: int, written: int = 0) -> None:
        """As :meth:`check_all`, for the next bytes of a log of which ``written`` have come."""
        self._check(size, 0, written)

    def _check(self, size: int, expected: int, written: int) -> None:
        try:
            disk = self.space(self.place)
        except OSError:
            return  # to write there says what is wrong
        reserve, held = reserve_bytes(disk.total, self.min_free), self.held + expected + written
        if disk.free - expected - size < reserve:
            raise LocalStorageError(
                f"No room for {size} bytes: {disk.free - expected} bytes are free on the disk of"
                f" {self.place}, and {reserve} stay free for the flight recorder and the outbox."
                " Free some space there, or try again when what waits is up."
                f"{self._could_go()}"
            )
        if held + size > disk.total // SPOOL_SHARE:
            raise LocalStorageError(
                f"No room for {size} bytes: copies that are not up yet hold {held} bytes in"
                f" {self.place}, and may hold {disk.total // SPOOL_SHARE}. Try again when"
                f" they are up.{self._could_go()}",
                code="spool_full",
            )

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
        self._coming: list[Coming] = []
        self._allowed, self._allowed_at = float(PER_MINUTE), now()

    async def room(self) -> Room:
        """What one more log may take; raises :class:`LocalStorageError`."""
        held, given_up = await self._outbox(copies.held_bytes)
        expected = sum(one.left for one in self._coming)
        return Room(self._place, self._min_free, held, given_up, expected, self.space)

    @contextlib.contextmanager
    def expecting(self, size: int) -> Iterator[Coming]:
        """While the block runs, ``size`` bytes are expected: others leave room for them."""
        coming = Coming(size)
        self._coming.append(coming)
        try:
            yield coming
        finally:
            self._coming.remove(coming)

    def slow_down(self) -> None:
        """Count one log or file that REST takes; raises :class:`Transient` (``too_fast``) beyond
        600 a minute."""
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

    async def admit(self) -> None:
        """Count one row that REST asks for; raises as :meth:`slow_down`, and
        :class:`LocalStorageError` where too many wait."""
        self.slow_down()
        counts = await self._outbox(queries.counts)
        waiting = counts["queued"] + counts["uploading"]
        if waiting >= MOST_WAITING:
            raise LocalStorageError(
                f"{waiting} logs wait in the outbox already: no more are taken in this way before"
                " some are up.",
                code="outbox_full",
            )
