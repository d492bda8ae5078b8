"""Copy an outbox while others write to it: SQLite itself reads it, in one transaction.

Never by copying the file: a process that opens and closes the database, or its ``-shm``, beside
SQLite takes away every lock that SQLite holds on it there, and commits are lost without an error
(sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from petal_s3.core.files import SAFE_FLAGS, cannot_write, cannot_write_to, check_links, sync
from petal_s3.errors import BadInput, Conflict, LocalStorageError, S3FileNotFoundError, plain
from petal_s3.outbox.database import connect
from petal_s3.outbox.forking import no_fork
from petal_s3.outbox.storage_errors import no_room, storage_errors

_PATIENCE_S = 30.0


def copy_to(path: Path, target: Path) -> int:
    """Write a consistent copy of the outbox at ``path`` to the new file ``target``; blocking.

    Returns its size in bytes; only this user may read it, and it is on disk. Nothing is left of it
    when that fails. To be called in a process that has the outbox not open. Raises
    :class:`S3FileNotFoundError` where there is no outbox, :class:`Conflict` where ``target`` is
    there already, :class:`BadInput` for a path that no file can have, :class:`LocalStorageError`.
    """
    with storage_errors(path):
        if not path.is_file():
            raise S3FileNotFoundError(f"There is no outbox at {path}.")
    _create(target)
    with ExitStack() as on_error:
        on_error.callback(target.unlink, missing_ok=True)
        with storage_errors(path):
            _vacuum(path, target)
        try:
            sync(target)  # no SQLite has it open
            sync(target.absolute().parent)
            size = target.stat().st_size
        except OSError as error:
            raise cannot_write(f"The copy is not on disk ({error.strerror}).", error) from error
        on_error.pop_all()
    return size


def _create(target: Path) -> None:
    """An empty file that only this user may read; SQLite writes into it."""
    shown = plain(str(target))[:120]
    try:
        check_links(target)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600))
    except FileExistsError:
        raise Conflict(f"{shown} is there already: it is not replaced.", code="exists") from None
    except ValueError as error:
        raise BadInput(f"{shown} cannot be written (it is no path).", code="bad_path") from error
    except OSError as error:
        raise cannot_write_to(shown, error) from error


def _vacuum(path: Path, target: Path) -> None:
    # Not created where it went meanwhile; and never migrated: it is another process's.
    with no_fork(), closing(connect(path, _PATIENCE_S)) as source:
        try:
            source.execute("VACUUM INTO ?", (os.fspath(target.absolute()),))
        except sqlite3.OperationalError as error:
            if no_room(target.absolute().parent):
                raise LocalStorageError(no_room(target.absolute().parent)) from error
            raise
