"""Bring a log that was fetched from the autopilot's card into the outbox."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from petal_s3.autopilot import partial
from petal_s3.autopilot.fetch import NotSame
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import NotAFlightLog
from petal_s3.intake.entry import (
    PRIORITY_ASKED,
    PRIORITY_FOUND,
    Intake,
    RowOptions,
    enter_refused,
)
from petal_s3.intake.spool import bring_in, copy_path
from petal_s3.intake.spooling import enter_copy
from petal_s3.logs.opening import Identity, open_log
from petal_s3.outbox import card as card_files
from petal_s3.outbox import queries
from petal_s3.outbox.card import CardFile

log = logging.getLogger("petal_s3")

PRIORITY_MISSION = 5
"""Mission logs are small and made to be sent first."""


async def enter(intake: Intake, file: CardFile) -> int:
    """Bring a whole file into the outbox; returns its row. Done twice, it gives the same row.

    Raises :class:`LocalStorageError`, and :class:`NotSame` where its bytes are not here any more.
    """
    place = partial.place_of(intake.settings.state_dir, file.id, file.path)
    if not await run_in(intake.files, partial.is_whole, place, file.size):
        raise NotSame("What was fetched of it is not on the disk any more.")
    mission = PRIORITY_MISSION if file.tree == "mission_log" else PRIORITY_FOUND
    options = RowOptions(
        name=place.name,
        priority=PRIORITY_ASKED if file.asked else mission,
        kinds=FLIGHT_KINDS,
        received_by="card",
    )
    try:
        row_id = (await enter_copy(intake, place, options)).id
    except NotAFlightLog as error:
        row_id = await _refused(intake, place, error)
    await intake.outbox(card_files.entered, file.id, row_id)
    await run_in(intake.files, partial.discard, intake.settings.state_dir, file.id)
    intake.on_enqueued()
    log.info("fetched from the card path=%s size=%d row=%d", ascii(file.path), file.size, row_id)
    return row_id


async def _refused(intake: Intake, place: Path, error: NotAFlightLog) -> int:
    """Keep what is no log as a dead row, with its bytes: a person decides."""
    target = await run_in(intake.files, _bring_in, intake.spool, place)
    async with intake.spool_lock:
        await enter_refused(intake, target, error, None, received_by="card", copy_of=place)
    return (await intake.outbox(queries.at_path, str(target)))[0].id


def _bring_in(spool: Path, place: Path) -> Path:
    fd = open_log(place)
    try:
        target = copy_path(spool, str(place), Identity.of(os.fstat(fd)))
        bring_in(fd, place, target)
        return target
    finally:
        os.close(fd)
