"""Invariants checked after every simulation step; one that is broken ends the simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from petal_s3.demo.faults import Answer, Fault
from petal_s3.outbox.rows import Receipt, Row
from tests.simulation.options import OPTIONS, Provoked
from tests.simulation.waste import BODIES, HOME, Waste, is_probe, is_temporary
from tests.support.wire import Ask

if TYPE_CHECKING:
    from tests.simulation.world import World

_NOBODYS_S = 120.0  # a full disk lasts a minute, and a claim cannot be given back meanwhile


class InvariantBroken(AssertionError):
    """Something happened that must never happen."""


def sha(body: bytes) -> str:
    """What tells one content from another."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """A log that entered the outbox: the file and what was in it."""

    path: str
    size: int
    mtime_ns: int


class Invariants:
    """What was promised, and to whom."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.contents: dict[Accepted, set[str]] = {}
        """What every version of every file that ever lay on the disk held."""
        self.whole: set[str] = set()
        """All of these contents."""
        self.accepted: set[Accepted] = set()
        self.proven: dict[str, float] = {}
        """Contents that a row called verified."""
        self.excused: set[str] = set()
        """Names of files whose parts may travel again: changed, given up, forgotten by S3."""
        self.misled: set[str] = set()
        """Contents about which a HEAD was answered with a lie that nobody can see through."""
        self.gone: set[str] = set()
        """Paths that the world (not petal-s3) deleted or replaced."""
        self.sessions: dict[str, str] = {}
        """Where the log of a session has to stand, by the path of its copy."""
        self.strangers: dict[str, tuple[bytes, float]] = {}
        """Objects of others at keys of ours, and since when: never overwritten."""
        self.verdict = ""
        self.armed_since: float | None = None
        self.may_repeat_all = False
        self._confirmed: dict[tuple[str, int, bytes], str] = {}
        self._told_gone: set[str] = set()
        self._head_refused_at = float("-inf")
        """Who may not look at an object cannot tell whether it holds the same bytes."""
        self._blind = False
        """It may not list the bucket: after the loss of the outbox it sees its own keys alone."""
        self._may_overwrite: set[str] = set()
        """Somebody said that this S3 knows no conditions, and it has not shown otherwise since."""
        self._shown_conditions = False
        """It was seen to refuse to overwrite: nobody has to look at a key beforehand."""
        self._seen_free: dict[str, float] = {}
        """When a HEAD found nothing at a key."""
        self._waste = Waste()
        self._copied: set[str] = set()
        """Uploads that S3 itself fills, out of another object: their bytes do not travel."""
        self._begun: dict[str, float] = {}
        self._left: dict[tuple[int, int, str], float] = {}
        """Since when a claim has been carried by nobody: process, row, lease."""
        self.parts_sent = 0

    def broken(self, invariant: str) -> None:
        """End this simulation."""
        self.verdict = self.verdict or invariant
        self._world.note("BROKEN", invariant)
        raise InvariantBroken(invariant)

    def held_by(self, log: Accepted, body: bytes) -> None:
        """Write down what a file holds now."""
        self.contents.setdefault(log, set()).add(sha(body))
        self.whole.add(sha(body))

    def lost(self, key: str, number: int, md5: bytes) -> None:
        """S3 itself lost this part: it has to come again."""
        self._confirmed.pop((key, number, md5), None)

    def outbox_lost(self) -> None:
        """Its rows are gone: what lies on the disk is entered anew, what is up is recognised."""
        self.accepted.clear()
        self.may_repeat_all = True

    # -- on the wire

    def on_host(self, host: str) -> None:
        """Neither body nor token goes to a stranger."""
        if host != "s3.test":
            self.broken(f"a request went to {host}")

    def on_ask(self, asked: Ask, begun_at: float) -> None:
        """Only our own keys; nothing is begun in flight, or in vain."""
        key = asked.key or asked.value("prefix")
        if key and not key.startswith((HOME, "drone-1/", "deleted/")):
            self.broken(f"a foreign key was asked for: {key}")
        since = self.armed_since
        if asked.op in BODIES and since is not None and self._world.loop.time() - since > 1.5:
            self.broken("a body was begun in flight")
        world = self._world
        refused = world.options.refused_since(asked)
        if invariant := self._waste.begun(asked, world.generation, begun_at, refused):
            self.broken(invariant)

    def on_done(self, asked: Ask, answer: Answer) -> None:
        """What S3 now holds is one whole version of a file; nothing confirmed came again."""
        if asked.op in BODIES and not is_probe(asked):
            self._not_twice(asked)
        if asked.op == "UploadPartCopy":
            self._copied.add(asked.upload_id)
        if asked.op == "CreateMultipartUpload":
            self._begun[asked.key] = self._world.loop.time()
        self._strangers_stand(asked)
        if answer.status == 200 and asked.op in {"PutObject", "CompleteMultipartUpload"}:
            thing = self._world.mind.things[asked.key]
            if is_temporary(asked.key) and thing.size == 1:
                return  # no log: it tries what the server can
            found = thing.sha256
            if self._needless(asked, found) and found not in self.misled:
                self.broken(f"{asked.key} was proven and came again")
            if found not in self.whole:
                self.broken(f"{asked.key} holds what no file ever held")

    def _strangers_stand(self, asked: Ask) -> None:
        for key, (body, since) in list(self.strangers.items()):
            there = self._world.mind.things.get(key)
            if there is None or there.body != body:
                if not self._unseen(asked, since):
                    self.broken(f"{key} was a stranger's and is overwritten")
                del self.strangers[key]  # what cannot be survived: see docs/guarantees.md

    def _unseen(self, asked: Ask, since: float) -> bool:
        """Whether who overwrote a stranger's object could not know of it.

        It came after the look at its key, and no condition kept the write from it; or that was
        ignored for the first time.
        """
        if asked.op == "DeleteObject":
            return False
        ignored = self._world.options.ignores_condition(asked)
        if ignored and self._shown_conditions:
            return True
        looked_at = self._seen_free.get(asked.key)
        came_later = looked_at is not None and looked_at < since
        return came_later and (ignored or asked.op in self._may_overwrite)

    def _needless(self, asked: Ask, content: str) -> bool:
        """Whether this content was proven before it began to travel under this key."""
        began_at = self._world.loop.time()
        if asked.op == "CompleteMultipartUpload":
            began_at = self._begun.get(asked.key, began_at)
        proven_at = self.proven.get(content)
        if (self._blind and self.may_repeat_all) or self._head_refused_at > began_at - 5.0:
            return False
        if asked.upload_id in self._copied:
            return False
        return proven_at is not None and proven_at < began_at

    def _not_twice(self, asked: Ask) -> None:
        if self._excused(asked.key):
            return
        process, now = self._world.generation, self._world.loop.time()
        if asked.key in self._world.mind.things and self._waste.stored(asked, process, now):
            self.broken(f"{asked.key} was stored and came again")
        before = self._confirmed.get((asked.key, asked.part, asked.body.md5))
        if before is None:
            return
        if before not in self._told_gone or self._waste.completed(before, process, now):
            self.broken(f"part {asked.part} of {asked.key} was confirmed and came again")

    def _excused(self, key: str) -> bool:
        return self.may_repeat_all or any(name in key for name in self.excused)

    def on_told(self, asked: Ask, answer: Answer, fault: Fault) -> None:
        """What the drone has been told: from here on it knows."""
        self._told_of_conditions(asked, answer, fault)
        self._waste.tried(asked, answer, honest=fault.honest)
        if fault.honest:
            self._waste.told(asked, answer, self._world.generation, self._world.loop.time())
        if asked.op == "UploadPart" and answer.status == 200 and fault.honest:
            if not is_probe(asked):
                self.parts_sent += 1
            self._confirmed[asked.key, asked.part, asked.body.md5] = asked.upload_id
        if asked.op == "HeadObject":
            self._told_by_head(asked, answer, fault)
        if asked.op == "ListObjectsV2" and answer.status == 403:
            self._blind = True
        if asked.op == "ListObjectsV2" and answer.status == 200 and fault.honest:
            self._told_by_listing(asked, answer)
        if asked.upload_id and self._says_gone(asked, answer):
            self._told_gone.add(asked.upload_id)

    def _told_of_conditions(self, asked: Ask, answer: Answer, fault: Fault) -> None:
        """What is known of one operation's condition says nothing of another's."""
        stores = OPTIONS["condition"].ops
        conditional = asked.op in stores and asked.headers.get("if-none-match")
        if conditional and answer.status in {200, 412} and fault.honest:
            self._may_overwrite.discard(asked.op)
            self._shown_conditions |= answer.status == 412
            ignored = self._world.options.ignores_condition(asked)
            if is_temporary(asked.key) and ignored and answer.status == 200:
                # What was tried has shown that it is ignored; a 412 has shown that it is not.
                self._shown_conditions = False
                self._may_overwrite.add(asked.op)
        if answer.status == 501 and not fault.honest:
            self._may_overwrite |= stores
        if isinstance(answer, Provoked) and answer.option == "condition":
            self._may_overwrite.add(asked.op)

    def _told_by_head(self, asked: Ask, answer: Answer, fault: Fault) -> None:
        now = self._world.loop.time()
        if answer.status == 200 and not fault.honest:
            there = self._world.mind.things.get(asked.key)
            self.misled |= {there.sha256} if there is not None else set()
        if answer.status == 403 and not isinstance(answer, Provoked):
            self._head_refused_at = now
        if answer.status == 404:
            self._seen_free[asked.key] = now

    def _told_by_listing(self, asked: Ask, answer: Answer) -> None:
        """A listing of a key tells that it is free, where HEAD does not."""
        key = asked.value("prefix")
        if f"<Key>{key}</Key>".encode() not in answer.body:
            self._seen_free[key] = self._world.loop.time()

    def _says_gone(self, asked: Ask, answer: Answer) -> bool:
        """Whether an answer tells that there is no such upload; some servers tell no parts."""
        if answer.status == 404:
            return b"NoSuchBucket" not in answer.body
        none_left = asked.op == "ListParts" and asked.upload_id not in self._world.mind.uploads
        return none_left and answer.status == 200

    # -- in the outbox and on the disk

    def on_rows(self, rows: Sequence[Row], reasons: dict[int, str]) -> None:
        """No accepted log is missing; what is called proven is in the bucket; no silence."""
        known = {Accepted(row.path, row.size, row.mtime_ns) for row in rows}
        paths = {row.path for row in rows}
        for log in self.accepted - known:
            if log.path not in paths:
                self.broken(f"{Path(log.path).name} was accepted and is in no row")
        for row in rows:
            self._row(row, reasons.get(row.id, ""))
        self._one_each(rows)
        self.accepted |= {
            Accepted(row.path, row.size, row.mtime_ns) for row in rows if row.code != "deleted"
        }

    def _one_each(self, rows: Sequence[Row]) -> None:
        """A file that nobody changed has one row, also when its time or its inode is another.

        It is known again by the ETag of its bytes, never by its CRC32 alone: where S3 named another
        one nothing tells it.
        """
        known: dict[str, set[str]] = {}
        for row in rows:
            if row.asked_key or row.state in {"cancelled", "dead"} or self._excused(row.path):
                continue
            if row.receipt is not None and self._named_otherwise(row.receipt):
                continue
            held = self.contents.get(Accepted(row.path, row.size, row.mtime_ns), set())
            if held & known.setdefault(row.path, set()):
                self.broken(f"{Path(row.path).name} has more than one row")
            known[row.path] |= held

    def _named_otherwise(self, receipt: Receipt) -> bool:
        """Whether an answer named another ETag than that of the object that was stored."""
        thing = self._world.mind.things.get(receipt.key)
        return thing is not None and thing.etag != receipt.etag

    def on_claims(self, process: int, rows: Sequence[Row], carried: Collection[int]) -> None:
        """A claim is somebody's: no row waits for the end of a dead worker's lease."""
        now = self._world.loop.time()
        left = {
            (process, row.id, row.lease or "")
            for row in rows
            if row.state == "uploading" and row.id not in carried
        }
        self._left = {claim: self._left.get(claim, now) for claim in left}
        for (_, row_id, _), since in self._left.items():
            if now - since > _NOBODYS_S:
                self.broken(f"row {row_id} is claimed, and nobody carries it")

    def _row(self, row: Row, reason: str) -> None:
        if row.state == "verified":
            self._proven(row)
        elif row.state in {"queued", "uploading"}:
            if row.state == "queued" and not reason:
                self.broken(f"row {row.id} waits and nobody says why")
            if row.path not in self.gone and not Path(row.path).exists():
                self.broken(f"{Path(row.path).name} is not proven, and its file is gone")
        elif row.state == "dead" and row.path not in self.gone:
            self.broken(f"row {row.id} was buried: {row.code} {row.reason}")

    def _proven(self, row: Row) -> None:
        if not row.key.startswith(self.sessions.get(row.path, "")):
            self.broken(f"{row.key} is no place for a log of a session")
        held = self._world.mind.things.get(row.key)
        if held is None:
            self.broken(f"{row.key} is called proven and is not in the bucket")
        else:
            log = Accepted(row.path, row.size, row.mtime_ns)
            wanted = self.contents.get(log)
            if wanted and held.sha256 not in wanted:
                self.broken(f"{row.key} is called proven and holds other bytes")
            self.proven.setdefault(held.sha256, self._world.loop.time())

    def at_the_end(self, rows: Sequence[Row], living: dict[str, Accepted]) -> None:
        """When all is well again, every log that still lies there is up, once, whole."""
        held = {thing.sha256 for thing in self._world.mind.things.values()}
        for path, log in living.items():
            mine = [r for r in rows if r.path == path]
            states = {r.state for r in mine}
            if not self.contents[log] & held and "cancelled" not in states:
                self.broken(
                    f"{Path(path).name} is not up in the end: {[(r.state, r.reason) for r in mine]}"
                )
        for row in rows:
            if row.state in {"queued", "uploading"}:
                self.broken(f"row {row.id} never came to an end: {row.state} {row.reason}")
