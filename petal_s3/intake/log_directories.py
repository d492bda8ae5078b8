"""Know in which directories logs are looked for, find them, and say which key each one gets."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.core.files import check_descriptors
from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.core.settings import Settings, SourceSettings
from petal_s3.errors import ConfigError, plain
from petal_s3.intake.settling import FoundFile
from petal_s3.logs.log_time import log_time
from petal_s3.logs.opening import Identity
from petal_s3.logs.sniff import named_like
from petal_s3.objects.key_names import key_name, key_with_crc, log_key, stamped
from petal_s3.objects.ownership import KeyOwnership

_MAX_DEPTH = 16
_UNCLOSED = ".bag.active"
NO_DIRECTORY = os.strerror(errno.ENOTDIR)
"""Why a log directory is unread in whose place something else lies."""
_GIVE = "Give the user of petal-s3 the right to read it."
_STAMPED = "{timestamp}_{name}"
_OTHER_KINDS = ALL_KINDS - FLIGHT_KINDS
# With these names and this time the keys of a template are checked at start.
_SAMPLE_NAMES = ("events.xml", f"{'x' * 240}.xml-2025-07-27")
_SAMPLE_TIME = datetime(2025, 7, 27, 14, 30, 22, tzinfo=timezone.utc)


@dataclass(frozen=True)
class LogDirectory:
    """A directory in which logs of some kinds are looked for.

    ``template`` says how their keys are made, as in the setting ``sources``; where it is empty
    they are made like those of flight logs.
    """

    directory: Path
    kinds: frozenset[str]
    template: str = ""
    date_folders: bool = False
    content_type: str = ""

    def key(self, ownership: KeyOwnership, name: str, logged_at: datetime, kind: str) -> str:
        """The key of a log found here; ``logged_at`` in UTC."""
        if kind not in _OTHER_KINDS and not self.template:
            return log_key(
                ownership.machine_prefix, name, logged_at, date_folders=self.date_folders
            )
        date = logged_at.strftime("%Y/%m/%d")
        template = (self.template or _STAMPED).replace("{filename}", "{name}")
        made = template.replace(_STAMPED, "{stamped}").format(
            upload_prefix=ownership.prefix,
            machine_id=ownership.machine_ids[0],
            timestamp=logged_at.strftime("%Y%m%d_%H%M%S"),
            date=date,
            kind=kind,
            name=key_name(name),
            stamped=stamped(name, logged_at),
        )
        if not self.template.startswith("{upload_prefix}"):
            made = ownership.machine_prefix + made
        folder, _, last = made.rpartition("/")
        return f"{folder}/{date}/{last}" if self.date_folders else made

    def logged_at(
        self, path: Path, mtime_ns: int, kind: str, told_s: int | None = None
    ) -> datetime:
        """A log's own time in UTC; other kinds than flight logs may name it YYYYMMDD_HHMMSS.

        ``told_s``: the start that the log tells, as in :func:`log_time`.
        """
        compact = bool(self.template) or kind in _OTHER_KINDS
        return log_time(path, mtime_ns, compact=compact, told_s=told_s)


def log_directories(settings: Settings) -> tuple[LogDirectory, ...]:
    """The directories of ``log_dirs``, then those of ``sources``, in the order of the settings."""
    flights = [
        LogDirectory(directory, FLIGHT_KINDS, date_folders=settings.date_folders)
        for directory in settings.log_dirs
    ]
    return (*flights, *(_from_source(source) for source in settings.sources))


def checked_log_directories(
    settings: Settings, ownership: KeyOwnership
) -> tuple[LogDirectory, ...]:
    """As :func:`log_directories`, once the keys they make are known to belong to this machine.

    Raises :class:`ConfigError` for a source of which a key would lie outside the machine's folder.
    """
    found = log_directories(settings)
    for number, directory in enumerate(found[len(settings.log_dirs) :]):
        keys = [directory.key(ownership, name, _SAMPLE_TIME, "xml") for name in _SAMPLE_NAMES]
        keys += [key_with_crc(key, 0) for key in keys]
        if not all(ownership.owns(key) and not ownership.is_temporary(key) for key in keys):
            raise ConfigError(
                f"sources[{number}].key leads out of the folder of this machine, or into its"
                " tmp/, or is too long: {timestamp}_{name}, or a folder before it, is expected."
            )
    return found


def directory_of(path: Path, directories: Sequence[LogDirectory]) -> LogDirectory | None:
    """The log directory that the file at the real ``path`` belongs to; none outside of all.

    Directories that take a file of this name come first, then the deepest one. Blocking.
    """

    def rank(directory: LogDirectory) -> tuple[bool, int]:
        return named_like(path.name, directory.kinds), len(os.path.realpath(directory.directory))

    inside = [one for one in directories if path.is_relative_to(os.path.realpath(one.directory))]
    return max(inside, key=rank, default=None)


@dataclass
class Found:
    """What lies in log directories.

    ``files`` and ``unclosed``: by real path, the logs by their names, and the bags whose recorder
    has not closed them. ``folders``: the real paths of those that were looked through.
    ``unread``: why a folder or a file in it could not be looked at, by the folder's real path.
    """

    files: dict[str, Identity] = field(default_factory=dict)
    unclosed: dict[str, Identity] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """One sentence that says what could not be read; empty where all was."""
        if not self.unread:
            return ""
        path, why = min(self.unread.items())
        more = f" and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
        advice = "Make it one, or set another." if why == NO_DIRECTORY else _GIVE
        return (
            f"The log directory {plain(path)}{more} cannot be read ({why}): logs in it are not"
            f" seen. {advice}"
        )


def look_through(settings: Settings) -> Found:
    """What lies in the log directories; blocking.

    Copies in the spool are left out even where a source surrounds it: they have rows already.
    Raises :class:`LocalStorageError` as :func:`find_named`.
    """
    found = Found()
    for one in log_directories(settings):
        _walk(os.path.realpath(one.directory), _MAX_DEPTH, one.kinds, found)
    spool = os.path.realpath(settings.state_dir / "spool")
    found.files = {
        path: file for path, file in found.files.items() if not Path(path).is_relative_to(spool)
    }
    found.folders = list(dict.fromkeys(found.folders))
    return found


def find_logs(settings: Settings) -> list[FoundFile]:
    """Every file in the log directories whose name fits its directory, as :func:`look_through`."""
    return list(look_through(settings).files.items())


def find_named(
    directories: Iterable[Path], kinds: frozenset[str] = FLIGHT_KINDS
) -> list[FoundFile]:
    """Every file below ``directories`` that looks like one of ``kinds`` by its name; blocking.

    Links are not followed, unreadable directories are passed over, depth is bounded.
    Paths are real paths, so that one file has one path. Raises :class:`LocalStorageError` when
    this process can open no more files: then nothing is known about any of them.
    """
    found = Found()
    for directory in directories:
        _walk(os.path.realpath(directory), _MAX_DEPTH, kinds, found)
    return list(found.files.items())


def _walk(directory: str, depth: int, kinds: frozenset[str], found: Found) -> None:
    try:
        entries = list(os.scandir(directory))
    except OSError as error:
        _unread(directory, error, found, top=depth == _MAX_DEPTH)
        return
    found.folders.append(directory)
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                # A hidden directory is a wastebasket, not a place for logs.
                if depth > 0 and not entry.name.startswith("."):
                    _walk(entry.path, depth - 1, kinds, found)
                continue
            unclosed = entry.name.endswith(_UNCLOSED) and "rosbag" in kinds
            if unclosed or named_like(entry.name, kinds):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    into = found.unclosed if unclosed else found.files
                    into[entry.path] = Identity.of(status)
        except OSError as error:
            _unread(directory, error, found)


def _unread(directory: str, error: OSError, found: Found, *, top: bool = False) -> None:
    """Note a folder that may hold logs and cannot be read, unless it is not there (any more).

    ``top``: it is one of the settings; then it counts, too, where something else lies there.
    """
    check_descriptors(error)
    away = {errno.ENOENT} if top else {errno.ENOENT, errno.ENOTDIR}
    if error.errno not in away:
        found.unread[directory] = os.strerror(error.errno or errno.EIO)


def _from_source(source: SourceSettings) -> LogDirectory:
    return LogDirectory(
        source.directory,
        frozenset(source.kinds),
        source.key or _STAMPED,
        source.date_folders,
        source.content_type or "",
    )
