"""Follow a log directory that was moved to another place, with a link left where it was."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.errors import S3IntegrationError
from petal_s3.intake.again import retry
from petal_s3.intake.entry import Intake
from petal_s3.outbox import identities
from petal_s3.outbox.rows import Row

log = logging.getLogger("petal_s3")

_MANY = 200
_MOST_LINKS = 40  # as Linux follows them


async def follow(intake: Intake) -> None:
    """Give rows the paths that their files have now; a log that was given up for it is taken up.

    Raises :class:`LocalStorageError`.
    """
    directories = intake.settings.directories
    for old in await run_in(intake.files, former_places, directories):
        after = 0
        while rows := await intake.outbox(identities.below, old, after, _MANY):
            for row in rows:
                await _follow(intake, row, directories)
            after = rows[-1].id


async def _follow(intake: Intake, row: Row, directories: Sequence[Path]) -> None:
    now = await run_in(intake.files, moved_to, row.path, directories)
    moved = await intake.outbox(identities.move_path, row, now) if now else None
    if moved is None:
        return
    log.info("log directory moved path=%s to=%s", ascii(row.path), ascii(now))
    if row.state == "dead" and row.code == "not_allowed":
        with contextlib.suppress(S3IntegrationError):  # the row says what was found
            await retry(intake, row.id)


def former_places(directories: Iterable[Path]) -> list[str]:
    """Where log directories are no longer themselves, as a link leads from there; blocking."""
    return [old for one in directories for old in _links_to(str(one))]


def moved_to(path: str, directories: Iterable[Path]) -> str | None:
    """Where the file at ``path`` lies since its log directory was moved; blocking.

    None where it was not. No link inside the directory is followed.
    """
    for directory in directories:
        real = os.path.realpath(directory)
        for old in _links_to(str(directory)):
            now = f"{real}{path[len(old) :]}"
            if path.startswith(f"{old}/") and os.path.realpath(now) == now:
                return now
    return None


def _links_to(directory: str) -> list[str]:
    """Each path on the way from ``directory`` to where its links lead, without the last."""
    found: list[str] = []
    while len(found) < _MOST_LINKS:
        further = _first_link(Path(directory))
        if further is None:
            break
        found.append(directory)
        directory = further
    return found


def _first_link(directory: Path) -> str | None:
    """The path after the first link in it was followed; none where there is none."""
    for place in (*reversed(directory.parents), directory):
        with contextlib.suppress(OSError):  # it is no link
            target = place.parent / os.readlink(place)  # noqa: PTH115 - the raw text
            return os.path.normpath(target / directory.relative_to(place))
    return None
