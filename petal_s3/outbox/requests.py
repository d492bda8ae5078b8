"""Change rows on request of a person or another petal, or because the link is back.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from petal_s3.errors import Conflict
from petal_s3.outbox import ages, copies, queries
from petal_s3.outbox.outbox import OPEN, Outbox
from petal_s3.outbox.rows import Row


def cancel(outbox: Outbox, row_id: int, reason: str, *, purge: bool = False) -> Row:
    """Cancel a row; the drain aborts its multipart upload afterwards.

    A copy in the spool stays for now; ``purge``: it is to be deleted, also that of a row that was
    cancelled before.
    """
    with outbox.sql.write():
        row = queries.get(outbox, row_id)
        if row.state == "cancelled" and row.has_copy and purge:
            copies.forget(outbox, row.id, copies.PURGED)
            return queries.get(outbox, row_id)
        if row.state in {"verified", "cancelled"}:
            return row
        kept = copies.KEPT.format(id=row.id) if row.spooled and not purge else ""
        return outbox.one(
            "UPDATE log SET state = 'cancelled', lease = NULL, code = 'cancelled',"
            " settled_s = :settled_s, local = iif(spooled AND :purge, 'deleted', local),"
            " reason = :reason WHERE id = :id RETURNING *",
            id=row_id,
            purge=purge,
            settled_s=ages.count(outbox),
            reason=f"{reason}{kept}",
        )


def retry(outbox: Outbox, row_id: int) -> Row:
    """Try a waiting row now. Any other stays as it is: one that was given up is examined first."""
    with outbox.sql.write():
        row = queries.get(outbox, row_id)
        return queue_again(outbox, row.id) if row.state == "queued" else row


def queue_again(outbox: Outbox, row_id: int) -> Row:
    """Queue a row, due now, inside a transaction that is open; its file has been examined."""
    row = queries.get(outbox, row_id)
    if row.state in {"verified", "uploading"}:
        return row
    return outbox.one(
        "UPDATE log SET state = 'queued', due_at = 0, code = '', reason = '', failures = 0,"
        " dismissed = 0, local = 'kept' WHERE id = :id RETURNING *",
        id=row_id,
    )


def dismiss(outbox: Outbox, row_ids: Sequence[int]) -> int:
    """Show and count these dead rows no longer, all or none; return how many were shown before.

    Raises :class:`S3FileNotFoundError`, and :class:`Conflict` for one that is not dead.
    """
    with outbox.sql.write():
        shown = 0
        for row_id in dict.fromkeys(row_ids):
            row = queries.get(outbox, row_id)
            if row.state != "dead":
                raise Conflict(
                    f"Row {row.id} is {row.state}, and only dead rows are dismissed.",
                    code="not_dead",
                )
            shown += outbox.sql.change(
                "UPDATE log SET dismissed = 1 WHERE id = :id AND NOT dismissed", id=row.id
            )
        return shown


def dismiss_dead(outbox: Outbox) -> int:
    """Show and count no dead row any longer; return how many were shown before."""
    return outbox.sql.change("UPDATE log SET dismissed = 1 WHERE state = 'dead' AND dismissed = 0")


def refuse_again(
    outbox: Outbox, row_id: int, code: str, reason: str, facts: Mapping[str, str]
) -> None:
    """Record why the file of a dead row is no log now; a row in another state stays as it is."""
    outbox.sql.change(
        "UPDATE log SET code = :code, reason = :reason, facts = json_patch(facts, :facts)"
        " WHERE id = :id AND state = 'dead'",
        code=code,
        reason=reason,
        facts=json.dumps(dict(facts)),
        id=row_id,
    )


def note_deleted(outbox: Outbox, row: Row) -> None:
    """Record that the file of a dead row was deleted, beside why it is dead; unless it changed."""
    outbox.sql.change(
        "UPDATE log SET code = 'source_gone', reason = :reason"
        " WHERE id = :id AND state = 'dead' AND code = :code",
        reason=f"{row.reason} Its file was deleted since: there is nothing left to try again.",
        id=row.id,
        code=row.code,
    )


def make_due(outbox: Outbox, now: float) -> int:
    """Make every row due that is not due yet, except files that are still settling."""
    return outbox.sql.change(
        f"UPDATE log INDEXED BY waiting SET due_at = 0 WHERE {OPEN} AND state = 'queued'"
        " AND boot_id = :boot AND due_at > :now"
        " AND code NOT IN ('source_changed', 'not_finished')",
        boot=outbox.boot_id,
        now=now,
    )


def clear_upload(outbox: Outbox, row: Row) -> None:
    """Record that nothing is left of the upload of ``row``."""
    outbox.sql.change(
        "UPDATE log SET upload_id = NULL, part_size = NULL WHERE id = :id"
        " AND upload_id IS :upload_id AND state IN ('dead', 'cancelled')",
        id=row.id,
        upload_id=row.upload_id,
    )
