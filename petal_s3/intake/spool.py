"""Keep petal-s3's own copies of files that lie outside the log directories."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from petal_s3.core.files import check_descriptors, create_private, sync
from petal_s3.core.kinds import ALL_KINDS
from petal_s3.errors import LocalStorageError
from petal_s3.logs.opening import Identity
from petal_s3.logs.sniff import log_suffix, named_like

_COPY_BYTES = 1024 * 1024
_YOUNG_S = 600.0
_FACT = re.compile(r"[A-Za-z0-9-]{1,64}")  # it travels as the name of a header


@dataclass(frozen=True)
class Description:
    """What only the outbox knows of a copy, written beside it in case the outbox is lost.

    Each field is empty where it was never known, or cannot be read any more.
    """

    name: str = ""
    asked_key: str = ""
    session_id: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)


def copy_path(spool: Path, path: str, identity: Identity, asked_key: str = "") -> Path:
    """Where the copy of a file lies: one path per file, content and key that was asked for it.

    Asked for twice, it is one copy; under two keys, each copy has its own description.
    """
    known = f"{path}\0{identity.ino}\0{identity.size}\0{identity.mtime_ns}\0{asked_key}"
    name = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return spool / f"{name}{log_suffix(Path(path).name)}"


def _description_path(copy: Path) -> Path:
    return copy.with_name(f".{copy.name}.about")


def describe(copy: Path, description: Description) -> None:
    """Write the description of a copy that is about to be put in place, durably.

    Blocking; raises :class:`LocalStorageError`.
    """
    content = {
        "name": description.name,
        "asked_key": description.asked_key,
        "session_id": description.session_id,
        "facts": dict(description.facts),
    }
    try:
        with create_private(_description_path(copy)) as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"The state directory cannot be written to ({error.strerror})."
        ) from error


def described(copy: Path) -> Description:
    """What :func:`describe` wrote about a copy, as far as it can still be read; blocking."""
    found: object = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(_description_path(copy).read_bytes())
    if not isinstance(found, dict):
        return Description()
    facts = found.get("facts")
    return Description(
        name=_text(found.get("name")),
        asked_key=_text(found.get("asked_key")),
        session_id=_text(found.get("session_id")) or None,
        facts={
            name: text
            for name, text in (facts.items() if isinstance(facts, dict) else ())
            if _FACT.fullmatch(name) and _text(text)
        },
    )


def _text(value: object) -> str:
    """``value`` where it is text that a row can hold, else empty; no row holds lone surrogates."""
    if isinstance(value, str) and value == value.encode(errors="replace").decode():
        return value
    return ""


def forget_description(copy: Path) -> None:
    """Remove what :func:`describe` wrote of a copy that got no row; blocking."""
    with contextlib.suppress(OSError):
        _description_path(copy).unlink(missing_ok=True)


def bring_in(fd: int, path: Path, target: Path) -> None:
    """Put the file open as ``fd`` at ``target``: by hard link, else by copy; blocking.

    It is on disk when this returns. Raises :class:`LocalStorageError` when the disk is full;
    nothing half-written remains.
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
        _copy(fd, target)
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"A copy of {path.name} cannot be kept in the spool ({error.strerror})."
        ) from error


def _copy(fd: int, target: Path) -> None:
    partial = target.with_name(f"{target.name}.part")
    with contextlib.ExitStack() as undo:
        undo.callback(_remove, partial)
        with os.fdopen(os.dup(fd), "rb") as source, create_private(partial) as copy:
            source.seek(0)
            shutil.copyfileobj(source, copy, _COPY_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
        status = os.fstat(fd)
        os.utime(partial, ns=(status.st_mtime_ns, status.st_mtime_ns))
        partial.replace(target)
        undo.pop_all()
    sync(target.parent)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


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
        _remove(copy)
        _remove(_description_path(copy))


def copies(spool: Path) -> list[Path]:
    """The whole copies that lie in the spool; blocking."""
    return sorted(copy for copy in spool.iterdir() if named_like(copy.name, ALL_KINDS))


def sweep(spool: Path, needed: Iterable[str], *, young_s: float = _YOUNG_S) -> None:
    """Remove copies that no row needs: left by a crash between copy and row; blocking.

    Copies younger than ``young_s`` are kept: another process may be about to enter their row.
    """
    keep = set(needed)
    keep |= {str(_description_path(Path(copy))) for copy in keep}
    for copy in spool.iterdir():
        with contextlib.suppress(OSError):
            if str(copy) not in keep and time.time() - copy.lstat().st_ctime >= young_s:
                discard(spool, str(copy))
