"""Know where the log directories really lie, and where file-system events do not tell all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from petal_s3.core.files import check_descriptors

MOUNTS = Path("/proc/self/mountinfo")
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


def places_of(directories: Iterable[Path]) -> Places:
    """Where these directories lie now; blocking.

    Raises :class:`LocalStorageError` when this process can open no more files.
    """
    real: set[tuple[str, int, int]] = set()
    for directory in directories:
        with contextlib.suppress(OSError, ValueError):
            path = os.path.realpath(directory)
            status = os.stat(path)  # noqa: PTH116 - once a second
            real.add((path, status.st_dev, status.st_ino))
    return Places(frozenset(real), frozenset(_mounts_of([path for path, *_ in real], _read())))


def _read() -> str:
    try:
        return MOUNTS.read_text(errors="surrogateescape")
    except OSError as error:
        check_descriptors(error)
        return ""


def _mounts_of(paths: list[str], mountinfo: str) -> set[tuple[str, str]]:
    """Of the table in proc(5): the mounts that hold ``paths``, and those below them."""
    mounts = _table(mountinfo)
    found: set[str] = set()
    for path in paths:
        found.update(sorted((one for one in mounts if _inside(path, one)), key=len)[-1:])
        found.update(one for one in mounts if _inside(one, path))
    return {(point, mounts[point]) for point in found}


@lru_cache(maxsize=1)  # it is looked at every second, and seldom changes
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
