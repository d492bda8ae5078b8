"""Make the outbox row of a log file: examine the file, choose its key and time, enter it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.kinds import FLIGHT_KINDS, Way
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.errors import NotAFlightLog, NotFinished, S3IntegrationError
from petal_s3.intake.log_directories import LogDirectory, checked_log_directories
from petal_s3.intake.proven_before import known_again
from petal_s3.intake.reserve import Reserve
from petal_s3.intake.writers import locked, open_for_writing
from petal_s3.logs.log_file import FlightLog
from petal_s3.logs.opening import Identity
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import entering
from petal_s3.outbox.rows import FLIGHT, LIMIT, REFUSED, Entry, Row, printable
from petal_s3.outbox.thread import OutboxThread

log = logging.getLogger("petal_s3")

PRIORITY_ASKED = 10
"""The priority of a log that was named by a caller, who may be waiting for it."""
PRIORITY_FOUND = 0
_NO_FACTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class RowOptions:
    """What may be asked for with a log: how its row and its object are to be.

    ``name``: its original name, where its path does not end in it. ``key``: the key asked for,
    empty for the usual one. ``kinds``: those it may be of, beside those of its directory.
    ``facts``: metadata of the object besides those that the log itself gives. ``received_by``: by
    which way it came in; empty where that is not known any more. ``on_copied``: as in ``spool``.
    """

    name: str | None = None
    key: str = ""
    priority: int = PRIORITY_ASKED
    session_id: str | None = None
    kinds: frozenset[str] = FLIGHT_KINDS
    facts: Mapping[str, str] = field(default_factory=lambda: _NO_FACTS, hash=False)
    received_by: Way = ""
    on_copied: Callable[[int, int], None] | None = None


class Intake:
    """What every way into the outbox needs: settings, keys, outbox, threads and the spool."""

    def __init__(
        self,
        settings: Settings,
        ownership: KeyOwnership,
        outbox: OutboxThread,
        files: Executor,
        on_enqueued: Callable[[], None],
        now: Clock = clock.now,
    ) -> None:
        """``on_enqueued`` is called after logs were entered.

        Raises :class:`ConfigError` for a source whose keys would not be this machine's.
        """
        self.settings = settings
        self.ownership = ownership
        self.outbox = outbox
        self.files = files
        self.on_enqueued = on_enqueued
        self.directories = checked_log_directories(settings, ownership)
        self.spool = settings.state_dir / "spool"
        self.reserve = Reserve(outbox, self.spool, settings.min_free_bytes, now)
        self.open_for_writing: Callable[[Iterable[str]], set[str]] = open_for_writing
        """Tells which files a program still writes to."""
        self.spool_lock = asyncio.Lock()
        """Held while a copy is put in place and gets its row, so that no other task adopts it."""

    def with_checked_key(self, options: RowOptions) -> RowOptions:
        """``options`` with the key in its final form; raises as ``KeyOwnership.check_lasting``."""
        key = self.ownership.check_lasting(options.key) if options.key else ""
        return replace(options, key=key)


async def enter_log(
    intake: Intake,
    path: Path,
    options: RowOptions,
    *,
    directory: LogDirectory | None = None,
    copy_of: Path | None = None,
    found: FlightLog | None = None,
) -> Row:
    """Examine the log at ``path`` and enter it into the outbox, durably; return its row.

    Arguments and errors as :func:`examined`; ``found``: as :func:`look` has just found it.
    """
    entry = await _examined(intake, path, options, directory, copy_of, found)
    row = None if copy_of else await intake.outbox(entering.enqueue_unless_alike, entry)
    if row is None:
        row = await intake.outbox(entering.enqueue, await _compared(intake, entry))
    log.info("enqueued key=%s size=%d verdict=%s", row.key, row.size, row.verdict)
    return row


async def examined(
    intake: Intake,
    path: Path,
    options: RowOptions,
    *,
    directory: LogDirectory | None = None,
    copy_of: Path | None = None,
) -> Entry:
    """Examine the log at ``path``; return what is to be entered of it.

    ``directory``: the log directory it belongs to; none for a file outside of all. ``copy_of``:
    for a copy in the spool the file it was made of, or the copy itself where that is not known.
    Raises as :func:`~petal_s3.logs.log_file.FlightLog.read`, and :class:`LocalStorageError`.
    """
    return await _compared(intake, await _examined(intake, path, options, directory, copy_of, None))


async def _examined(
    intake: Intake,
    path: Path,
    options: RowOptions,
    directory: LogDirectory | None,
    copy_of: Path | None,
    found: FlightLog | None,
) -> Entry:
    directory, real = directory or _outside(intake), copy_of is None
    if found is None:
        found = await run_in(intake.files, look, intake, path, options, directory, real=real)
    return _entry(intake, found, options, directory, copy_of)


def look(
    intake: Intake, path: Path, options: RowOptions, directory: LogDirectory, *, real: bool = True
) -> FlightLog:
    """Examine the log at ``path``, of ``directory``; blocking.

    ``real``: the path was allowed, so no link may lead away from it.
    """
    return FlightLog.read(
        path,
        max_bytes=intake.settings.max_file_size,
        name=options.name,
        real=real,
        kinds=options.kinds | directory.kinds,
    )


async def _compared(intake: Intake, entry: Entry) -> Entry:
    """The entry; where its file may be a proven one with another time, it is compared first."""
    if not entry.spooled:
        size, files = intake.settings.set_part_size, intake.files
        await known_again(intake.outbox, files, entry.path, entry.identity, part_size=size)
    return entry


def check_written(intake: Intake, path: Path, writing: Collection[str] | None = None) -> None:
    """Raise :class:`NotFinished` while a program writes to the file at the real ``path``; blocking.

    ``writing``: the real paths that programs write to, where that was just looked up.
    """
    if writing is None:
        writing = intake.open_for_writing([str(path)])
    if str(path) in writing or locked(str(path)):
        raise NotFinished(f"{path.name} is still being written; enqueue it when it is closed.")


async def enter_refused(
    intake: Intake,
    path: Path,
    error: NotAFlightLog,
    directory: LogDirectory | None,
    *,
    received_by: Way,
    copy_of: Path | None = None,
) -> None:
    """Enter the file at ``path``, which ``error`` refuses, as a dead row that a person can see.

    ``received_by``: as in :class:`RowOptions`; ``copy_of``: as for :func:`examined`.
    """
    log.warning("file refused path=%s code=%s", ascii(str(path)), error.code)
    with contextlib.suppress(OSError):
        file = Identity.of(os.lstat(path))
        facts = facts_of_refusal(intake, error)
        found = FlightLog(Path(printable(str(path))), "unknown", file, REFUSED, facts)
        options = RowOptions(name=path.name, priority=PRIORITY_FOUND, received_by=received_by)
        entry = _entry(intake, found, options, directory or _outside(intake), copy_of)
        await intake.outbox(entering.enter_refused, entry, error.code, error.message)


def facts_of_refusal(intake: Intake, error: S3IntegrationError) -> Mapping[str, str]:
    """By which setting a file was refused: it is looked at again when that has changed."""
    return {LIMIT: str(int(intake.settings.max_file_size))} if error.code == "too_large" else {}


def _outside(intake: Intake) -> LogDirectory:
    """Stands for the directory of a file outside of all log directories."""
    return LogDirectory(Path(), FLIGHT_KINDS, date_folders=intake.settings.date_folders)


def _entry(
    intake: Intake,
    found: FlightLog,
    options: RowOptions,
    directory: LogDirectory,
    copy_of: Path | None,
) -> Entry:
    name = found.path.name if options.name is None else options.name
    original = (copy_of or found.path).with_name(name)
    logged_at = directory.logged_at(original, found.identity.mtime_ns, found.kind, found.started_s)
    return Entry(
        path=str(found.path),
        identity=found.identity,
        key=options.key or directory.key(intake.ownership, name, logged_at, found.kind),
        name=printable(name),
        kind=found.kind,
        verdict=found.verdict,
        facts={**found.facts, **_flight(found.kind, original, logged_at), **options.facts},
        logged_at=int(logged_at.timestamp()),
        landed_at=int(time.time()),
        asked_key=options.key,
        spooled=copy_of is not None,
        session_id=options.session_id,
        priority=options.priority,
        content_type=directory.content_type,
        received_by=options.received_by,
    )


def _flight(kind: str, path: Path, logged_at: datetime) -> dict[str, str]:
    """The flight of a ULog that continues no other: its folder and its start."""
    folder = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.parent.name)
    return {FLIGHT: f"{folder}/{logged_at:%Y%m%dT%H%M%SZ}"} if kind == "ulog" else {}
