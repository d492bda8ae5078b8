"""What was fetched of logs that are no longer on the card: the only bytes that are left of them."""

from __future__ import annotations

import contextlib

from petal_s3.autopilot import partial
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import LocalStorageError, S3FileNotFoundError, S3IntegrationError
from petal_s3.intake.entry import PRIORITY_FOUND, Intake, RowOptions
from petal_s3.intake.spooling import enter_copy
from petal_s3.outbox import card as card_files
from petal_s3.outbox.card import CardFile


async def sweep(intake: Intake) -> None:
    """Remove what no file of the card needs any more; raises :class:`LocalStorageError`."""
    state_dir = intake.settings.state_dir
    for number in await run_in(intake.files, partial.numbers, state_dir):
        if not await _is_needed(intake, number):
            await run_in(intake.files, partial.discard, state_dir, number)


async def _is_needed(intake: Intake, number: int) -> bool:
    with contextlib.suppress(S3FileNotFoundError):
        file = await intake.outbox(card_files.get, number)
        return file.row_id is None and (file.fetched_bytes > 0 or file.state == "fetching")
    return False


async def salvage(intake: Intake) -> None:
    """Enter what was fetched of each log that has vanished from the card since: also all of it,
    where only the comparison with the card was missing.

    What holds no log, as its first bytes alone do, is removed. Raises
    :class:`LocalStorageError`.
    """
    for file in await intake.outbox(card_files.vanished):
        if file.row_id is None and file.fetched_bytes > 0:
            await _enter(intake, file)


async def _enter(intake: Intake, file: CardFile) -> None:
    state_dir = intake.settings.state_dir
    place = partial.place_of(state_dir, file.id, file.path)
    options = RowOptions(
        name=place.name, priority=PRIORITY_FOUND, kinds=FLIGHT_KINDS, received_by="card"
    )
    row_id = None
    try:
        row_id = (await enter_copy(intake, place, options)).id
    except LocalStorageError:
        raise
    except S3IntegrationError:
        pass
    await intake.outbox(card_files.salvaged, file.id, row_id)
    await run_in(intake.files, partial.discard, state_dir, file.id)
    if row_id is not None:
        intake.on_enqueued()
