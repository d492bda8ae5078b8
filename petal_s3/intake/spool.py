"""Keep petal-s3's own copies of files that lie outside the log directories."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import ALL_KINDS
from petal_s3.errors import (
    LocalStorageError,
)
from petal_s3.logs.log_file import Identity
from petal_s3.logs.sniff import log_suffix, named_like

_COPY_BYTES = 1024 * 1024
_YOUNG_S = 600.0
_FILES = ("outbox.db", "outbox.db-wal", "outbox.db-shm", "drain.lock")
_FACT = re.compile(r"[A-Za-z0-9-]{1,64}")  # it travels as the name of a header
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def prepare(state_dir: Path) -> Path:
    """Create the state directory and its spool, readable by this user alone; blocking.

    Returns the spool. Raises :class:`LocalStorageError` when that cannot be done, and for a link
    or a directory of somebody else: whoever may change it decides what is sent. Root may use
    that of any user.
    """
    spool = state_dir / "spool"
    try:
        for directory in (state_dir, spool):
            if not directory.is_symlink():
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(directory, 0o700, stat.S_ISDIR)
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                _close_to_others(state_dir / name, 0o600, stat.S_ISREG)
        probe = state_dir / ".writable"
        made(probe).close()
        probe.unlink()
    except OSError as error:
        raise LocalStorageError(
            f"The state directory {state_dir} cannot be used ({error.strerror}): set "
            "PETAL_S3_STATE_DIR to a directory that is writable and has room."
        ) from error
    return spool


def _close_to_others(path: Path, mode: int, expected: Callable[[int], bool]) -> None:
    status = path.lstat()
    if not expected(status.st_mode):
        raise _not_ours(path, "is a link, or something else than expected")
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise _not_ours(path, f"belongs to another user, number {status.st_uid}")
    # By name: to open and close a file of SQLite would take away the locks that it holds.
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(mode)


def _not_ours(path: Path, what: str) -> LocalStorageError:
    return LocalStorageError(
        f"{path} {what}: it decides what is sent, so it must be this user's own, and in its place."
        " Put that right, or set PETAL_S3_STATE_DIR to another directory."
    )


def place(spool: Path, path: str, identity: Identity, asked_key: str = "") -> Path:
    """Where the copy of a file lies: one place per file, content and key that was asked for it,
    so that twice is once, and each has its own description.
    """
    known = f"{path}\0{identity.ino}\0{identity.size}\0{identity.mtime_ns}\0{asked_key}"
    name = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return spool / f"{name}{log_suffix(Path(path).name)}"


def _about(copy: Path) -> Path:
    return copy.with_name(f".{copy.name}.about")


def describe(copy: Path, about: Mapping[str, Any]) -> None:
    """Write down what a copy is, before it comes to its place: an outbox that is lost knew it.

    Blocking; raises :class:`LocalStorageError`.
    """
    note = _about(copy)
    try:
        with made(note) as file:
            file.write(json.dumps(dict(about)).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"There is no room in the state directory ({error.strerror})."
        ) from error


def described(copy: Path) -> dict[str, Any]:
    """What :func:`describe` wrote of a copy, as far as it can still be read; blocking.

    ``name``, ``asked_key``, ``session_id`` and ``facts``, each left out where it was spoiled.
    """
    found: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(_about(copy).read_bytes())
    if not isinstance(found, dict):
        return {}
    about = {n: found[n] for n in ("name", "asked_key", "session_id") if _sound(found.get(n))}
    facts = found.get("facts")
    if isinstance(facts, dict):
        about["facts"] = {
            name: text for name, text in facts.items() if _FACT.fullmatch(name) and _sound(text)
        }
    return about


def _sound(text: object) -> bool:
    """Whether a row can hold it; a lone surrogate no database takes."""
    return isinstance(text, str) and text != "" and text == text.encode(errors="replace").decode()


def forget(copy: Path) -> None:
    """Take back what :func:`describe` wrote: no row was made of it; blocking."""
    with contextlib.suppress(OSError):
        _about(copy).unlink(missing_ok=True)


def bring_in(fd: int, path: Path, target: Path) -> None:
    """Put the file behind ``fd`` at ``target``: by hard link, else by copy; blocking.

    It is on disk when this returns. Raises :class:`LocalStorageError` when the disk is full;
    nothing half-written remains.
    """
    with contextlib.suppress(OSError):
        if target.exists():  # left by one who could not finish, perhaps not yet on disk
            _sync(target)
            _sync(target.parent)
            return
        os.link(path, target, follow_symlinks=False)
        if os.path.samestat(os.stat(target), os.fstat(fd)):  # noqa: PTH116
            os.fsync(fd)
            _sync(target.parent)
            return
        target.unlink()
    half = target.with_name(f"{target.name}.part")
    try:
        with os.fdopen(os.dup(fd), "rb") as source, made(half) as copy:
            source.seek(0)
            shutil.copyfileobj(source, copy, _COPY_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
        status = os.fstat(fd)
        os.utime(half, ns=(status.st_mtime_ns, status.st_mtime_ns))
        half.replace(target)
        _sync(target.parent)
    except OSError as error:
        half.unlink(missing_ok=True)
        check_descriptors(error)
        raise LocalStorageError(
            f"There is no room to keep a copy of {path.name} ({error.strerror})."
        ) from error


def made(path: Path) -> BinaryIO:
    """A new file for this user alone, whatever stood there; raises ``OSError``."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600), "wb")


def _sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a directory, survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes; false when one cannot be read; blocking."""
    with contextlib.suppress(OSError), one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_COPY_BYTES):
            if block != second.read(_COPY_BYTES):
                return False
        return not second.read(1)
    return False


def discard(spool: Path, path: str) -> None:
    """Remove a copy that is no longer needed; anything outside the spool is left alone."""
    copy = Path(path)
    if copy.parent == spool:
        for file in (copy, _about(copy)):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def copies(spool: Path) -> list[Path]:
    """The whole copies that lie in the spool; blocking."""
    return sorted(copy for copy in spool.iterdir() if named_like(copy.name, ALL_KINDS))


def sweep(spool: Path, needed: Iterable[str], *, young_s: float = _YOUNG_S) -> None:
    """Remove copies that no row needs: left by a crash between copy and row; blocking.

    Younger ones are spared: another process may be about to enter their row.
    """
    keep = set(needed)
    keep |= {str(_about(Path(copy))) for copy in keep}
    for copy in spool.iterdir():
        with contextlib.suppress(OSError):
            if str(copy) not in keep and time.time() - copy.lstat().st_ctime >= young_s:
                discard(spool, str(copy))


class DrainLock:
    """The right to drain an outbox; held by one process, given back by the kernel at its end."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "drain.lock"
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def take(self) -> bool:
        """Try to take the lock, at once; true when it is ours now."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _SAFELY, 0o600)
        except OSError as error:
            raise LocalStorageError(
                f"The lock {self._path} cannot be taken ({error.strerror}): check free space and"
                " permissions."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True

    def lost(self) -> bool:
        """Whether the lock that we hold is no longer the file that others would take."""
        if self._fd is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return True

    def give(self) -> None:
        """Give the lock back."""
        fd, self._fd = self._fd, None
        if fd is not None:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was just forked holds a copy of it
            os.close(fd)

    def holder(self) -> int | None:
        """The process that drains now; none when nobody does."""
        if self._fd is not None:
            return os.getpid()
        try:
            fd = os.open(self._path, os.O_RDONLY | _SAFELY)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(fd, 32, 0).strip()
            return int(text) if text.isdigit() else 0  # bytes: digits of ASCII alone
        finally:
            os.close(fd)
        return None
