"""Tell which files in the log directories have a row already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.threads import run_in
from petal_s3.intake.entry import Intake
from petal_s3.intake.settling import FoundFile
from petal_s3.logs.opening import Identity
from petal_s3.logs.sniff import named_like
from petal_s3.outbox import identities, known_files, queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import printable

_CHUNK = 1000


async def without_row(intake: Intake, files: Sequence[FoundFile]) -> list[FoundFile]:
    """The files that have no row, as :func:`petal_s3.outbox.known_files.without_row`."""
    most = int(intake.settings.max_file_size)
    found: list[FoundFile] = []
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        found += await intake.outbox(known_files.without_row, chunk, max_bytes=most)
    return found


async def was_rotated(intake: Intake, path: str, identity: Identity) -> bool:
    """Whether it is a known file under a new name: then its rows follow, no log is new."""
    if named_like(Path(path).name, FLIGHT_KINDS) or path != printable(path):
        return False
    followed = False
    for row in await intake.outbox(known_files.rotated_from, path, identity):
        if not await run_in(intake.files, _has_name, row.path, identity):
            followed |= await intake.outbox(identities.change_path, row, path) is not None
    return followed


def written(outbox: Outbox) -> tuple[int, int]:
    """Another value where this process or another one has written."""
    return queries.changes(outbox), queries.version(outbox)


def _has_name(path: str, identity: Identity) -> bool:
    """Whether the file has this name as well; where that cannot be told, it may."""
    try:
        return Identity.of(os.lstat(path)) == identity
    except FileNotFoundError:
        return False
    except OSError:
        return True
