"""Take one proven file off the disk so that nothing unproven can go with it; all of it blocks."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.files import flush_to_disk
from petal_s3.errors import SourceChanged
from petal_s3.intake.writers import locked, open_for_writing
from petal_s3.logs.opening import Identity
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.s3.checksums import crc32_base64, digest

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class NotDeleted(Exception):
    """This file stays; ``for_good``: there is no use in looking at it again."""

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


@dataclass(frozen=True)
class Opened:
    """A file under examination, with the directory it lies in, as it was when it was opened."""

    fd: int
    directory: int
    name: str
    path: Path
    identity: Identity

    @property
    def links(self) -> int:
        """How many names the file has: to remove one of several frees nothing."""
        return os.fstat(self.fd).st_nlink

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.fd)
        os.close(self.directory)


def open_proven(row: Row) -> Opened:
    """Open the file of a proven row; raises :class:`NotDeleted` when it is not that file.

    The inode is not compared: some file systems give new ones at each mount. The bytes are, later.
    """
    path = Path(row.path)
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotDeleted(f"its directory cannot be opened ({error.strerror})") from error
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, directory)
        fd = _open(path.name, directory)
        on_failure.callback(os.close, fd)
        found = Opened(fd, directory, path.name, path, Identity.of(os.fstat(fd)))
        if (found.identity.size, found.identity.mtime_ns) != (row.size, row.mtime_ns):
            raise NotDeleted("it is no longer the file that was proven", for_good=True)
        on_failure.pop_all()
    return found


def _open(name: str, directory: int) -> int:
    try:
        fd = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError as error:
        raise NotDeleted("it is gone", for_good=True) from error
    except OSError as error:
        raise NotDeleted(f"it cannot be opened ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotDeleted("it is no file any more", for_good=True)
    return fd


def examine(one: Opened, row: Row, receipt: Receipt) -> None:
    """Read the file to its end: only bytes that the receipt names may go."""
    check_idle(one.path)
    try:
        crc32 = digest(one.fd, 0, row.size, md5=False).crc32
    except (SourceChanged, OSError) as error:
        raise NotDeleted("it cannot be read to its end") from error
    if f"crc32:{crc32_base64(crc32)}" != receipt.checksum:
        raise NotDeleted("it holds other bytes than were proven", for_good=True)
    _check_unchanged(one)


def remove(one: Opened, aside: str) -> bool:
    """Move the file aside, look once more, delete it; whether what went was what was proven.

    Raises :class:`NotDeleted` when it was put back.
    """
    os.rename(one.name, aside, src_dir_fd=one.directory, dst_dir_fd=one.directory)
    try:
        _check_moved(one, aside)
        check_idle(one.path.with_name(aside))
        _check_unchanged(one)
    except (NotDeleted, OSError):
        put_back(one.path, aside, one.directory)
        raise
    os.unlink(aside, dir_fd=one.directory)
    os.fsync(one.directory)
    # A process that opened it in the last moment writes into what has no name any more.
    return Identity.of(os.fstat(one.fd)) == one.identity


def rescue(one: Opened) -> Path:
    """Write what a nameless file holds now to a new one beside where it lay."""
    for candidate in _spellings(one.path):
        with contextlib.suppress(FileExistsError), candidate.open("xb") as copy:
            offset = 0
            while block := os.pread(one.fd, 1024 * 1024, offset):
                copy.write(block)
                offset += len(block)
            flush_to_disk(copy)
            return candidate
    raise AssertionError("unreachable")


def put_back(path: Path, aside: str, directory: int) -> Path:
    """Give a file that was moved aside its name again, or the next that is free."""
    for candidate in _spellings(path):
        try:
            _name_again(aside, candidate.name, directory)
        except FileExistsError:
            continue
        os.fsync(directory)
        return candidate
    raise AssertionError("unreachable")


def _name_again(aside: str, name: str, directory: int) -> None:
    try:
        os.link(aside, name, follow_symlinks=False, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:
        raise
    except OSError:  # cards with FAT know no second name
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            raise FileExistsError(name) from None
        os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    os.unlink(aside, dir_fd=directory)


def undo(path: Path, aside: str) -> str:
    """End what a killed process had begun; ``done`` when the file was gone already, else ``kept``.

    A file that was only moved aside is put back: it is examined anew before it goes.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return "kept"
    try:
        if os.path.lexists(path.with_name(aside)):
            put_back(path, aside, directory)
            return "kept"
        return "kept" if os.path.lexists(path) else "done"
    finally:
        os.close(directory)


def _spellings(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 1 << 30):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _check_moved(one: Opened, aside: str) -> None:
    moved = os.stat(aside, dir_fd=one.directory, follow_symlinks=False)
    if not os.path.samestat(moved, os.fstat(one.fd)):
        raise NotDeleted("another file took its name meanwhile")


def check_idle(path: Path) -> None:
    """Raise :class:`NotDeleted` while a process has the file locked or open for writing."""
    if locked(str(path)) or open_for_writing([str(path)]):
        raise NotDeleted("a process writes to it")


def _check_unchanged(one: Opened) -> None:
    if Identity.of(os.fstat(one.fd)) != one.identity:
        raise NotDeleted("it changed while it was looked at")
