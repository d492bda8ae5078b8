"""The files of the autopilot's card: how far each was fetched, and which row it became.

    seen ──two listings agree──▶ settled ──▶ fetching ──▶ fetched ──▶ (proven: its row is verified)

``skipped``: it is only shown. ``gone``: it vanished from the card. ``changed``: what lies there now
is another file. Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its
thread.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields

from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.outbox.database import Record
from petal_s3.outbox.outbox import Outbox

TREES = ("log", "mission_log")
"""The two trees of logs on a card; the small mission logs are made to be sent first."""
ON_CARD = "card.state NOT IN ('gone', 'changed')"
_TO_FETCH = frozenset({"settled", "fetching", "fetched"})
_JOINED = (
    "SELECT card.*, log.state AS row_state, log.code AS row_code, log.reason AS row_reason,"
    " log.gone AS row_gone FROM card LEFT JOIN log ON log.id = card.row_id"
)
_SHOWN_GONE = 100


@dataclass(frozen=True)
class CardFile:
    """One file of the card; columns as in :mod:`petal_s3.outbox.schema`, those of its row last."""

    id: int
    tree: str
    path: str
    size: int
    modified: float | None
    logged_at: int
    state: str
    boot_id: str
    since_s: float
    baseline: bool
    asked: bool
    fetched_bytes: int
    crc32: int
    kept_boot: str
    code: str
    reason: str
    row_id: int | None
    row_state: str | None
    row_code: str | None
    row_reason: str | None
    row_gone: str | None

    @property
    def proven(self) -> bool:
        """Whether its bytes are proven in the bucket, as far as is known."""
        return self.row_state == "verified" and not self.row_gone

    @property
    def shown_state(self) -> str:
        """Its state as it is shown."""
        return "proven" if self.state == "fetched" and self.proven else self.state

    @property
    def is_open(self) -> bool:
        """Whether it is still to be fetched by itself."""
        return self.state in {"seen", "settled", "fetching"} or (
            self.state == "fetched" and self.row_id is None
        )

    @property
    def left_bytes(self) -> int:
        """How much of it is still to be fetched; 0 unless it is open."""
        return self.size - self.fetched_bytes if self.is_open else 0

    @property
    def matters(self) -> bool:
        """Whether something is lost with it, as long as it is not proven: an empty file is none."""
        return self.size > 0 and not self.proven

    @property
    def order(self) -> tuple[bool, bool, int, list[int]]:
        """Ascending: which is fetched first. Those asked for, mission logs, then the newest."""
        numbers = [-int(number) for number in _NUMBER.findall(self.path)]
        return not self.asked, self.tree != "mission_log", -self.logged_at, numbers

    @property
    def age(self) -> tuple[int, list[int]]:
        """Ascending: which is the oldest; those of boots without a clock come first."""
        return self.logged_at, [int(number) for number in _NUMBER.findall(self.path)]


_NUMBER = re.compile(r"[0-9]{1,15}")
_COLUMNS = tuple(field.name for field in fields(CardFile))


def _file_of(record: Record) -> CardFile:
    values = {name: record[name] for name in _COLUMNS}
    return CardFile(**values | {name: bool(values[name]) for name in ("baseline", "asked")})


def select(outbox: Outbox, where: str, **values: str | int | float | None) -> list[CardFile]:
    """The files that a condition on the columns of ``card`` tells."""
    return [_file_of(record) for record in outbox.sql.records(f"{_JOINED} WHERE {where}", **values)]


def on_card(outbox: Outbox) -> list[CardFile]:
    """The files that lay on the card when it was listed last."""
    return select(outbox, f"{ON_CARD} ORDER BY card.id")


def vanished(outbox: Outbox) -> list[CardFile]:
    """Files that vanished before their bytes were here, the latest hundred; the latest first."""
    return select(
        outbox,
        "card.state = 'gone' AND card.size > 0 AND (card.row_id IS NULL"
        " OR card.fetched_bytes < card.size)"
        " ORDER BY card.id DESC LIMIT :limit",
        limit=_SHOWN_GONE,
    )


def get(outbox: Outbox, file_id: int) -> CardFile:
    """The file; raises :class:`S3FileNotFoundError`."""
    for found in select(outbox, "card.id = :id", id=file_id):
        return found
    raise S3FileNotFoundError(f"There is no file {file_id} of the card in the outbox.")


def next_file(outbox: Outbox, not_now: Collection[int] = ()) -> CardFile | None:
    """What is to be fetched or entered next, those in ``not_now`` left out; none: nothing is."""
    open_files = select(outbox, "card.state IN ('settled', 'fetching', 'fetched')")
    ready = [
        one
        for one in open_files
        if one.state in _TO_FETCH and one.is_open and one.id not in not_now
    ]
    return min(ready, key=lambda one: one.order, default=None)


def advance(outbox: Outbox, file_id: int, fetched_bytes: int, crc32: int) -> None:
    """So many bytes of it are on the disk; ``crc32``: of them."""
    outbox.sql.change(
        "UPDATE card SET state = 'fetching', fetched_bytes = :fetched_bytes, crc32 = :crc32,"
        " kept_boot = :boot, code = '', reason = ''"
        " WHERE id = :id AND state IN ('settled', 'fetching')",
        id=file_id,
        fetched_bytes=fetched_bytes,
        crc32=crc32,
        boot=outbox.boot_id,
    )


def restart(outbox: Outbox, file_id: int, code: str, reason: str, now: float) -> None:
    """Nothing of it counts as fetched any more: it has to settle anew, for ``reason``."""
    outbox.sql.change(
        "UPDATE card SET state = 'seen', fetched_bytes = 0, crc32 = 0, kept_boot = '',"
        " row_id = NULL, boot_id = :boot, since_s = :now,"
        f" code = :code, reason = :reason WHERE id = :id AND {ON_CARD}",
        boot=outbox.boot_id,
        now=now,
        id=file_id,
        code=code,
        reason=reason,
    )


def note(outbox: Outbox, file_id: int, code: str, reason: str) -> None:
    """Note why it could not be fetched now; written where it is new."""
    outbox.sql.change(
        "UPDATE card SET code = :code, reason = :reason WHERE id = :id AND reason != :reason"
        f" AND {ON_CARD}",
        id=file_id,
        code=code,
        reason=reason,
    )


def fetched(outbox: Outbox, file_id: int) -> None:
    """All of its bytes are on the disk, and agree with the card."""
    outbox.sql.change(
        "UPDATE card SET state = 'fetched', code = '', reason = '' WHERE id = :id"
        " AND state = 'fetching' AND fetched_bytes = size",
        id=file_id,
    )


def entered(outbox: Outbox, file_id: int, row_id: int) -> None:
    """It became the row ``row_id``."""
    outbox.sql.change(
        "UPDATE card SET row_id = :row_id, code = '', reason = '' WHERE id = :id"
        " AND state = 'fetched'",
        id=file_id,
        row_id=row_id,
    )


def salvaged(outbox: Outbox, file_id: int, row_id: int | None) -> None:
    """What was fetched of a file that vanished became the row ``row_id``; none: it was no log."""
    what = "they were no log" if row_id is None else f"row {row_id} has them"
    outbox.sql.change(
        "UPDATE card SET row_id = :row_id, reason = :reason || fetched_bytes || ' of its ' || size"
        " || ' bytes were fetched: ' || :what || '.',"
        " fetched_bytes = iif(:row_id IS NULL, 0, fetched_bytes)"
        " WHERE id = :id AND state = 'gone'",
        id=file_id,
        row_id=row_id,
        reason="It vanished from the card when ",
        what=what,
    )


def ask(outbox: Outbox, file_id: int) -> CardFile:
    """Fetch this one, whatever the settings leave out; one whose bytes were lost begins anew.

    Raises :class:`S3FileNotFoundError`, and :class:`Conflict` for a file that cannot be fetched.
    """
    with outbox.sql.write():
        found = get(outbox, file_id)
        if found.state in {"gone", "changed"}:
            raise Conflict(f"{found.path} is not on the card any more.", code="card_gone")
        if found.state == "skipped" and found.code != "baseline":
            raise Conflict(found.reason, code=found.code)
        lost = found.row_id is not None and _is_lost(outbox, found)
        if found.state == "skipped" or lost:
            outbox.sql.change(
                "UPDATE card SET state = 'seen', fetched_bytes = 0, crc32 = 0, row_id = NULL,"
                " code = '', reason = '' WHERE id = :id",
                id=file_id,
            )
        outbox.sql.change("UPDATE card SET asked = 1 WHERE id = :id", id=file_id)
        return get(outbox, file_id)


def _is_lost(outbox: Outbox, found: CardFile) -> bool:
    """Whether neither the bucket nor the spool holds its bytes any more, as far as is known."""
    if found.proven:
        return False
    copy = outbox.sql.records(
        "SELECT 1 AS one FROM log WHERE id = :id AND state != 'verified' AND local = 'kept'"
        " AND code NOT IN ('source_gone')",
        id=found.row_id,
    )
    return not copy
