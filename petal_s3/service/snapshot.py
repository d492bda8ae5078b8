"""Read an outbox from outside: nothing is created, no lock is taken, no process is asked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.errors import LocalStorageError
from petal_s3.intake.looking import Found, in_chunks, look_through
from petal_s3.intake.unclosed import advice_on, unchanged_long
from petal_s3.intake.writers import open_for_writing
from petal_s3.outbox import drain_status, facts, known_directories, known_files, queries
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.service import open_way
from petal_s3.service.report import (
    NO_REPORT,
    Place,
    Report,
    Seen,
    read_report,
    row_reason,
    sent_bytes,
)
from petal_s3.service.status import CARD, summary
from petal_s3.service.views.rows import row_view
from petal_s3.service.views.status import SnapshotView

_ORDER = ("uploading", "queued", "dead", "verified", "cancelled")


def read_status(settings: Settings, limit: int) -> SnapshotView:
    """How things are, with at most ``limit`` ``rows``: unsettled first, newest first.

    Raises :class:`LocalStorageError` when the outbox cannot be read.
    """
    path = settings.outbox_path
    with _reading(path) as outbox:
        if outbox is None:
            return _nothing_yet(settings, look_through(settings))
        rows: list[Row] = []
        for state in _ORDER:
            rows += queries.rows(outbox, state, limit - len(rows))
        seen = _seen(settings, outbox)
        found = summary(outbox, seen, bucket_name_of(settings))
        shown = [
            row_view(row, seen.now, row_reason(row, seen), sent_bytes(row, seen)) for row in rows
        ]
        return SnapshotView(**found.model_dump(), rows=shown)


def _seen(settings: Settings, outbox: Outbox) -> Seen:
    seen = Seen(
        read_report(drain_status.last(outbox)),
        DrainLock(settings.state_dir).holder(),
        now=clock.now(),
        wall=time.time(),
    )
    lies, paths = Found(), set[str]()
    for files in in_chunks(settings, lies, known_directories.known(outbox)):
        paths.update(known_files.unseen(outbox, files))
    unscanned = max(0, len(paths) - seen.live.watched)
    return replace(
        seen,
        unscanned=unscanned,
        trouble=lies.trouble,
        unread=len(lies.unread),
        advice=[*left_in(lies), *open_way.advice(settings)],
        place=_place(settings, seen.report),
    )


def _place(settings: Settings, said: Report) -> Place:
    machine_id = settings.machine_id or said.machine_id
    return Place(machine_id, settings.bucket_name, settings.rest_read_only)


def left_in(lies: Found) -> list[str]:
    """What to do about bags in the log directories that a recorder left long ago; blocking."""
    writing = open_for_writing(lies.unclosed)
    return advice_on(unchanged_long(lies.unclosed, writing, time.time()))


def last_report(settings: Settings) -> Report:
    """What the process that drained last said of itself; an empty one when there was none."""
    with _reading(settings.outbox_path) as outbox:
        return NO_REPORT if outbox is None else read_report(drain_status.last(outbox))


def directories_before(settings: Settings) -> dict[str, bool]:
    """The log directories that a scan has seen (:func:`petal_s3.outbox.known_directories.known`).

    Raises :class:`LocalStorageError` when the outbox cannot be read.
    """
    with _reading(settings.outbox_path) as outbox:
        return {} if outbox is None else known_directories.known(outbox)


def hints(settings: Settings) -> list[str]:
    """What the status does not tell: that no log lies where logs are looked for."""
    lies = Found()
    if any(in_chunks(settings, lies, directories_before(settings))) or lies.trouble:
        return []
    if _card_is_known(settings):
        return []
    directories = ", ".join(str(directory) for directory in settings.directories)
    return [
        f"No log lies in {directories}. ULogs stay on the autopilot's card until they are fetched:"
        " in the host by itself, stand-alone where PETAL_S3_AUTOPILOT says, or by a card reader."
    ]


def _card_is_known(settings: Settings) -> bool:
    with _reading(settings.outbox_path) as outbox:
        return outbox is not None and facts.noted(outbox, CARD)


@contextmanager
def _reading(path: Path) -> Iterator[Outbox | None]:
    try:
        exists = path.is_file()
    except PermissionError:
        raise LocalStorageError(
            f"{path} belongs to another user: ask as that user (the host's), or as root."
        ) from None
    outbox = Outbox(path) if exists else None
    try:
        yield outbox
    finally:
        if outbox is not None:
            outbox.close()


def _nothing_yet(settings: Settings, lies: Found) -> SnapshotView:
    """How things are before there is an outbox; ``lies``: what is in the log directories."""
    path = settings.outbox_path
    seen = Seen(
        unscanned=len(lies.files),
        trouble=lies.trouble,
        unread=len(lies.unread),
        advice=[*left_in(lies), *open_way.advice(settings)],
        now=clock.now(),
        wall=time.time(),
        place=_place(settings, NO_REPORT),
    )
    with tempfile.TemporaryDirectory() as elsewhere:
        empty = Outbox(Path(elsewhere, path.name))
        found = summary(empty, seen, "")
        empty.close()
    shown = found.model_dump() | {"outbox": str(path)}
    if not lies.files and not lies.trouble:
        why = f"There is no outbox at {path} yet: nothing has landed, nothing was enqueued."
        shown |= {"headline": why, "reason": why}
    return SnapshotView(**shown, rows=[])
