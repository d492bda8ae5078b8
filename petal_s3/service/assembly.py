"""Build every part of the service once, from the settings."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from petal_s3.cleanup.ageing import Ageing
from petal_s3.cleanup.retention import Retention
from petal_s3.cleanup.stale_uploads import Orphans
from petal_s3.core.clock import Clock
from petal_s3.core.machine_ids import machine_ids
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.intake.entry import Intake
from petal_s3.intake.flight_state import FlightState
from petal_s3.intake.watcher import Watcher
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.objects import Objects
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.capabilities import Capabilities
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import TokenService, token_service
from petal_s3.s3.server_time import ServerClock
from petal_s3.service.changes import Changes
from petal_s3.service.fetcher import Fetcher, fetcher_of
from petal_s3.service.gate import FlightGate, UploadGate
from petal_s3.upload.attempt import Uploader
from petal_s3.upload.duplicates import DuplicateFinder
from petal_s3.upload.learning import Learner
from petal_s3.upload.link_figures import LinkMeter
from petal_s3.upload.pause import Timing
from petal_s3.upload.plan import MOST_AT_ONCE, UploadPlan
from petal_s3.upload.worker import Drainer, DrainHooks

P = ParamSpec("P")
T = TypeVar("T")


class Files:
    """Two threads for blocking work on files."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="petal-s3-files")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in one of the threads."""
        return await run_in(self.threads, work, *args, **kwargs)

    def bytes_of(self, fd: int, size: int) -> FileBytes:
        """The bytes of an open file, to be compared with an object."""
        return FileBytes(fd, size, self.threads)


@dataclass(frozen=True)
class Seams:
    """What a test may replace: clocks, and what the server offers."""

    now: Clock
    wall: Clock
    capabilities: Capabilities | None


@dataclass(frozen=True)
class Base:
    """What all other parts are built on."""

    settings: Settings
    now: Clock
    ownership: KeyOwnership
    outbox: OutboxThread
    files: Files
    tokens: TokenService | None
    s3: S3


@dataclass(frozen=True)
class Parts:
    """Everything that lives as long as the service."""

    base: Base
    flight: FlightState
    lock: DrainLock
    changes: Changes
    objects: Objects
    learner: Learner
    uploader: Uploader
    orphans: Orphans
    drainer: Drainer
    flight_gate: FlightGate
    gate: UploadGate
    retention: Retention
    ageing: Ageing
    intake: Intake
    watcher: Watcher
    fetcher: Fetcher


def build(
    settings: Settings, flight: FlightState, host_machine_id: str | None, seams: Seams
) -> Parts:
    """Build all parts; nothing is opened yet.

    Raises :class:`ConfigError` when no machine id can be had.
    """
    base = _base(settings, host_machine_id, seams)
    now, changes = base.now, Changes()
    learner = _learner(base, seams.capabilities)
    uploader = _uploader(base, learner)
    orphans = Orphans(base.s3, base.outbox, base.ownership)
    flight_gate = FlightGate(flight, while_flying=settings.upload_while_flying, now=now)
    drainer = _drainer(base, uploader, orphans, flight_gate, changes)
    gate = UploadGate(flight_gate, drainer, now=now)
    intake = _intake(base, drainer)
    return Parts(
        base=base,
        flight=flight,
        lock=DrainLock(settings.state_dir),
        changes=changes,
        objects=Objects(
            base.s3, base.outbox, base.ownership, minimal=base.settings.metadata == "minimal"
        ),
        learner=learner,
        uploader=uploader,
        orphans=orphans,
        drainer=drainer,
        flight_gate=flight_gate,
        gate=gate,
        retention=_retention(base, gate),
        ageing=Ageing(base.outbox, base.files.threads, base.s3.clock, intake.spool),
        intake=intake,
        watcher=Watcher(intake, flight, now=now),
        fetcher=fetcher_of(intake, flight, uploader.duplicates.inventory, gate, now),
    )


def _base(settings: Settings, host_machine_id: str | None, seams: Seams) -> Base:
    ids = machine_ids(settings.machine_id, host_machine_id)
    tokens = token_service(settings, seams.now, seams.wall)
    s3, outbox = _s3(settings, tokens, seams), OutboxThread(settings.outbox_path)
    outbox.now = seams.now
    outbox.server_s = lambda: s3.clock.seconds() if s3.clock.offset_s is not None else None
    return Base(
        settings=settings,
        now=seams.now,
        ownership=KeyOwnership(settings.upload_prefix, ids, settings.bucket_name),
        outbox=outbox,
        files=Files(),
        tokens=tokens,
        s3=s3,
    )


def _s3(settings: Settings, tokens: TokenService | None, seams: Seams) -> S3:
    return S3.from_settings(
        settings,
        tokens,
        connections=(MOST_AT_ONCE if settings.concurrency == "auto" else settings.concurrency) + 6,
        server_clock=ServerClock(steady=seams.now, wall=seams.wall),
        now=seams.now,
    )


def _learner(base: Base, given: Capabilities | None) -> Learner:
    return Learner(
        base.s3,
        base.outbox,
        base.ownership.machine_prefix,
        bucket=bucket_name_of(base.settings),
        given=given,
        now=base.now,
    )


def _uploader(base: Base, learner: Learner) -> Uploader:
    threads = base.files.threads
    return Uploader(
        base.s3,
        base.outbox,
        threads,
        duplicates=DuplicateFinder(base.s3, base.outbox, threads, base.ownership, now=base.now),
        learner=learner,
        plan=UploadPlan(
            base.ownership.machine_ids[0],
            base.settings.part_size,
            base.settings.concurrency,
            LinkMeter(base.outbox, base.s3.sent, base.now),
            base.now,
            minimal=base.settings.metadata == "minimal",
            directories=base.settings.directories,
        ),
    )


def _drainer(
    base: Base, uploader: Uploader, orphans: Orphans, flight_gate: FlightGate, changes: Changes
) -> Drainer:
    return Drainer(
        base.settings,
        base.outbox,
        uploader,
        orphans,
        DrainHooks(flight_gate.sentence, changes.changed, changes.settled),
        Timing(base.now),
    )


def _retention(base: Base, gate: UploadGate) -> Retention:
    return Retention(
        base.settings,
        base.outbox,
        base.s3,
        base.files.threads,
        delete_blocked_reason=gate.closed_sentence,
        now=base.now,
    )


def _intake(base: Base, drainer: Drainer) -> Intake:
    return Intake(
        base.settings,
        base.ownership,
        base.outbox,
        base.files.threads,
        on_enqueued=drainer.pause.new_log,
        now=base.now,
    )
