"""Enter a file by its path, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.errors import BadInput, NotAllowed, S3FileNotFoundError
from petal_s3.intake.entry import Intake, RowOptions, check_written, enter_log, look
from petal_s3.intake.log_directories import LogDirectory, directory_of
from petal_s3.intake.spooling import enter_copy
from petal_s3.logs.log_file import FlightLog
from petal_s3.logs.opening import NO_SUCH_FILE, check_regular, os_refusal
from petal_s3.logs.sniff import shown_name
from petal_s3.outbox.rows import Row

_PATH_BYTES = 4095  # Linux: PATH_MAX without the NUL


async def enqueue(
    intake: Intake,
    path: str | os.PathLike[str],
    options: RowOptions,
    *,
    inside_only: bool = False,
    writing: Collection[str] | None = None,
) -> Row:
    """Enter the file at ``path`` into the outbox, durably, without waiting for its upload.

    ``writing``: as :func:`written_to` has just found it for this path among others.

    A file outside the log directories is first copied into the spool, or refused with
    ``inside_only``.
    Raises :class:`NotAFlightLog`, :class:`NotFinished`, :class:`NotAllowed`,
    :class:`BadInput`, :class:`S3FileNotFoundError`, :class:`LocalStorageError`.
    """
    options = intake.with_checked_key(options)
    name = Path(options.name or os.fspath(path)).name
    real, directory, found = await run_in(
        intake.files,
        _looked_at,
        intake,
        path,
        replace(options, name=name),
        writing,
        inside_only=inside_only,
    )
    options = replace(options, name=name)
    if directory is not None:
        row = await enter_log(intake, real, options, directory=directory, found=found)
    else:
        row = await enter_copy(intake, real, options)
    intake.on_enqueued()
    return row


def _looked_at(
    intake: Intake,
    path: str | os.PathLike[str],
    options: RowOptions,
    writing: Collection[str] | None,
    *,
    inside_only: bool,
) -> tuple[Path, LogDirectory | None, FlightLog | None]:
    """The real path of a file, the log directory it belongs to, and what it is if it has one."""
    real, directory = locate(path, intake.directories, inside_only=inside_only)
    check_written(intake, real, writing)
    if not options.name:
        raise BadInput("This is not a file name.", code="bad_name")
    return real, directory, look(intake, real, options, directory) if directory else None


async def written_to(intake: Intake, paths: Iterable[str | os.PathLike[str]]) -> frozenset[str]:
    """Of the files at ``paths`` the real paths of those that a program writes to.

    Where the kernel does not tell, all of /proc is read: once for many files, and not for each.
    """
    return await run_in(intake.files, _written_to, intake, [os.fspath(path) for path in paths])


def _written_to(intake: Intake, paths: Sequence[str]) -> frozenset[str]:
    real = {os.path.realpath(path) for path in paths if "\0" not in path}
    return frozenset(intake.open_for_writing(real))


def locate(
    path: str | os.PathLike[str], directories: Sequence[LogDirectory], *, inside_only: bool = False
) -> tuple[Path, LogDirectory | None]:
    """The real path of a file, and which of ``directories`` it belongs to; blocking.

    Raises :class:`BadInput`, :class:`S3FileNotFoundError`, and :class:`NotAFlightLog` for a path
    that is too long or may not be entered; with ``inside_only`` first :class:`NotAllowed` for any
    path outside of all: that never tells whether there is a file.
    """
    text = os.fspath(path)
    if not text.strip() or "\0" in text:
        raise BadInput("This is not a path.", code="bad_path")
    shown = shown_name(Path(text).name)
    try:
        if len(os.fsencode(text)) > _PATH_BYTES:
            raise BadInput("This path is too long.", code="bad_path")
    except UnicodeEncodeError:  # half of a pair of surrogates, as JSON may hold one
        raise BadInput(f"{shown}: this is not the name of a file.", code="bad_name") from None
    real = Path(os.path.realpath(text))
    directory = directory_of(real, directories)
    if inside_only and directory is None:
        raise NotAllowed("Only files inside the log directories can be enqueued this way.")
    try:
        check_regular(real.stat().st_mode, shown_name(real.name))  # a device is always open
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            raise S3FileNotFoundError(f"There is no file {real.name!a}.") from error
        raise os_refusal(error, shown_name(real.name)) from error
    return real, directory
