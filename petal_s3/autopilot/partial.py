"""The bytes of a log that is being fetched: a file that is only ever appended to; blocking.

What the outbox says of it (so many bytes, with this CRC-32) was on the disk before it was said.
After the death of the process the file may be longer: in the same boot all of it counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from petal_s3.core.crc32 import crc32
from petal_s3.core.files import SAFE_FLAGS, check_descriptors, remove, sync
from petal_s3.errors import LocalStorageError

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Kept:
    """So many bytes of a log are here; ``crc32``: of them."""

    size: int
    crc32: int


NOTHING = Kept(0, 0)


def place_of(state_dir: Path, file_id: int, path: str) -> Path:
    """Where the bytes of a file of the card lie until they are in the spool.

    The folder keeps its name: it may be the only one that tells the date of the log.
    """
    return state_dir / "fetching" / str(file_id) / Path(path).parent.name / Path(path).name


def resume(place: Path, known: Kept, most: int, *, same_boot: bool) -> Kept:
    """What of the file at ``place`` can be gone on with: nothing where its bytes are not as known.

    ``same_boot``: whether it was written since this machine was started. Raises
    :class:`LocalStorageError`.
    """
    with _storage_errors(place):
        try:
            fd = os.open(place, os.O_RDWR | SAFE_FLAGS)
        except FileNotFoundError:
            return NOTHING
        with os.fdopen(fd, "rb") as file:
            size = min(os.fstat(fd).st_size, most)
            if _crc32(file, known.size, 0) != known.crc32 or size < known.size:
                return NOTHING
            if not same_boot or size == known.size:
                return known
            return Kept(size, _crc32(file, size - known.size, known.crc32))


def _crc32(file: BinaryIO, size: int, so_far: int) -> int:
    while size > 0:
        block = file.read(min(size, _BLOCK_BYTES))
        if not block:
            break
        so_far = crc32(block, so_far)
        size -= len(block)
    return so_far


class Partial:
    """The open file; it grows by :meth:`append`."""

    def __init__(self, place: Path, kept: Kept) -> None:
        """Go on behind the bytes that are ``kept``: what lies behind them is cut off.

        Raises :class:`LocalStorageError`.
        """
        self.place = place
        self.kept = kept
        with _storage_errors(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | SAFE_FLAGS
            self._fd = os.open(place, flags, 0o600)
            os.ftruncate(self._fd, kept.size)
            sync(place.parent)

    def append(self, block: bytes) -> None:
        """Write ``block`` behind what is there; raises :class:`LocalStorageError`."""
        with _storage_errors(self.place):
            written = 0
            while written < len(block):
                written += os.pwrite(self._fd, block[written:], self.kept.size + written)
            self.kept = Kept(self.kept.size + len(block), crc32(block, self.kept.crc32))

    def flush(self) -> Kept:
        """Make all of it survive a power cut; returns what that is."""
        with _storage_errors(self.place):
            os.fsync(self._fd)
            return self.kept

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``."""
        with _storage_errors(self.place):
            return os.pread(self._fd, end - start, start)

    def date(self, modified_s: float | None) -> None:
        """Let the file be of that time, where one is known; it tells the time of a log without."""
        if modified_s is not None:
            with contextlib.suppress(OSError, OverflowError):
                os.utime(self._fd, (modified_s, modified_s))

    def close(self) -> None:
        """Close the file; it stays."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


def is_whole(place: Path, size: int) -> bool:
    """Whether a file of ``size`` bytes lies at ``place``."""
    with contextlib.suppress(OSError):
        return place.stat().st_size == size
    return False


def discard(state_dir: Path, file_id: int) -> None:
    """Remove what was fetched of a file."""
    folder = state_dir / "fetching" / str(file_id)
    with contextlib.suppress(OSError):
        for place in sorted(folder.rglob("*"), reverse=True):
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                remove(place)
        folder.rmdir()


def numbers(state_dir: Path) -> list[int]:
    """Of which files of the card something lies here."""
    with contextlib.suppress(OSError):
        names = [place.name for place in (state_dir / "fetching").iterdir()]
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())
    return []


@contextlib.contextmanager
def _storage_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"The state directory cannot hold {place.name} ({error.strerror})."
        ) from error
