"""Take the steps of the schema that an outbox has not taken.

sqlite-utils knows which ones a database has taken, and takes the rest. To import it imports numpy
where that is installed, a third of a second and 20 MiB: a new outbox, which has taken none, is made
without it, and looks as if it had been.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from petal_s3.outbox.migrations import STEPS

if TYPE_CHECKING:
    from sqlite_utils import Migrations

_NAME = "petal-s3-outbox"
_TAKEN = (
    """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
)
_TAKE = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)"


@dataclass
class _Bare:
    conn: sqlite3.Connection


def migrations() -> Migrations:
    """The steps as sqlite-utils takes them."""
    from sqlite_utils import Migrations  # noqa: PLC0415 - slow

    made = Migrations(_NAME)
    for step in STEPS:
        made()(step)
    return made


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Take every step that is left; inside of a transaction."""
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        _create(connection)
        return
    from sqlite_utils import Database  # noqa: PLC0415 - slow, once in a release

    migrations().apply(Database(connection, execute_plugins=False))


def _create(connection: sqlite3.Connection) -> None:
    for statement in _TAKEN:
        connection.execute(statement)
    for step in STEPS:
        step(_Bare(connection))
        taken_at = str(datetime.now(timezone.utc))
        connection.execute(_TAKE, (_NAME, step.__name__, taken_at))
