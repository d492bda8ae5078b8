"""Know which logs are looked for where, and how the key of each is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.core.settings import Settings, SourceSettings
from petal_s3.errors import ConfigError
from petal_s3.intake.settling import File, find_logs
from petal_s3.logs.log_file import Identity, log_time
from petal_s3.logs.sniff import named_like
from petal_s3.objects.key_names import key_name, key_with_crc, log_key, stamped
from petal_s3.objects.ownership import KeyOwnership

_STAMPED = "{timestamp}_{name}"
_OTHER_KINDS = ALL_KINDS - FLIGHT_KINDS
_NAMES = ("events.xml", f"{'x' * 240}.xml-2025-07-27")
_SAMPLE = datetime(2025, 7, 27, 14, 30, 22, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Origin:
    """A directory of which the logs of some kinds are taken.

    ``template``: how their keys are made, as ``sources`` says it; empty: as those of flight logs.
    """

    directory: Path
    kinds: frozenset[str]
    template: str = ""
    date_folders: bool = False
    content_type: str = ""

    def key(self, ownership: KeyOwnership, name: str, logged_at: datetime, kind: str) -> str:
        """The key of a log that lies here; ``logged_at`` in UTC."""
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

    def logged_at(self, path: Path, mtime_ns: int, kind: str) -> datetime:
        """A log's own time, UTC: all but flight logs may say it as ``YYYYMMDD_HHMMSS``."""
        return log_time(path, mtime_ns, compact=bool(self.template) or kind in _OTHER_KINDS)


class Origins:
    """The log directories and the further sources, the most particular first."""

    def __init__(self, settings: Settings, ownership: KeyOwnership) -> None:
        """Raises :class:`ConfigError` for a key that would lie outside the machine's folder."""
        self.all = origins(settings)
        for number, origin in enumerate(self.all[len(settings.log_dirs) :]):
            keys = [origin.key(ownership, name, _SAMPLE, "xml") for name in _NAMES]
            keys += [key_with_crc(key, 0) for key in keys]
            if not all(ownership.owns(key) and not ownership.is_temporary(key) for key in keys):
                raise ConfigError(
                    f"sources[{number}].key leads out of the folder of this machine, or into its"
                    " tmp/, or is too long: {timestamp}_{name}, or a folder before it, is expected."
                )

    def of(self, path: Path) -> Origin | None:
        """Where the file at the real ``path`` lies; none outside of all; blocking.

        The most particular directory that takes a file of this name, else the most particular.
        """
        inside = [one for one in self.all if path.is_relative_to(os.path.realpath(one.directory))]
        return max(inside, key=lambda one: self._rank(one, path), default=None)

    @staticmethod
    def _rank(origin: Origin, path: Path) -> tuple[bool, int]:
        return named_like(path.name, origin.kinds), len(os.path.realpath(origin.directory))


def origins(settings: Settings) -> tuple[Origin, ...]:
    """The log directories, then the further sources, in their order."""
    flights = [
        Origin(directory, FLIGHT_KINDS, date_folders=settings.date_folders)
        for directory in settings.log_dirs
    ]
    return (*flights, *(_origin(source) for source in settings.sources))


def find(settings: Settings) -> list[File]:
    """Every file that looks like a log of its place; blocking.

    What lies in the spool is there already, though a source be around it. Raises
    :class:`LocalStorageError` as :func:`~petal_s3.intake.settling.find_logs`.
    """
    found: dict[str, Identity] = {}
    for origin in origins(settings):
        found.update(find_logs([origin.directory], origin.kinds))
    spool = os.path.realpath(settings.state_dir / "spool")
    return [(path, file) for path, file in found.items() if not Path(path).is_relative_to(spool)]


def _origin(source: SourceSettings) -> Origin:
    return Origin(
        source.directory,
        frozenset(source.kinds),
        source.key or _STAMPED,
        source.date_folders,
        source.content_type or "",
    )
