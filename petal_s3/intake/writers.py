"""Tell whether a program still writes to a file: by a lock file beside it, or by /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from petal_s3.core.files import check_descriptors

_WRITING = os.O_WRONLY | os.O_RDWR


def locked(path: str) -> bool:
    """Whether a recorder's ``.lock`` file lies beside the file at ``path``; blocking."""
    return os.path.lexists(f"{path}.lock") or os.path.lexists(os.path.splitext(path)[0] + ".lock")  # noqa: PTH122


def open_for_writing(paths: Iterable[str]) -> set[str]:
    """Which of ``paths`` some process has open for writing; blocking.

    Reads /proc as fuser does: it sees processes of the same user, or all as root. Leases
    (F_SETLEASE) would see all, but send SIGIO, which ends a process that does not expect it.
    Raises :class:`LocalStorageError` when this process can open no more files.
    """
    wanted = {os.path.realpath(path): path for path in paths}
    writing: set[str] = set()
    if not wanted:
        return writing
    for process in filter(str.isdigit, names_in("/proc")):
        for descriptor in names_in(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")  # noqa: PTH115
                if target in wanted and _writes(Path(f"/proc/{process}/fdinfo/{descriptor}")):
                    writing.add(wanted[target])
    return writing


def names_in(directory: str) -> list[str]:
    """The names in a directory of ``/proc``; none where it is gone or not ours; blocking."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - thousands of names, four times a second
    except OSError as error:
        check_descriptors(error)
        return []


def _writes(fdinfo: Path) -> bool:
    try:
        text = fdinfo.read_text()
    except OSError as error:
        check_descriptors(error)
        raise
    for line in text.splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & _WRITING)
    return False
