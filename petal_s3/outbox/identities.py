"""Keep rows and files together where the time, inode or path of a file changed.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from petal_s3.logs.opening import Identity
from petal_s3.outbox import requests
from petal_s3.outbox.database import Value
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import FLIGHT, SAME_FILE, Row, columns, row_of

# The flight of a log stays where its file is examined again.
_KEPT = f"json_extract(facts, '$.{FLIGHT}')"
_FACTS = f"CASE WHEN {_KEPT} IS NULL THEN :facts ELSE json_set(:facts, '$.{FLIGHT}', {_KEPT}) END"


def restart(
    outbox: Outbox,
    row: Row,
    identity: Identity,
    verdict: str,
    facts: Mapping[str, str],
    due_at: float,
) -> Row:
    """Record that the file is another one now: queued again, to be sent from the start.

    Where another row knows this file already (it was put back as it was), that one counts
    and this one is cancelled.
    """
    gone = "upload_id = NULL, part_size = NULL, sent_bytes = 0, stored_at = NULL, read_back = NULL"
    reason = "The file changed while it waited; it is sent anew."
    about = _judged(verdict, facts, due_at, reason)
    return _give_file(outbox, row, identity, f"lease = NULL, {gone}", about)


def reidentify(
    outbox: Outbox,
    row: Row,
    identity: Identity,
    verdict: str,
    facts: Mapping[str, str],
    due_at: float,
) -> Row:
    """Record that a file of the same size has another time or inode: queued again.

    Its upload is kept: an attempt compares what S3 holds with the file, part by part, unless the
    file is a copy of a proven log by now. What was begun is noted as of the earlier file until
    that was looked at, however many attempts fail before: an object that was stored before is not
    replaced.
    Where another row knows this file already, as :func:`restart`; the upload is aborted then.
    """
    reason = "The file has another time than before; it is compared with what S3 holds."
    begun = "stored_at IS NOT NULL OR upload_id IS NOT NULL"
    noted = f"CASE WHEN {begun} THEN '{{\"changed\": true}}' END"
    about = _judged(verdict, facts, due_at, reason)
    return _give_file(outbox, row, identity, f"lease = NULL, read_back = {noted}", about)


def _give_file(
    outbox: Outbox, row: Row, identity: Identity, always: str, about: Mapping[str, Value]
) -> Row:
    file = columns(identity)
    with outbox.sql.write():
        known = outbox.first(
            f"{SAME_FILE} AND id != :id",
            **file,
            path=row.path,
            asked_key=row.asked_key,
            id=row.id,
        )
        if known is None:
            return outbox.settle(
                row,
                f"state = 'queued', {always}, dev = :dev, ino = :ino,"
                f" size = :size, mtime_ns = :mtime_ns, verdict = :verdict, facts = {_FACTS},"
                " due_at = :due_at, code = 'source_changed', reason = :reason",
                **file,
                **about,
            )
        _take_up_again(outbox, known, {**about, "kind": row.kind})
        return outbox.settle(
            row,
            f"state = 'cancelled', {always}, code = 'same_file', reason = :reason",
            reason=f"The file is again the one of row {known.id}.",
        )


def _take_up_again(outbox: Outbox, row: Row, about: Mapping[str, Value]) -> None:
    """Queue a row that was given up: its file was examined just now, and judged."""
    if row.state in {"dead", "cancelled"}:
        requests.queue_again(outbox, row.id)
        outbox.sql.change(
            "UPDATE log SET kind = :kind, verdict = :verdict, facts = :facts WHERE id = :id",
            id=row.id,
            **{name: about[name] for name in ("kind", "verdict", "facts")},
        )


def change_path(outbox: Outbox, row: Row, path: str) -> Row | None:
    """Record the new path of a rotated file; none where ``path`` has a row of its own."""
    return outbox.first(
        "UPDATE OR IGNORE log SET path = :path, local = 'kept' WHERE id = :id RETURNING *",
        path=path,
        id=row.id,
    )


def below(outbox: Outbox, folder: str, after: int, most: int) -> list[Row]:
    """At most so many rows of files below ``folder``, with ids beyond ``after``."""
    found = outbox.sql.records(
        "SELECT * FROM log INDEXED BY same_file WHERE path > :folder || '/'"
        " AND path < :folder || '0' AND spooled = 0 AND id > :after ORDER BY id LIMIT :most",
        folder=folder,
        after=after,
        most=most,
    )
    return [row_of(one) for one in found]


def move_path(outbox: Outbox, row: Row, path: str) -> Row | None:
    """Record where a file lies since its folder was moved; none where that has a row of its own."""
    return outbox.first(
        "UPDATE OR IGNORE log SET path = :path WHERE id = :id RETURNING *", path=path, id=row.id
    )


def proven_at(outbox: Outbox, path: str, size: int) -> list[Row]:
    """The proven rows of files of ``size`` bytes at ``path``, the latest first.

    Those of copies in the spool are left out.
    """
    found = outbox.sql.records(
        "SELECT * FROM log INDEXED BY same_file WHERE path = :path AND size = :size"
        " AND state = 'verified' AND spooled = 0",
        path=path,
        size=size,
    )
    return sorted(map(row_of, found), key=lambda row: -row.id)  # they are few


def update_identity(outbox: Outbox, row: Row, identity: Identity) -> None:
    """Record that the file of a proven row has another time or inode, and the same bytes.

    Every row that was proven of this file takes on the new identity, except where that has a row.
    """
    assert row.receipt is not None
    outbox.sql.change(
        "UPDATE OR IGNORE log INDEXED BY same_file SET dev = :dev, ino = :ino,"
        " mtime_ns = :mtime_ns, local = 'kept' WHERE path = :path AND size = :size"
        " AND mtime_ns = :before AND state = 'verified' AND spooled = 0"
        " AND json_extract(receipt, '$.checksum') = :checksum",
        **columns(identity),
        path=row.path,
        before=row.mtime_ns,
        checksum=row.receipt.checksum,
    )


def note_inode(outbox: Outbox, row: Row, identity: Identity) -> Row:
    """Record under which inode the file of a claimed row was opened: at each mount another one.

    Its size and time are those of the row. Where another row has this very file, nothing changes.
    """
    found = outbox.sql.records(
        "UPDATE OR IGNORE log SET dev = :dev, ino = :ino WHERE id = :id AND lease = :lease"
        " AND size = :size AND mtime_ns = :mtime_ns RETURNING *",
        **columns(identity),
        id=row.id,
        lease=row.lease,
    )
    return row_of(found[0]) if found else row


def _judged(
    verdict: str, facts: Mapping[str, str], due_at: float, reason: str
) -> dict[str, str | float]:
    told = json.dumps(dict(facts))
    return {"verdict": verdict, "facts": told, "due_at": due_at, "reason": reason}
