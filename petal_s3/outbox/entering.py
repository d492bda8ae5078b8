"""Enter logs into the outbox: durably, and once.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json

from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.logs.opening import Identity
from petal_s3.outbox import ages, copies, flights, identities, queries, requests
from petal_s3.outbox.database import Value
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import REFUSED, SAME_FILE, Entry, Row, columns

_OF_THE_FILE = {
    "key",
    "name",
    "kind",
    "verdict",
    "facts",
    "logged_at",
    "priority",
    "content_type",
    "received_by",
}


def enqueue(outbox: Outbox, entry: Entry) -> Row:
    """Enter a log, durably and once: the same file again gives the same row.

    A file whose row is dead or cancelled is queued again. A waiting row whose file has changed
    becomes the row of the new file; an upload that is under way notices the change itself. A
    proven row stays as it is.
    """
    with outbox.sql.write():
        row = _same_file(outbox, entry) or _row_to_reuse(outbox, entry)
        if row is None:
            return flights.join(outbox, _insert(outbox, entry, "queued"))
        if _may_be_open(row) and row.state in {"dead", "cancelled"}:
            # A changed file is noticed when it is opened.
            return requests.queue_again(outbox, row.id)
        if (
            row.state in {"dead", "cancelled"}
            or row.lost
            or (
                row.state == "queued"
                and row.identity != entry.identity
                and not _may_be_stored(row, entry.identity)
            )
        ):
            return flights.join(outbox, _replace_file(outbox, row, entry))
        if entry.priority > row.priority and row.state != "verified":
            return outbox.one(
                "UPDATE log SET priority = :priority WHERE id = :id RETURNING *",
                priority=entry.priority,
                id=row.id,
            )
        return row


def enter_again(outbox: Outbox, row_id: int, entry: Entry) -> Row:
    """Queue a dead or cancelled row, of which the file was examined; any other stays as it is.

    What S3 may hold of it is kept: a changed file is noticed when it is opened.
    Raises :class:`Conflict` (``same_file``) where another row has the file that lies there now,
    and :class:`S3FileNotFoundError` where its copy in the spool is about to be deleted.
    """
    with outbox.sql.write():
        row = queries.get(outbox, row_id)
        if row.state not in {"dead", "cancelled"}:
            return row
        if row.spooled and row.local == "deleted":
            raise S3FileNotFoundError(f"The copy of row {row.id} in the spool was deleted.")
        other = _same_file(outbox, entry)
        if other is not None and other.id != row.id:
            raise Conflict(
                f"Its file is that of row {other.id} now, which is {other.state}.", code="same_file"
            )
        judged = row.identity == entry.identity and row.verdict != REFUSED
        if judged or _may_be_stored(row, entry.identity):
            return requests.queue_again(outbox, row.id)
        return flights.join(outbox, _replace_file(outbox, row, entry))


def enqueue_unless_alike(outbox: Outbox, entry: Entry) -> Row | None:
    """As :func:`enqueue`; none, and nothing done, where the file has no row yet and one of its
    path and size was proven that had another time or inode: it may be the same, its bytes tell."""
    if _same_file(outbox, entry) is None:
        proven = identities.proven_at(outbox, entry.path, entry.identity.size)
        if any(row.identity != entry.identity for row in proven):
            return None
    return enqueue(outbox, entry)


def enter_cancelled(outbox: Outbox, entry: Entry, reason: str) -> Row:
    """Enter a copy in the spool whose row was cancelled, and lost with an earlier outbox."""
    with outbox.sql.write():
        row = _same_file(outbox, entry) or _insert(
            outbox, entry, "cancelled", code="cancelled", reason=reason
        )
        return outbox.one(
            "UPDATE log SET settled_s = :settled_s,"
            " reason = iif(state = 'cancelled', :reason, reason) WHERE id = :id RETURNING *",
            settled_s=ages.count(outbox),
            reason=f"{reason}{copies.KEPT.format(id=row.id)}",
            id=row.id,
        )


def enter_refused(outbox: Outbox, entry: Entry, code: str, reason: str) -> Row:
    """Enter a file that a scan found and that is not a log, as a dead row with its reason.

    A dead row of an earlier state of this file, of which nothing was sent, becomes its row.
    """
    with outbox.sql.write():
        row = _same_file(outbox, entry)
        if row is None:
            reused = _row_to_reuse(outbox, entry)
            row = reused if reused is not None and reused.state == "dead" else None
        if row is None:
            return _insert(outbox, entry, "dead", code=code, reason=reason)
        if row.state != "dead" or _may_be_stored(row, entry.identity):
            return row
        return outbox.one(
            "UPDATE log SET dev = :dev, ino = :ino, size = :size, mtime_ns = :mtime_ns,"
            " sent_bytes = 0, verdict = :verdict, facts = :facts, code = :code, reason = :reason,"
            # A file that changed is new again.
            " dismissed = iif(size = :size AND mtime_ns = :mtime_ns, dismissed, 0)"
            " WHERE id = :id RETURNING *",
            **columns(entry.identity),
            verdict=entry.verdict,
            facts=json.dumps(dict(entry.facts)),
            code=code,
            reason=reason,
            id=row.id,
        )


def _same_file(outbox: Outbox, entry: Entry) -> Row | None:
    return outbox.first(SAME_FILE, **_file(entry))


def _row_to_reuse(outbox: Outbox, entry: Entry) -> Row | None:
    return outbox.first(
        "SELECT * FROM log WHERE id = (SELECT max(id) FROM log INDEXED BY same_file"
        " WHERE path = :path AND asked_key = :asked_key"
        " AND state IN ('queued', 'uploading', 'dead'))",
        **_file(entry),
    )


def _insert(outbox: Outbox, entry: Entry, state: str, code: str = "", reason: str = "") -> Row:
    if not entry.spooled:
        # Of an earlier file of this path, half a download perhaps, only the object is left.
        outbox.sql.change(
            "UPDATE log INDEXED BY same_file SET local = 'other' WHERE path = :path"
            " AND state = 'verified' AND local = 'kept'"
            " AND NOT (ino = :ino AND size = :size AND mtime_ns = :mtime_ns)",
            path=entry.path,
            **columns(entry.identity),
        )
    return outbox.one(
        "INSERT INTO log (path, dev, ino, size, mtime_ns, asked_key, key, name, kind, verdict,"
        " facts, spooled, session_id, priority, logged_at, landed_at, content_type,"
        " received_by, state, code, reason)"
        " VALUES (:path, :dev, :ino, :size, :mtime_ns, :asked_key, :key, :name, :kind,"
        " :verdict, :facts, :spooled, :session_id, :priority, :logged_at, :landed_at,"
        " :content_type, :received_by, :state, :code, :reason) RETURNING *",
        **_file(entry),
        **_about(entry),
        state=state,
        code=code,
        reason=reason,
    )


def _replace_file(outbox: Outbox, row: Row, entry: Entry) -> Row:
    return outbox.one(
        "UPDATE log SET state = 'queued', dev = :dev, ino = :ino, size = :size,"
        " mtime_ns = :mtime_ns, key = :key, name = :name, kind = :kind, verdict = :verdict,"
        " facts = :facts, logged_at = :logged_at, priority = :priority, due_at = 0,"
        " content_type = :content_type, received_by = :received_by,"
        " failures = 0, code = '', reason = '', part_size = NULL, sent_bytes = 0, dismissed = 0,"
        " stored_at = NULL, read_back = NULL, receipt = NULL, same_as = NULL, local = 'kept'"
        " WHERE id = :id RETURNING *",
        **{k: v for k, v in _file(entry).items() if k not in {"path", "asked_key"}},
        **{k: v for k, v in _about(entry).items() if k in _OF_THE_FILE},
        id=row.id,
    )


def _may_be_open(row: Row) -> bool:
    """Whether S3 may hold a multipart upload for it, perhaps one whose id was lost."""
    begun = row.part_size is not None and row.size > row.part_size
    return begun or row.upload_id is not None


def _may_be_stored(row: Row, identity: Identity) -> bool:
    """Whether S3 may hold bytes of a file of this size under the key of ``row``."""
    return _may_be_open(row) or (row.part_size is not None and row.size == identity.size)


def _file(entry: Entry) -> dict[str, Value]:
    return {"path": entry.path, **columns(entry.identity), "asked_key": entry.asked_key}


def _about(entry: Entry) -> dict[str, Value]:
    return {
        "key": entry.key,
        "name": entry.name,
        "kind": entry.kind,
        "verdict": entry.verdict,
        "facts": json.dumps(dict(entry.facts)),
        "spooled": entry.spooled,
        "session_id": entry.session_id,
        "priority": entry.priority,
        "logged_at": entry.logged_at,
        "landed_at": entry.landed_at,
        "content_type": entry.content_type,
        "received_by": entry.received_by,
    }
