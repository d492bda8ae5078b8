"""Know where the log directories really lie, and where file-system events do not tell all."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from petal_s3.core.files import check_descriptors

MOUNTS = Path("/proc/self/mountinfo")
_MOST_LINKS = 40  # as Linux follows them
# What another machine, a hypervisor, or a layer beneath writes comes without an event.
_BLIND = frozenset(
    {"9p", "acfs", "afs", "aufs", "beegfs", "ceph", "cifs", "coda"}
    | {"drvfs", "fhgfs", "fuse", "gfs", "gfs2", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "orangefs", "overlay", "overlayfs", "prl_fs", "pvfs2"}
    | {"smb2", "smb3", "smbfs", "unionfs", "vboxsf", "virtiofs", "vmhgfs"}
)


@dataclass(frozen=True)
class Places:
    """Where log directories lie: another value means that something was made, moved or mounted.

    ``real``: path, device and inode of each that is there. ``mounts``: mount point and type of
    the file systems that hold them or lie below them.
    """

    real: frozenset[tuple[str, int, int]]
    mounts: frozenset[tuple[str, str]]

    @property
    def blind(self) -> list[tuple[str, str]]:
        """Mount point and type of those file systems whose events do not tell every change."""
        return sorted((point, kind) for point, kind in self.mounts if is_blind(kind))


def is_blind(kind: str) -> bool:
    """Whether files may come to a file system of this type without an event.

    So it is on those of a network, of a hypervisor and of several layers, and on any of FUSE but
    ``fuseblk``, which holds a disk of this machine (NTFS, exFAT).
    """
    return kind.partition(".")[0] in _BLIND


class MountTable:
    """The table of mounts of this process, which is read anew only when the kernel has told of a
    change; to be closed."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._file: int | None = None
        self._changes: select.epoll | None = None
        with contextlib.suppress(OSError):  # then it is read each time
            self._open()

    def _open(self) -> None:
        self._file = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.ExitStack() as on_error:
            changes = select.epoll()
            on_error.callback(changes.close)
            changes.register(self._file, select.EPOLLPRI)
            on_error.pop_all()
        self._changes = changes

    @property
    def fd(self) -> int | None:
        """What becomes readable when the table changes; none where that is not told.

        Whoever waits for it takes the message: :meth:`changed` has to be called then.
        """
        return None if self._changes is None else self._changes.fileno()

    def changed(self) -> None:
        """The table has changed: it is read anew."""
        self._text = None

    def text(self) -> str:
        """The table as in proc(5); blocking. Raises :class:`LocalStorageError` when this process
        can open no more files."""
        if self._changes is None or self._changes.poll(0):
            self._text = None
        if self._text is None:
            self._text = _read()
        return self._text

    def close(self) -> None:
        """Watch it no more; safe to call twice."""
        changes, self._changes = self._changes, None
        file, self._file = self._file, None
        if changes is not None:
            changes.close()
        if file is not None:
            os.close(file)


def look_at(
    directories: Iterable[Path], table: MountTable | None = None
) -> tuple[Places, dict[str, frozenset[str]]]:
    """Where these directories lie now, and the ways to them; blocking.

    On a way: each folder, and the names in it that lead on. Links are followed; where a name leads
    nowhere now, the way ends. ``table``: of the mounts, where one is kept. Raises
    :class:`LocalStorageError` when this process can open no more files.
    """
    real: set[tuple[str, int, int]] = set()
    ways: dict[str, set[str]] = {}
    for directory in directories:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is no path
            if path := _follow(str(directory), ways):
                status = os.stat(path)  # noqa: PTH116
                real.add((path, status.st_dev, status.st_ino))
    mounts = _read() if table is None else table.text()
    found = _mounts_of(frozenset(path for path, *_ in real), mounts)
    return Places(frozenset(real), found), {at: frozenset(names) for at, names in ways.items()}


def _follow(directory: str, ways: dict[str, set[str]]) -> str:
    """Follow a path and note each step; the folder it leads to, empty where it leads nowhere."""
    at, left, links = "/", _names(directory), 0
    while left and links < _MOST_LINKS:
        name = left.pop()
        if name == "..":
            at = os.path.dirname(at)  # noqa: PTH120 - links were followed: this is its folder
            continue
        ways.setdefault(at, set()).add(name)
        path = f"/{name}" if at == "/" else f"{at}/{name}"
        try:
            target = os.readlink(path)  # noqa: PTH115 - the raw text
        except OSError as error:
            if error.errno != errno.EINVAL:
                return ""
            at = path  # it is no link
        else:
            links += 1
            at = "/" if target.startswith("/") else at
            left += _names(target)
    return "" if left else at


def _names(path: str) -> list[str]:
    """The names of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]


def _read() -> str:
    try:
        return MOUNTS.read_text(errors="surrogateescape")
    except OSError as error:
        check_descriptors(error)
        return ""


@lru_cache(maxsize=8)  # they are asked for each second where no event tells of a change
def _mounts_of(paths: frozenset[str], mountinfo: str) -> frozenset[tuple[str, str]]:
    """Of the table in proc(5): the mounts that hold ``paths``, and those below them."""
    mounts = _table(mountinfo)
    found: set[str] = set()
    for path in paths:
        found.update(sorted((one for one in mounts if _inside(path, one)), key=len)[-1:])
        found.update(one for one in mounts if _inside(one, path))
    return frozenset((point, mounts[point]) for point in found)


def _table(mountinfo: str) -> Mapping[str, str]:
    """Mount points and their types; of several at one point the last lies over the others."""
    return dict(_mount(line) for line in mountinfo.splitlines())


def _mount(line: str) -> tuple[str, str]:
    fields, _, about = line.partition(" - ")
    point = fields.split()[4]
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point, about.split()[0]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
