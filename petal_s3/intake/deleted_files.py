"""Note of dead rows that their files were deleted: nothing can be tried again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.intake.entry import Intake
from petal_s3.logs.opening import was_deleted
from petal_s3.outbox import queries, requests
from petal_s3.outbox.rows import Row

_MANY = 200


async def note_deleted(intake: Intake) -> None:
    """Look whether the files of the latest dead rows that are shown are still there."""
    rows = await intake.outbox(queries.rows, "dead", _MANY)
    for row in await run_in(intake.files, _deleted, rows):
        await intake.outbox(requests.note_deleted, row)


def _deleted(rows: Sequence[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if not row.spooled and row.code != "source_gone" and was_deleted(Path(row.path), row.dev)
    ]
