"""Know what a flight log is: kind, identity, verdict.

A file is refused (``NotAFlightLog``), not finished yet (``NotFinished``), or a flight log with
one of these verdicts; a damaged log is still a log and is uploaded:

    complete         no damage seen (a ULog has no end mark: its end cannot be proven)
    truncated        ends inside a record, or before or inside the index of a bag
    unindexed        a bag that its recorder never closed
    header_only      a ULog header and nothing else: the log started and lost power
    unknown_version  a ULog of a newer version than 1
    incompat         a ULog with features that its reader must know (unknown incompat bits)
    damaged          a sound start, then an impossible record or offset, or zeros at the end

Logs of other kinds (``text``, ``xml``, ``json``) are taken where their source allows them; they are
``complete``, ``truncated`` (XML or JSON that does not close) or ``damaged`` (zeros at the end).

At most 4 KiB of a file are ever read, in two reads: its first 3 KiB, and 1 KiB where damage shows
(the end of a ULog, the first record of a bag).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import FLIGHT_KINDS, LOG_SUFFIXES
from petal_s3.errors import (
    NotFinished,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceAway,
)
from petal_s3.logs import rosbag, ulog
from petal_s3.logs import text as texts
from petal_s3.logs.sniff import (
    UNFINISHED_SUFFIXES,
    check_content,
    check_text,
    kind_of,
    log_suffix,
    named_like,
    refused,
    shown_name,
)

__all__ = [
    "CONTENT_TYPES",
    "HEAD_BYTES",
    "LOG_SUFFIXES",
    "MAX_BYTES",
    "UNFINISHED_SUFFIXES",
    "FlightLog",
    "Identity",
    "examine",
    "is_candidate",
    "log_time",
    "open_log",
    "shown_name",
]


HEAD_BYTES = 4096
MAX_BYTES = 2 * 1024**3
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "ulog": "application/x-ulog",
        "rosbag": "application/x-rosbag",
        "text": "text/plain",
        "xml": "application/xml",
        "json": "application/json",
    }
)

_PROBE_BYTES = 1024
_TEXT_BYTES = 1024  # of a text: enough to be told from what is none
_LEAD_BYTES = HEAD_BYTES - _PROBE_BYTES
_DATE_FOLDER = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CLOCK_NAME = re.compile(r"([0-9]{2})_([0-9]{2})_([0-9]{2})(?![0-9])")
_TIME_IN_NAME = re.compile(
    r"(?<![0-9])([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"[-_ T]([0-9]{2})[-_]([0-9]{2})[-_]([0-9]{2})(?![0-9])"
)
_COMPACT = re.compile(
    r"(?<![0-9])([0-9]{4})([0-9]{2})([0-9]{2})[-_T]?([0-9]{2})([0-9]{2})([0-9]{2})(?![0-9])"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True)
class Identity:
    """Which file this was, and in which state: device, inode, bytes, mtime in nanoseconds."""

    dev: int
    ino: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Take it from ``os.stat`` or ``os.fstat``; a time beyond 2262 is no 64-bit number."""
        mtime_ns = min(max(status.st_mtime_ns, -(1 << 63)), (1 << 63) - 1)
        return cls(status.st_dev, status.st_ino, status.st_size, mtime_ns)


@dataclass(frozen=True)
class FlightLog:
    """A file that is a log; ``kind`` is one of ``sniff.SUFFIXES``, ``verdict`` as above.

    ``facts`` are what the header gives cheaply, ASCII, at most 128 characters a value: for a
    ULog ``sys-uuid ver-sw ver-sw-release ver-hw sys-name log-type``, ``boot-us`` (microseconds
    on the vehicle's clock), ``time-ref-utc`` (seconds), ``appended`` (number of crash dumps
    added after the flight); for a bag ``chunk-count conn-count index-pos``.
    """

    path: Path
    kind: str
    identity: Identity
    verdict: str
    facts: Mapping[str, str] = field(hash=False)

    @property
    def content_type(self) -> str:
        """The media type to store it under."""
        return content_type_of(self.kind, self.path.name)

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        name: str | None = None,
        within: Sequence[Path] | None = None,
        real: bool = False,
        kinds: frozenset[str] = FLIGHT_KINDS,
    ) -> FlightLog:
        """Examine the file at ``path``; errors as in :func:`open_log` and :func:`examine`.

        ``name`` is its original name where it lies under another one (a spooled copy).
        """
        fd = open_log(path, within=within, real=real)
        try:
            judged = path.name if name is None else name
            kind, verdict, facts, identity = examine(fd, judged, max_bytes=max_bytes, kinds=kinds)
        finally:
            os.close(fd)
        return cls(path, kind, identity, verdict, facts)


def open_log(path: Path, *, within: Sequence[Path] | None = None, real: bool = False) -> int:
    """Open a regular file for reading and give its descriptor, which the caller closes.

    Never follows a link in the last component, never blocks, never opens a device. With
    ``within`` the opened file itself must lie inside the real path of one of these folders;
    with ``real`` it must lie at ``path`` itself, which no link in a folder may lead away from.
    Raises ``NotAFlightLog`` (``bad_path``, ``bad_name``, ``not_allowed``, ``not_regular``,
    ``unreadable``), ``S3FileNotFoundError``, ``SourceAway`` when the disk does not answer, or
    ``LocalStorageError`` when this process can open no more files.
    """
    shown = shown_name(path.name)
    check_text(str(path), shown)
    if within is not None:
        # Judged by name first, so that an answer never tells what exists outside.
        _check_inside(f"{os.path.realpath(path.parent)}/{path.name}", within, shown)
    try:
        _check_regular(path.lstat().st_mode, shown)
        fd = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            # It was a file a moment ago: somebody put a link in its place.
            _check_regular(stat.S_IFLNK, shown)
        raise _os_refusal(error, shown) from error
    try:
        _check_regular(os.fstat(fd).st_mode, shown)
        if within is not None:
            _check_inside(_path_of(fd, path), within, shown)
        if real:
            _check_real(fd, path, shown)
    except (OSError, S3IntegrationError) as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise _os_refusal(error, shown) from error
        raise
    return fd


def examine(
    fd: int, name: str, *, max_bytes: int = MAX_BYTES, kinds: frozenset[str] = FLIGHT_KINDS
) -> tuple[str, str, Mapping[str, str], Identity]:
    """Give kind, verdict, facts and identity of the open file; reads at most 4 KiB of it.

    ``name`` decides the kind, one of ``kinds``, and the content must agree. Accepted:
    0 < size <= ``max_bytes``.
    Raises ``NotAFlightLog`` with a code for the reason, ``NotFinished`` when the name says so or
    the file changed meanwhile, ``SourceAway`` when reading fails.
    """
    shown = shown_name(name)
    kind = kind_of(name, shown, kinds)
    try:
        before = os.fstat(fd)
        _check_regular(before.st_mode, shown)
        _check_size(before.st_size, max_bytes, shown)
        head = os.pread(fd, _LEAD_BYTES, 0)
        probe = os.pread(fd, _PROBE_BYTES, _probe_at(kind, before.st_size))
        after = os.fstat(fd)
    except OSError as error:
        raise _os_refusal(error, shown) from error
    identity = Identity.of(before)
    if Identity.of(after) != identity:
        raise NotFinished(f"{shown} changed while it was examined: it is still being written.")
    check_content(head if kind in FLIGHT_KINDS else head[:_TEXT_BYTES], kind, shown)
    if kind not in FLIGHT_KINDS:
        return kind, texts.verdict(kind, head, probe), MappingProxyType({}), identity
    judge = ulog.judge if kind == "ulog" else rosbag.judge
    verdict, facts = judge(shown, head, probe, before.st_size)
    return kind, verdict, MappingProxyType(facts), identity


def is_candidate(name: str) -> bool:
    """Tell whether a scan looks at a file of this name: ``.ulg`` or ``.bag``, not hidden.

    An unfinished ``x.bag.active`` is none; a reindex backup ``x.orig.bag`` is a real bag.
    """
    return named_like(name, FLIGHT_KINDS)


def content_type_of(kind: str, name: str) -> str:
    """The media type of a log by its kind and name; that of any bytes for an unknown kind."""
    if kind == "text" and log_suffix(name) == ".csv":
        return "text/csv"
    return CONTENT_TYPES.get(kind, "application/octet-stream")


def log_time(path: Path, mtime_ns: int, *, compact: bool = False) -> datetime:
    """Give the log's own time, UTC, whole seconds.

    From PX4's ``YYYY-MM-DD/HH_MM_SS.ulg``, else from ``YYYY-MM-DD-HH-MM-SS`` in the name (also
    with ``_``; with ``compact`` ``YYYYMMDD_HHMMSS`` too), else from ``mtime_ns``, clamped to
    1970..9999. Impossible dates are passed over.
    """
    folder = _DATE_FOLDER.fullmatch(path.parent.name)
    clock = _CLOCK_NAME.match(path.name)
    found = [folder.groups() + clock.groups()] if folder and clock else []
    found += [match.groups() for match in _TIME_IN_NAME.finditer(path.name)]
    found += [match.groups() for match in _COMPACT.finditer(path.name) if compact]
    for parts in found:
        try:
            moment = datetime(*map(int, parts), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
        except ValueError:
            continue
        if moment >= _EPOCH:
            return moment
    return _EPOCH + timedelta(seconds=min(max(mtime_ns // 10**9, 0), _LAST_SECOND))


def _check_size(size: int, max_bytes: int, shown: str) -> None:
    if not size:
        raise refused("empty", f"{shown} is empty (0 bytes).")
    if size > max_bytes:
        raise refused(
            "too_large", f"{shown} is too large: {size} bytes, the limit is {max_bytes} bytes."
        )


def _check_regular(mode: int, shown: str) -> None:
    if stat.S_ISLNK(mode):
        raise refused("not_allowed", f"{shown} is a symbolic link: name the file itself.")
    if not stat.S_ISREG(mode):
        raise refused("not_regular", f"{shown} is not a regular file.")


def _probe_at(kind: str, size: int) -> int:
    return rosbag.FIRST_RECORD if kind == "rosbag" else max(_LEAD_BYTES, size - _PROBE_BYTES)


def _check_inside(real: str, roots: Sequence[Path], shown: str) -> None:
    if not any(Path(real).is_relative_to(os.path.realpath(root)) for root in roots):
        raise refused("not_allowed", f"{shown} does not lie inside the log directories.")


def _check_real(fd: int, path: Path, shown: str) -> None:
    if _path_of(fd, path) in {str(path), f"{path} (deleted)"}:
        return
    if os.path.realpath(path.parent) != str(path.parent):
        raise refused("not_allowed", f"{shown} lies behind a link in place of one of its folders.")
    # /proc may spell the name otherwise where upper and lower case are one.
    if not os.path.samestat(path.lstat(), os.fstat(fd)):
        raise S3FileNotFoundError(f"{shown} does not exist any more.")


def _path_of(fd: int, path: Path) -> str:
    """Where the opened file really lies, whatever happened to the names since; "" if unknown."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - the raw text, no Path
    except OSError:
        real = os.path.realpath(path)
        same = os.path.samestat(os.lstat(real), os.fstat(fd))
        return real if same else ""


def _os_refusal(error: OSError, shown: str) -> S3IntegrationError:
    check_descriptors(error)
    if error.errno in _NO_SUCH_FILE:
        return S3FileNotFoundError(f"{shown} does not exist.")
    if error.errno == errno.ENAMETOOLONG:
        return refused("bad_name", f"The file name {shown} or its path is too long: shorten it.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return refused("unreadable", f"{shown} cannot be read: permission denied.")
    if error.errno == errno.ENXIO:
        return refused("not_regular", f"{shown} is not a regular file.")
    return SourceAway(f"{shown} cannot be read now: check that its disk or card is mounted.")
