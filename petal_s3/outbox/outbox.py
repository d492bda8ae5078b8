"""Keep one row per log and guard every transition; the only SQL.

    queued ──claim──▶ uploading ──verified──▶ verified
      ▲                  │  │
      └──defer, release──┘  ├──bury──▶ dead       revive leads back to queued
                            └──cancel─▶ cancelled

Every settling statement carries the lease of the claim: a worker that lost it changes nothing
and gets :class:`~petal_s3.errors.LeaseLost`. Times are seconds since boot beside the boot id;
a row from another boot is due. All methods block: they run on one thread (``outbox_thread``).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petal_s3.core import clock
from petal_s3.errors import LeaseLost, S3FileNotFoundError
from petal_s3.logs.log_file import Identity
from petal_s3.outbox.database import Sql
from petal_s3.outbox.rows import Entry, Receipt, Row, printable, row_of

STATES = ("queued", "uploading", "verified", "dead", "cancelled")
_OPEN = "state IN ('queued', 'uploading')"
_DUE = "(boot_id != :boot OR due_at <= :now)"


class Outbox:
    """The rows, in one SQLite database in WAL mode that is on disk when a call returns."""

    def __init__(self, path: Path, *, boot_id: str | None = None, check: bool = False) -> None:
        """Open or create the database at ``path``; raises :class:`LocalStorageError`.

        ``check`` looks through all of it for damage first.
        """
        self.path = path
        self.sql = Sql(path, check=check)
        self._boot = boot_id if boot_id is not None else clock.boot_id()

    def close(self) -> None:
        """Close the connection."""
        self.sql.close()

    # -- entering

    def land(self, entry: Entry) -> Row:
        """Enter a log, durably and once: the same file again gives the same row.

        A file that was buried or cancelled is queued again. A waiting row of which the file
        has changed takes on the new file; one that is already being sent finds out by itself.
        """
        with self.sql.write():
            row = self._same_file(entry) or self._overtaken(entry)
            if row is None:
                return self._insert(entry, "queued")
            if _may_be_open(row) and row.state in {"dead", "cancelled"}:
                return self._retry(row.id)  # a changed file is found out when it is opened
            if row.state in {"dead", "cancelled"} or (
                row.state == "queued"
                and row.identity != entry.identity
                and not _may_be_stored(row, entry.identity)
            ):
                return self._take_on(row, entry)
            if entry.priority > row.priority:
                return self._one(
                    "UPDATE log SET priority = :priority WHERE id = :id RETURNING *",
                    priority=entry.priority,
                    id=row.id,
                )
            return row

    def refuse(self, entry: Entry, code: str, reason: str) -> Row:
        """Enter what a scan found but is no log, as a dead row, so that a person sees it."""
        with self.sql.write():
            row = self._same_file(entry)
            if row is not None:
                return row
            return self._insert(entry, "dead", code=code, reason=reason)

    def _same_file(self, entry: Entry) -> Row | None:
        return self._first(_SAME_FILE, **_file(entry))

    def _overtaken(self, entry: Entry) -> Row | None:
        return self._first(
            "SELECT * FROM log WHERE id = (SELECT max(id) FROM log INDEXED BY same_file"
            " WHERE path = :path AND asked_key = :asked_key"
            " AND state IN ('queued', 'uploading', 'dead'))",
            **_file(entry),
        )

    def _insert(self, entry: Entry, state: str, code: str = "", reason: str = "") -> Row:
        return self._one(
            "INSERT INTO log (path, dev, ino, size, mtime_ns, asked_key, key, name, kind, verdict,"
            " facts, spooled, session_id, priority, logged_at, landed_at, content_type, state,"
            " code, reason)"
            " VALUES (:path, :dev, :ino, :size, :mtime_ns, :asked_key, :key, :name, :kind,"
            " :verdict, :facts, :spooled, :session_id, :priority, :logged_at, :landed_at,"
            " :content_type, :state, :code, :reason) RETURNING *",
            **_file(entry),
            **_about(entry),
            state=state,
            code=code,
            reason=reason,
        )

    def _take_on(self, row: Row, entry: Entry) -> Row:
        return self._one(
            "UPDATE log SET state = 'queued', dev = :dev, ino = :ino, size = :size,"
            " mtime_ns = :mtime_ns, key = :key, name = :name, kind = :kind, verdict = :verdict,"
            " facts = :facts, logged_at = :logged_at, priority = :priority, due_at = 0,"
            " content_type = :content_type,"
            " failures = 0, code = '', reason = '', part_size = NULL, sent_bytes = 0,"
            " stored_at = NULL, read_back = NULL"
            " WHERE id = :id RETURNING *",
            **{k: v for k, v in _file(entry).items() if k not in {"path", "asked_key"}},
            **{k: v for k, v in _about(entry).items() if k in _TAKEN_ON},
            id=row.id,
        )

    # -- claiming and settling

    def take_over(self) -> int:
        """Make every claimed row due: called by who holds the drain lock, so no worker lives."""
        return self.sql.change("UPDATE log SET state = 'queued', lease = NULL, due_at = 0"
                            " WHERE state = 'uploading'")  # fmt: skip

    def claim(self, now: float, lease_s: float) -> Row | None:
        """Claim the next due row: highest priority first, then the newest log."""
        with self.sql.write():
            return self._first(
                f"UPDATE log SET state = 'uploading', lease = :lease, boot_id = :boot,"
                f" due_at = :now + :lease_s, attempts = attempts + 1 WHERE id = ({CLAIM_QUERY})"
                " RETURNING *",
                lease=secrets.token_hex(8),
                boot=self._boot,
                now=now,
                lease_s=lease_s,
            )

    def next_due_s(self, now: float) -> float | None:
        """Seconds until a row becomes due; none when no row waits."""
        waiting = f"FROM log INDEXED BY waiting WHERE {_OPEN} AND boot_id"
        record = self.sql.record(
            f"SELECT CASE WHEN EXISTS (SELECT 1 {waiting} < :boot)"
            f" OR EXISTS (SELECT 1 {waiting} > :boot) THEN :now"
            f" ELSE (SELECT min(due_at) {waiting} = :boot) END AS due",
            boot=self._boot,
            now=now,
        )
        return None if record["due"] is None else max(0.0, float(record["due"]) - now)

    def plan(self, row: Row, part_size: int) -> Row:
        """Record that an upload begins, before the first request that S3 could remember."""
        return self._settle(row, "part_size = :part_size", part_size=part_size)

    def remember(self, row: Row, upload_id: str, *, checksummed: bool) -> Row:
        """Record the multipart upload, before its first part leaves.

        A row that was given up meanwhile gets the id too: by it the upload is aborted.
        """
        try:
            return self._settle(
                row,
                "upload_id = :upload_id, checksummed = :checksummed, sent_bytes = 0",
                upload_id=upload_id,
                checksummed=checksummed,
            )
        except LeaseLost:
            self.sql.change(
                "UPDATE OR IGNORE log SET upload_id = :upload_id WHERE id = :id"
                " AND upload_id IS NULL AND part_size IS NOT NULL"
                " AND state IN ('dead', 'cancelled')",
                id=row.id,
                upload_id=upload_id,
            )
            raise

    def forget(self, row: Row) -> Row:
        """Record that the multipart upload is no more: the next one begins at nothing."""
        return self._settle(
            row, "upload_id = NULL, part_size = NULL, sent_bytes = 0, stored_at = NULL"
        )

    def storing(self, row: Row, at: int) -> Row:
        """Record that S3 is asked to join the parts, or has stored the body: it may show it late.

        ``at``: seconds since 1970 by S3's clock.
        """
        return self._settle(
            row,
            "stored_at = :at,"
            " read_back = CASE WHEN read_back LIKE '%changed%' THEN NULL ELSE read_back END",
            at=at,
        )

    def note_read_back(self, row: Row, note: str) -> Row:
        """Record how far an object was read back, or that it is wrong (JSON)."""
        return self._settle(row, "read_back = :note", note=note)

    def progress(
        self, row: Row, now: float, lease_s: float, *, sent_bytes: int, sent: int, resent: int
    ) -> Row:
        """Record confirmed bytes, count parts sent and re-sent, and extend the lease.

        What is sent for the first time is progress and makes patience short; what S3 lost, or
        never believes, and is sent over and over, is none.
        """
        return self._settle(
            row,
            "sent_bytes = :sent_bytes, parts_sent = parts_sent + :sent,"
            " parts_resent = parts_resent + :resent, due_at = :now + :lease_s,"
            " failures = CASE WHEN :sent > 0 AND parts_sent * part_size < size THEN 0"
            " ELSE failures END",
            sent_bytes=sent_bytes,
            sent=sent,
            resent=resent,
            now=now,
            lease_s=lease_s,
        )

    def rekey(self, row: Row, key: str) -> Row:
        """Record the second spelling of the key, before the first byte."""
        return self._settle(row, "key = :key, stored_at = NULL, read_back = NULL", key=key)

    def replan(
        self, row: Row, identity: Identity, verdict: str, facts: Mapping[str, str], due_at: float
    ) -> Row:
        """Record that the file is another one now: queued again, to be sent from the start.

        Where another row knows this file already (it was put back as it was), that one counts
        and this one is cancelled.
        """
        gone = (
            "upload_id = NULL, part_size = NULL, sent_bytes = 0, stored_at = NULL, read_back = NULL"
        )
        reason = "The file changed while it waited; it is sent anew."
        about = _judged(verdict, facts, due_at, reason)
        return self._take_up(row, identity, f"lease = NULL, {gone}", about)

    def reidentify(
        self, row: Row, identity: Identity, verdict: str, facts: Mapping[str, str], due_at: float
    ) -> Row:
        """Record that a file of the same size has another time or inode: queued again.

        Its upload is kept: the next attempt compares what S3 holds with the file, part by part.
        What was stored before is noted as that of the file as it was: it is not written over.
        Where another row knows this file already, as :meth:`replan`; the upload is aborted then.
        """
        reason = "The file has another time than before; it is compared with what S3 holds."
        noted = "CASE WHEN stored_at IS NULL THEN NULL ELSE '{\"changed\": true}' END"
        about = _judged(verdict, facts, due_at, reason)
        return self._take_up(row, identity, f"lease = NULL, read_back = {noted}", about)

    def _take_up(self, row: Row, identity: Identity, always: str, about: Mapping[str, Any]) -> Row:
        file = columns(identity)
        with self.sql.write():
            known = self._first(
                f"{_SAME_FILE} AND id != :id",
                **file,
                path=row.path,
                asked_key=row.asked_key,
                id=row.id,
            )
            if known is None:
                return self._settle(
                    row,
                    f"state = 'queued', {always}, dev = :dev, ino = :ino,"
                    " size = :size, mtime_ns = :mtime_ns, verdict = :verdict, facts = :facts,"
                    " due_at = :due_at, code = 'source_changed', reason = :reason",
                    **file,
                    **about,
                )
            self._retry_given_up(known)
            return self._settle(
                row,
                f"state = 'cancelled', {always}, code = 'same_file', reason = :reason",
                reason=f"The file is again the one of row {known.id}.",
            )

    def _retry_given_up(self, row: Row) -> None:
        if row.state in {"dead", "cancelled"}:
            self._retry(row.id)

    def verified(self, row: Row, receipt: Receipt, *, same_as: int | None = None) -> Row:
        """Record the proof; the log is up."""
        return self._settle(
            row,
            "state = 'verified', lease = NULL, upload_id = NULL, sent_bytes = size, code = '',"
            " reason = '', failures = 0, receipt = :receipt, same_as = :same_as, key = :key,"
            " stored_at = NULL, read_back = NULL",
            receipt=json.dumps(receipt.__dict__),
            same_as=same_as,
            key=receipt.key,
        )

    def defer(self, row: Row, due_at: float, code: str, reason: str) -> Row:
        """Put the row back with its reason; the next attempt is at ``due_at``."""
        return self._settle(
            row,
            "state = 'queued', lease = NULL, due_at = :due_at, failures = failures + 1,"
            " code = :code, reason = :reason",
            due_at=due_at,
            code=code,
            reason=reason,
        )

    def release(self, row: Row, code: str = "", reason: str = "") -> Row:
        """Put the row back as it was: the attempt was interrupted, not failed."""
        return self._settle(
            row,
            "state = 'queued', lease = NULL, due_at = 0, attempts = max(0, attempts - 1),"
            " code = :code, reason = :reason",
            code=code,
            reason=reason,
        )

    def bury(self, row: Row, code: str, reason: str) -> Row:
        """Record that this row can never be sent, and why."""
        return self._settle(
            row, "state = 'dead', lease = NULL, code = :code, reason = :reason",
            code=code, reason=reason,
        )  # fmt: skip

    def hasten(self, now: float) -> int:
        """Make every row due that is not due yet, except files that are still settling."""
        return self.sql.change(
            f"UPDATE log INDEXED BY waiting SET due_at = 0 WHERE {_OPEN} AND state = 'queued'"
            " AND boot_id = :boot AND due_at > :now"
            " AND code NOT IN ('source_changed', 'not_finished')",
            boot=self._boot,
            now=now,
        )

    def unknown(self, files: Sequence[tuple[str, Identity]]) -> list[tuple[str, Identity]]:
        """Those files that no row knows.

        Looked at again: a file that was deleted and is back, one that could not be read, and
        one whose upload somebody asked for and gave up: it is still a log of this machine.
        """
        return [(path, identity) for path, identity in files if not self._knows(path, identity)]

    def _knows(self, path: str, identity: Identity) -> bool:
        """By path, size and time: some file systems give new inodes at each mount.

        Where the file of a proven row was deleted or replaced, only the very inode is its own.
        """
        found = self.sql.records(
            "SELECT 1 AS one FROM log INDEXED BY same_file WHERE path = :path AND size = :size"
            " AND mtime_ns = :mtime_ns AND (ino = :ino OR local = 'kept')"
            " AND NOT (state = 'dead' AND code IN ('source_gone', 'unreadable'))"
            " AND NOT (state = 'cancelled' AND asked_key != '') LIMIT 1",
            path=printable(path),
            ino=_signed(identity.ino),
            size=identity.size,
            mtime_ns=identity.mtime_ns,
        )
        return bool(found)

    def named_otherwise(self, path: str, identity: Identity) -> list[Row]:
        """Rows that know a file of another kind than a flight log under another name."""
        return self._rows(
            "SELECT * FROM log INDEXED BY by_file WHERE kind NOT IN ('ulog', 'rosbag')"
            " AND ino = :ino AND size = :size AND dev = :dev AND mtime_ns = :mtime_ns"
            " AND path != :path AND spooled = 0 AND local != 'deleted' AND state != 'cancelled'"
            " AND NOT (state = 'dead' AND code IN ('source_gone', 'unreadable'))",
            path=path,
            dev=identity.dev,
            ino=_signed(identity.ino),
            size=identity.size,
            mtime_ns=identity.mtime_ns,
        )

    def follow(self, row: Row, path: str) -> Row | None:
        """Record that a file was rotated: it is the same one; none where ``path`` has its row."""
        return self._first(
            "UPDATE OR IGNORE log SET path = :path, local = 'kept' WHERE id = :id RETURNING *",
            path=path,
            id=row.id,
        )

    # -- what people and other rooms ask for

    def cancel(self, row_id: int, reason: str) -> Row:
        """Give a row up; its multipart upload is aborted by the drain afterwards."""
        with self.sql.write():
            row = self.get(row_id)
            if row.state in {"verified", "cancelled"}:
                return row
            return self._one(
                "UPDATE log SET state = 'cancelled', lease = NULL, code = 'cancelled',"
                " reason = :reason WHERE id = :id RETURNING *",
                id=row_id,
                reason=reason,
            )

    def delete_proven(self, key: str, reason: str) -> int:
        """Record that a proven object was deleted on request: its rows become cancelled."""
        return self.sql.change(
            "UPDATE log SET state = 'cancelled', receipt = NULL, same_as = NULL,"
            " code = 'deleted', reason = :reason WHERE state = 'verified' AND key = :key",
            key=key,
            reason=reason,
        )

    def move_proven(self, source_key: str, dest_key: str, etag: str) -> int:
        """Record that a proven object was renamed: its rows and receipts follow."""
        return self.sql.change(
            "UPDATE log SET key = :dest, receipt = json_set(receipt, '$.key', :dest,"
            " '$.etag', :etag) WHERE state = 'verified' AND key = :source",
            source=source_key,
            dest=dest_key,
            etag=etag,
        )

    def retry(self, row_id: int) -> Row:
        """Try a waiting row now, a dead or cancelled one again."""
        with self.sql.write():
            return self._retry(row_id)

    def _retry(self, row_id: int) -> Row:
        row = self.get(row_id)
        if row.state in {"verified", "uploading"}:
            return row
        return self._one(
            "UPDATE log SET state = 'queued', due_at = 0, code = '', reason = '', failures = 0"
            " WHERE id = :id RETURNING *",
            id=row_id,
        )

    def get(self, row_id: int) -> Row:
        """Return the row; raises :class:`S3FileNotFoundError`."""
        row = self._first("SELECT * FROM log WHERE id = :id", id=row_id)
        if row is None:
            raise S3FileNotFoundError(f"There is no row {row_id} in the outbox.")
        return row

    def rows(
        self, state: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[Row]:
        """Rows by descending id, at most ``limit``, those with ids below ``before``."""
        where = "id < :before" + (" AND state = :state" if state else "")
        return self._rows(
            f"SELECT * FROM log WHERE {where} ORDER BY id DESC LIMIT :limit",
            before=before if before is not None else 1 << 62,
            state=state,
            limit=limit,
        )

    def at_path(self, path: str) -> list[Row]:
        """Rows of a path, the latest first."""
        return self._rows("SELECT * FROM log WHERE path = :path ORDER BY id DESC", path=path)

    def at_key(self, key: str) -> list[Row]:
        """Rows of a key, the latest first."""
        return self._rows("SELECT * FROM log WHERE key = :key ORDER BY id DESC", key=key)

    def of_session(self, session_id: str, limit: int = 1000) -> list[Row]:
        """Rows of a diagnosis session, the latest first."""
        return self._rows(
            "SELECT * FROM log INDEXED BY by_session WHERE session_id = :session_id"
            " ORDER BY id DESC LIMIT :limit",
            session_id=session_id,
            limit=limit,
        )

    def has_proven(self, size: int) -> bool:
        """Whether a verified row has a file of ``size`` bytes."""
        found = self.sql.records(
            "SELECT 1 AS one FROM log INDEXED BY proven_content WHERE state = 'verified'"
            " AND size = :size LIMIT 1",
            size=size,
        )
        return bool(found)

    def proven_like(self, size: int, checksum: str) -> list[Row]:
        """Verified rows of a file of this size and checksum (``crc32:…``): maybe the same bytes."""
        return self._rows(
            "SELECT * FROM log INDEXED BY proven_content WHERE state = 'verified'"
            " AND size = :size AND json_extract(receipt, '$.checksum') = :checksum"
            " AND same_as IS NULL ORDER BY id DESC LIMIT 50",
            size=size,
            checksum=checksum,
        )

    def proven_twin(self, row: Row) -> Row | None:
        """A verified row of the very same file: path, inode, size and time of change."""
        return self._first(
            "SELECT * FROM log WHERE path = :path AND ino = :ino AND size = :size"
            " AND mtime_ns = :mtime_ns AND state = 'verified' AND receipt IS NOT NULL"
            " AND id != :id ORDER BY id DESC LIMIT 1",
            path=row.path,
            ino=row.ino,
            size=row.size,
            mtime_ns=row.mtime_ns,
            id=row.id,
        )

    def leftovers(self, limit: int = 20) -> list[Row]:
        """Rows that were given up after their upload had begun, or may have."""
        return self._rows(
            "SELECT * FROM log INDEXED BY leftover WHERE part_size IS NOT NULL"
            " AND state IN ('dead', 'cancelled') ORDER BY id LIMIT :limit",
            limit=limit,
        )

    def upload_ids(self) -> set[str]:
        """Ids of every multipart upload that a row owns, whatever its state."""
        found = self.sql.records(
            "SELECT upload_id FROM log INDEXED BY one_upload_per_key WHERE upload_id IS NOT NULL"
        )
        return {str(record["upload_id"]) for record in found}

    def spooled(self) -> set[str]:
        """Spool copies that are still needed."""
        found = self.sql.records(
            f"SELECT path FROM log INDEXED BY copy WHERE spooled = 1 AND {_OPEN}"
        )
        return {str(record["path"]) for record in found}

    def copies(self, name: str, size: int, asked_key: str) -> list[Row]:
        """Waiting rows of spool copies that came under ``name`` with ``size`` bytes."""
        return self._rows(
            f"SELECT * FROM log INDEXED BY copy WHERE spooled = 1 AND {_OPEN} AND size = :size"
            " AND name = :name AND asked_key = :asked_key ORDER BY id",
            name=name,
            size=size,
            asked_key=asked_key,
        )

    def swept(self, row: Row) -> None:
        """Record that nothing is left of the upload of ``row``."""
        self.sql.change(
            "UPDATE log SET upload_id = NULL, part_size = NULL WHERE id = :id"
            " AND upload_id IS :upload_id AND state IN ('dead', 'cancelled')",
            id=row.id,
            upload_id=row.upload_id,
        )

    def counts(self) -> dict[str, int]:
        """Number of rows in each state."""
        found = self.sql.records("SELECT state, rows FROM tally")
        return dict.fromkeys(STATES, 0) | {str(r["state"]): int(r["rows"]) for r in found}

    def backlog(self) -> tuple[int, Row | None]:
        """Bytes not yet confirmed, and the row that has waited longest."""
        record = self.sql.record(f"SELECT sum(unsent) AS unsent FROM tally WHERE {_OPEN}")
        waits = "SELECT min(id) AS id FROM log WHERE state ="
        oldest = self._first(
            "SELECT * FROM log WHERE id ="
            f" (SELECT min(id) FROM ({waits} 'queued' UNION ALL {waits} 'uploading'))"
        )
        return int(record["unsent"]), oldest

    def version(self) -> int:
        """A number that changes when another process has written."""
        return int(self.sql.record("PRAGMA data_version")["data_version"])

    # -- SQL

    def _settle(self, row: Row, assignments: str, **values: Any) -> Row:
        """Change a row under its lease; raises :class:`LeaseLost` when that is no longer ours."""
        settled = self._first(
            f"UPDATE log SET {assignments}, boot_id = :boot WHERE id = :row_id"
            " AND lease = :row_lease RETURNING *",
            **values,
            boot=self._boot,
            row_id=row.id,
            row_lease=row.lease,
        )
        if settled is None:
            raise LeaseLost(f"Row {row.id} was taken by another worker or cancelled.")
        return settled

    def _rows(self, sql: str, **values: Any) -> list[Row]:
        return [row_of(record) for record in self.sql.records(sql, **values)]

    def _first(self, sql: str, **values: Any) -> Row | None:
        return next(iter(self._rows(sql, **values)), None)

    def _one(self, sql: str, **values: Any) -> Row:
        return self._rows(sql, **values)[0]


_SAME_FILE = (
    "SELECT * FROM log WHERE path = :path AND ino = :ino AND size = :size"
    " AND mtime_ns = :mtime_ns AND asked_key = :asked_key"
)
# Left to itself, SQLite gathers all open rows by their state and sorts them.
CLAIM_QUERY = (
    f"SELECT id FROM log INDEXED BY claimable WHERE {_OPEN} AND {_DUE}"
    " ORDER BY priority DESC, logged_at DESC, id DESC LIMIT 1"
)
_TAKEN_ON = {
    "key", "name", "kind", "verdict", "facts", "logged_at", "priority", "content_type",
}  # fmt: skip


def _may_be_open(row: Row) -> bool:
    """Whether S3 may hold a multipart upload for it, perhaps one whose id was never heard."""
    begun = row.part_size is not None and row.size > row.part_size
    return begun or row.upload_id is not None


def _may_be_stored(row: Row, identity: Identity) -> bool:
    """Whether S3 may hold bytes of a file of this size under the key of ``row``."""
    return _may_be_open(row) or (row.part_size is not None and row.size == identity.size)


def _signed(ino: int) -> int:
    """Inode numbers are unsigned 64 bit, SQLite's integers signed."""
    return ino - (1 << 64) if ino >= 1 << 63 else ino


def columns(identity: Identity) -> dict[str, int]:
    """How a file stands in a row."""
    return {
        "dev": identity.dev,
        "ino": _signed(identity.ino),
        "size": identity.size,
        "mtime_ns": identity.mtime_ns,
    }


def _judged(
    verdict: str, facts: Mapping[str, str], due_at: float, reason: str
) -> dict[str, str | float]:
    told = json.dumps(dict(facts))
    return {"verdict": verdict, "facts": told, "due_at": due_at, "reason": reason}


def _file(entry: Entry) -> dict[str, Any]:
    return {"path": entry.path, **columns(entry.identity), "asked_key": entry.asked_key}


def _about(entry: Entry) -> dict[str, Any]:
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
    }
