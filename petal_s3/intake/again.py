"""Take a row up again that was given up: its file is examined as if it were new."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.core.threads import run_in
from petal_s3.errors import NotAFlightLog, S3FileNotFoundError, S3IntegrationError
from petal_s3.intake import descriptions
from petal_s3.intake.entry import (
    Intake,
    RowOptions,
    check_written,
    examined,
    facts_of_refusal,
)
from petal_s3.intake.log_directories import LogDirectory, directory_of
from petal_s3.outbox import entering, requests
from petal_s3.outbox.rows import REFUSED, Entry, Row


async def retry(intake: Intake, row_id: int) -> Row:
    """Try a waiting row now; queue one that was given up if its file is a finished log.

    Raises as :func:`~petal_s3.intake.enqueue.enqueue`, and :class:`Conflict` (``same_file``) where
    the file that lies there now has another row. The row stays given up then, with what was found.
    """
    row = await intake.outbox(requests.retry, row_id)
    if row.state not in {"dead", "cancelled"}:
        return row
    try:
        entry = await _examined(intake, row)
    except (NotAFlightLog, S3FileNotFoundError) as error:
        facts = facts_of_refusal(intake, error)
        await intake.outbox(requests.refuse_again, row.id, _code(error), error.message, facts)
        raise
    taken = await intake.outbox(entering.enter_again, row.id, entry)
    if taken.spooled:
        await run_in(intake.files, descriptions.mark, Path(taken.path), cancelled=False)
    return taken


async def _examined(intake: Intake, row: Row) -> Entry:
    path, directory = Path(row.path), None
    if not row.spooled:
        find = partial(directory_of, path, intake.directories)
        directory = await run_in(intake.files, find)
        await run_in(intake.files, check_written, intake, path)
    options = RowOptions(
        name=row.name,
        key=row.asked_key,
        priority=row.priority,
        session_id=row.session_id,
        kinds=_kinds(row, directory),
        received_by=row.received_by,
    )
    copy_of = path if row.spooled else None
    return await examined(intake, path, options, directory=directory, copy_of=copy_of)


def _kinds(row: Row, directory: LogDirectory | None) -> frozenset[str]:
    """The kind it was entered as; of a file that was refused, those of its directory."""
    if row.kind in ALL_KINDS and row.verdict != REFUSED:
        return frozenset({row.kind})
    return frozenset() if directory is not None else FLIGHT_KINDS


def _code(error: S3IntegrationError) -> str:
    """A file that is gone may come back: then a scan takes it up."""
    return "source_gone" if isinstance(error, S3FileNotFoundError) else error.code
