"""Enter files through a copy in the spool, and copies whose rows were lost with the outbox."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import (
    LocalStorageError,
    NotAFlightLog,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.intake import again, descriptions, spool
from petal_s3.intake.descriptions import Description
from petal_s3.intake.entry import (
    PRIORITY_FOUND,
    Intake,
    RowOptions,
    enter_log,
    enter_refused,
    examined,
)
from petal_s3.intake.reserve import Room
from petal_s3.logs.log_file import FlightLog
from petal_s3.logs.opening import open_log
from petal_s3.outbox import copies, entering, facts, queries
from petal_s3.outbox.rows import Row, printable

log = logging.getLogger("petal_s3")

_CANCELLED = "Cancelled, before the outbox was lost."


async def enter_copy(
    intake: Intake,
    real: Path,
    options: RowOptions,
    *,
    put_in_place: Callable[[Path], None] | None = None,
) -> Row:
    """Copy the file at ``real`` into the spool and enter the copy, durably; return its row.

    The caller may delete or change its file as soon as this returns. The key in ``options`` has
    been checked. ``put_in_place`` moves the file to the path it is given; without it the file is
    linked or copied. Raises as :func:`~petal_s3.intake.entry.enter_log`.
    """
    name = real.name if options.name is None else options.name
    options = replace(options, name=name)
    found = await run_in(
        intake.files,
        partial(
            FlightLog.read,
            real,
            max_bytes=intake.settings.max_file_size,
            name=name,
            kinds=options.kinds,
        ),
    )
    target = spool.copy_path(intake.spool, str(real.with_name(name)), found.identity, options.key)
    known = await _entered_before(intake, real, options, found.identity.size, target)
    if known is not None:
        return known
    told = (name, options.key, options.session_id, options.facts)
    description = Description(*told, received_by=options.received_by)
    async with intake.spool_lock, contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(run_in, intake.files, descriptions.forget, target)
        await run_in(intake.files, descriptions.describe, target, description)
        if put_in_place is None:
            room = await intake.reserve.room()
            put_in_place = partial(_bring_in, real, room, options.on_copied)
        await run_in(intake.files, put_in_place, target)
        row = await enter_log(intake, target, options, copy_of=real)
        undo.pop_all()
    return row


async def _entered_before(
    intake: Intake, real: Path, options: RowOptions, size: int, target: Path
) -> Row | None:
    """The row of an earlier copy of this file: a second copy of the same bytes fills the disk."""
    name = printable(str(options.name))
    for row in await intake.outbox(copies.alike, name, size, options.key):
        if await run_in(intake.files, spool.same_bytes, real, Path(row.path)):
            if not row.settled:
                return row  # whatever the path was that it was asked for by
            with contextlib.suppress(S3FileNotFoundError):  # its day has just ended
                return await again.retry(intake, row.id)
    for row in await intake.outbox(queries.at_path, str(target)):
        given_up = row.state in {"dead", "cancelled"} or row.lost
        if row.asked_key == options.key and not given_up:
            return row
    return None


def _bring_in(
    real: Path, room: Room, on_copied: Callable[[int, int], None] | None, target: Path
) -> None:
    fd = open_log(real)
    try:
        spool.bring_in(fd, real, target, room, on_copied)
    finally:
        os.close(fd)


async def adopt_copies(intake: Intake) -> None:
    """Enter copies in the spool that have no row: the outbox that held their rows was lost.

    Done once for each outbox. Raises :class:`LocalStorageError`.
    """
    if await intake.outbox(facts.noted, "copies adopted"):
        return
    async with intake.spool_lock:
        for copy in await run_in(intake.files, spool.copies, intake.spool):
            if not await intake.outbox(queries.at_path, str(copy)):
                await _adopt(intake, copy)
    await intake.outbox(facts.note, "copies adopted")


async def _adopt(intake: Intake, copy: Path) -> None:
    about = await run_in(intake.files, descriptions.described, copy)
    options = RowOptions(
        key=_usable_key(intake, copy, about.asked_key),
        priority=PRIORITY_FOUND,
        session_id=about.session_id,
        kinds=ALL_KINDS,
        facts=about.facts,
        received_by=about.received_by,
    )
    # A name that was damaged may not fit the content: then the name of the copy does.
    refused: NotAFlightLog | None = None
    for name in dict.fromkeys((about.name or copy.name, copy.name)):
        try:
            entry = await examined(intake, copy, replace(options, name=name), copy_of=copy)
        except LocalStorageError:
            raise
        except S3IntegrationError as error:
            log.warning("copy not adopted name=%s reason=%s", copy.name, error.message)
            refused = error if isinstance(error, NotAFlightLog) else refused
        else:
            if about.cancelled:
                await intake.outbox(entering.enter_cancelled, entry, _CANCELLED)
            else:
                await intake.outbox(entering.enqueue, entry)
            return
    if refused is not None:  # it may be the only one: a person decides
        await enter_refused(
            intake, copy, refused, None, received_by=about.received_by, copy_of=copy
        )


def _usable_key(intake: Intake, copy: Path, asked_key: str) -> str:
    """The key that was asked for a copy; empty where it is damaged or not this machine's."""
    try:
        return intake.ownership.check_lasting(asked_key) if asked_key else ""
    except S3IntegrationError as error:
        log.warning("asked key not kept name=%s reason=%s", copy.name, error.message)
        return ""
