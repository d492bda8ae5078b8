"""Know in which directories logs are looked for, and say which key each one gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.core.settings import Settings, SourceSettings
from petal_s3.errors import ConfigError
from petal_s3.logs.log_time import log_time
from petal_s3.logs.sniff import named_like
from petal_s3.objects.key_names import key_name, key_with_crc, log_key, stamped
from petal_s3.objects.ownership import KeyOwnership

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


def _from_source(source: SourceSettings) -> LogDirectory:
    return LogDirectory(
        source.directory,
        frozenset(source.kinds),
        source.key or _STAMPED,
        source.date_folders,
        source.content_type or "",
    )
