"""Keep petal-s3's own copies of files that lie outside the log directories."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from petal_s3.core.files import check_descriptors, create_private, remove, sync
from petal_s3.core.kinds import ALL_KINDS
from petal_s3.errors import LocalStorageError
from petal_s3.intake.descriptions import description_path
from petal_s3.intake.reserve import Room
from petal_s3.logs.opening import Identity
from petal_s3.logs.sniff import log_suffix, named_like

_COPY_BYTES = 1024 * 1024
YOUNG_S = 600.0


def copy_path(spool: Path, path: str, identity: Identity, asked_key: str = "") -> Path:
    """Where the copy of a file lies: one path per file, content and key that was asked for it.

    Asked for twice, it is one copy; under two keys, each copy has its own description.
    """
    known = f"{path}\0{identity.ino}\0{identity.size}\0{identity.mtime_ns}\0{asked_key}"
    name = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return spool / f"{name}{log_suffix(Path(path).name)}"


Copied = Callable[[int, int], None]
"""Is called by a thread with the bytes that are copied, and how many there are."""


def bring_in(
    fd: int,
    path: Path,
    target: Path,
    room: Room | None = None,
    on_copied: Copied | None = None,
) -> None:
    """Put the file open as ``fd`` at ``target``: by hard link, else by copy; blocking.

    It is on disk when this returns. ``room``: what a copy may take of the disk. Raises
    :class:`LocalStorageError` when the disk is full, or would be; nothing half-written remains.
    """
    with contextlib.suppress(OSError):
        if target.exists():  # left by an attempt that did not finish, perhaps not yet on disk
            sync(target)
            sync(target.parent)
            return
        os.link(path, target, follow_symlinks=False)
        if os.path.samestat(os.stat(target), os.fstat(fd)):  # noqa: PTH116
            os.fsync(fd)
            sync(target.parent)
            return
        target.unlink()
    try:
        _copy(fd, target, room, on_copied)
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"A copy of {path.name} cannot be kept in the spool ({error.strerror})."
        ) from error


class _Watched:
    """A file that is read from as long as what is read has room elsewhere."""

    def __init__(self, file: BinaryIO, room: Room | None, on_copied: Copied | None) -> None:
        self._file, self._room, self._on_copied = file, room, on_copied
        self._size, self._done = os.fstat(file.fileno()).st_size, 0

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(size)
        if self._room is not None:
            self._room.take(len(block))
        self._done += len(block)
        if self._on_copied is not None:
            self._on_copied(self._done, self._size)
        return block


def _copy(fd: int, target: Path, room: Room | None, on_copied: Copied | None) -> None:
    if room is not None:
        room.check(os.fstat(fd).st_size)
    partial = target.with_name(f"{target.name}.part")
    with contextlib.ExitStack() as undo:
        undo.callback(remove, partial)
        if room is not None:
            undo.callback(room.give_back)
        with os.fdopen(os.dup(fd), "rb") as source, create_private(partial) as copy:
            source.seek(0)
            shutil.copyfileobj(_Watched(source, room, on_copied), copy, _COPY_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
        status = os.fstat(fd)
        os.utime(partial, ns=(status.st_mtime_ns, status.st_mtime_ns))
        partial.replace(target)
        undo.pop_all()
    if room is not None:
        room.settle()
    sync(target.parent)


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes; false when one cannot be read; blocking."""
    with contextlib.suppress(OSError), one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_COPY_BYTES):
            if block != second.read(_COPY_BYTES):
                return False
        return not second.read(1)
    return False


def discard(spool: Path, path: str) -> None:
    """Remove a copy that is no longer needed; a file outside the spool is left alone; blocking."""
    copy = Path(path)
    if copy.parent == spool:
        remove(copy)
        remove(description_path(copy))


def copies(spool: Path) -> list[Path]:
    """The whole copies that lie in the spool; blocking."""
    return sorted(copy for copy in spool.iterdir() if named_like(copy.name, ALL_KINDS))


Seen = dict[str, tuple[Identity, float]]
"""Files that no row needs: as they were when they were first seen so, and when that was."""


def sweep(
    spool: Path, needed: Iterable[str], seen: Seen, now: float, *, young_s: float = YOUNG_S
) -> None:
    """Remove what no row needs: left by a crash between copy and row; blocking.

    It goes when it was ``seen`` unchanged for ``young_s``, by the clock of ``now``, which cannot be
    set: another process may be about to enter its row.
    """
    keep = set(needed)
    keep |= {str(description_path(Path(copy))) for copy in keep}
    there: Seen = {}
    for copy in spool.iterdir():
        with contextlib.suppress(OSError):
            if str(copy) in keep:
                continue
            file = Identity.of(copy.lstat())
            before, since = seen.get(str(copy), (file, now))
            since = since if before == file else now
            there[str(copy)] = (file, since)
            if now - since >= young_s:
                discard(spool, str(copy))
    seen.clear()
    seen.update(there)
