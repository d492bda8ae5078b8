"""Read an outbox from outside: nothing is created, no lock is taken, no process is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.errors import LocalStorageError
from petal_s3.intake.log_directories import look_through
from petal_s3.outbox import drain_status, queries
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.service.status import NO_REPORT, Report, read_report, reason_of, summary
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
            return _nothing_yet(path)
        rows: list[Row] = []
        for state in _ORDER:
            rows += queries.rows(outbox, state, limit - len(rows))
        report = read_report(drain_status.last(outbox))
        holder = DrainLock(settings.state_dir).holder()
        found = summary(outbox, report, holder, bucket_name_of(settings))
        drained = found.drained_by is not None
        held_up = report.reason if drained else ""
        shown = [
            row_view(row, clock.now(), reason_of(row, held_up, drained=drained)) for row in rows
        ]
        return SnapshotView(**found.model_dump(), rows=shown)


def last_report(settings: Settings) -> Report:
    """What the process that drained last said of itself; an empty one when there was none."""
    with _reading(settings.outbox_path) as outbox:
        return NO_REPORT if outbox is None else read_report(drain_status.last(outbox))


def hints(settings: Settings) -> list[str]:
    """What the rows do not tell: that no log lies where logs are looked for, or new ones do."""
    found = look_through(settings)
    files, unread = list(found.files.items()), [found.trouble] if found.trouble else []
    if not files:
        directories = ", ".join(str(directory) for directory in settings.directories)
        return unread or [
            f"No log lies in {directories}. ULogs stay on the autopilot's card until something"
            " brings them there: petal-flight-log's sync, MAVFTP, or a card reader."
        ]
    with _reading(settings.outbox_path) as outbox:
        new = len(files if outbox is None else queries.without_row(outbox, files))
    if not new:
        return unread
    return [
        *unread,
        f"Not in the outbox yet: {new} in the log directories. The host takes them at its next"
        " scan, petal-s3 drain at once.",
    ]


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


def _nothing_yet(path: Path) -> SnapshotView:
    with tempfile.TemporaryDirectory() as elsewhere:
        empty = Outbox(Path(elsewhere, path.name))
        found = summary(empty, NO_REPORT, None, "")
        empty.close()
    why = f"There is no outbox at {path} yet: nothing has landed, nothing was enqueued."
    shown = found.model_dump() | {"outbox": str(path), "reason": why}
    return SnapshotView(**shown, rows=[])
