"""Build the service that a command or a script on this machine uses, and upload with it."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TypeVar

from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings import Settings
from petal_s3.errors import (
    BadInput,
    LocalStorageError,
    NotAllowed,
    NotNow,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
)
from petal_s3.host import installed
from petal_s3.intake.flight_state import FlightState
from petal_s3.outbox import queries, requests
from petal_s3.outbox.rows import Row
from petal_s3.service.service import Service
from petal_s3.service.snapshot import last_report

T = TypeVar("T")


def local_service(
    settings: Settings, *, only_reads: bool = False, flight: FlightState | None = None
) -> Service:
    """A service for the keys of this machine, as the host knows it; nothing is opened yet.

    ``only_reads``: the outbox will not be opened, or only after :func:`stay_out`. Else raises
    as that does.
    """
    if not only_reads:
        stay_out(settings.state_dir)
    unread: LocalStorageError | None = None
    known: str | None = None
    try:
        known = told_machine_id(settings)
    except LocalStorageError as error:
        unread = error
    known = known or asked_machine_id(settings)
    if unread is not None and not (only_reads and (known or settings.machine_id)):
        raise unread  # the wrong folder would look like an empty one
    return Service(settings, host_machine_id=known, flight=flight)


def told_machine_id(settings: Settings) -> str:
    """The id that the host has, as the process that drained last knew it; empty: it told none.

    Raises :class:`LocalStorageError` where the outbox cannot be read.
    """
    told = last_report(settings)
    if told.host_machine_id:
        return told.host_machine_id
    return "" if settings.machine_id else told.machine_id


def asked_machine_id(settings: Settings) -> str | None:
    """The id that the host of this Python says it has; none where there is no host.

    Where another id is set it counts only if the host loads petal-s3: on other computers it is
    no drone's.
    """
    if settings.machine_id and not installed.is_registered():
        return None
    return installed.host_machine_id()


def stay_out(state_dir: Path) -> None:
    """As root, make no outbox in the directory of a user whose host could not open it.

    Raises :class:`NotAllowed`.
    """
    if os.geteuid() != 0 or (state_dir / "outbox.db").exists():
        return
    nearest = next(place for place in (state_dir, *state_dir.parents) if place.exists())
    owner = nearest.stat().st_uid
    if owner == 0:
        return
    name = f"#{owner}"
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(owner).pw_name
    raise NotAllowed(
        f"{nearest} belongs to {name}, who could not open an outbox made by root: run this as"
        f" {name} (sudo -u {name} petal-s3 ...)."
    )


async def prove(service: Service, row: Row) -> Row:
    """Drain until the row is proven, or wait while another process drains; return the row.

    Raises :class:`NotNow` when nothing can be sent now, :class:`S3UploadError` when the row is
    dead or cancelled.
    """
    if row.failures and not row.settled:  # asked for again: its backoff does not count
        row = await service.outbox(requests.retry, row.id)
        service.drainer.pause.new_log()
    if not row.settled:
        async with service.draining():
            row = await _settled(service, row)
    if row.state == "verified":
        return row
    error = S3UploadError(row.reason, code=row.code or row.state, status=409)
    error.waiting_helps, error.row_id = False, row.id
    raise error


async def _settled(service: Service, row: Row) -> Row:
    while True:
        try:
            return await service.wait(row.id, while_blocked=False)
        except NotNow:
            now = await service.outbox(queries.get, row.id)
            if not await service.waiting.is_sending(now):
                raise


def asked(
    thread: LoopThread,
    work: Coroutine[object, object, T],
    kind: type[S3UploadError | S3DownloadError] | None = None,
) -> T:
    """As :func:`run_in`; errors are raised as ``kind``, except that an object is missing."""
    try:
        return run_in(thread, work)
    except S3IntegrationError as error:
        if kind is None or isinstance(error, (kind, S3FileNotFoundError)):
            raise
        raise kind.of(error) from error


def run_in(thread: LoopThread, work: Coroutine[object, object, T]) -> T:
    """Run ``work`` in the thread of a client; raises :class:`BadInput` when that has ended."""
    if not thread.is_alive:
        work.close()
        raise BadInput(
            "This S3Client is closed, or was made before a fork: make another.", code="closed"
        )
    try:
        return thread.run(work)
    except CancelledError:
        raise BadInput("This S3Client was closed meanwhile.", code="closed") from None
