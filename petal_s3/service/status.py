"""Say how things are, to people and machines: are my logs up, and if not, why?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from petal_s3.outbox import capabilities as kept
from petal_s3.outbox import queries
from petal_s3.outbox.database import no_room
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.s3 import capabilities

_WINDOW_S = 10.0
NOBODY_DRAINS = "Nobody drains this outbox: start the host, or run petal-s3 drain."
_LEAST_S = 1.0  # what buffers swallow at first would look like a fast link


class Rate:
    """Bytes per second over the last ten seconds, from a counter that only grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, now: float, total: int) -> float:
        """Take a sample at ``now`` (s) and return bytes per second."""
        self._samples.append((now, total))
        while now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        while len(self._samples) > 1 and self._samples[0][1] == self._samples[1][1]:
            self._samples.popleft()  # idle before the first byte: no part of the upload's speed
        then, before = self._samples[0]
        return (total - before) / (now - then) if now - then >= _LEAST_S else 0.0


def row_json(row: Row, now: float, *, moved: int | None = None) -> dict[str, Any]:
    """A row as REST and ``--json`` show it; ``moved``: bytes on their way, when known."""
    receipt = None
    if row.receipt is not None:
        receipt = {
            "etag": row.receipt.etag,
            "checksum": row.receipt.checksum,
            "size": row.receipt.size,
            "proof": row.receipt.proof,
            "verified_at": row.receipt.verified_at,
        }
    return {
        "id": row.id,
        "path": row.path,
        "key": row.key,
        "state": row.state,
        "size": row.size,
        "sent_bytes": row.sent_bytes if moved is None else max(row.sent_bytes, moved),
        "kind": row.kind,
        "verdict": row.verdict,
        "priority": row.priority,
        "session_id": row.session_id,
        "attempts": row.attempts,
        "parts_sent": row.parts_sent,
        "parts_resent": row.parts_resent,
        "code": row.code,
        "reason": row.reason,
        "next_attempt_s": row.next_attempt_s(now),
        "same_as": row.same_as,
        "pinned": row.pinned,
        "local": row.local,
        "receipt": receipt,
    }


def why_not(row: Row, held_up: str, *, drained: bool) -> str:
    """Why a row is not up yet; one that waits always says it.

    ``held_up``: what holds up every row; that comes first. Where nobody drains, what was claimed
    by a process that was killed is on no way.
    """
    if row.settled:
        return row.reason
    if row.state == "uploading":
        return row.reason if drained else NOBODY_DRAINS
    return held_up or row.reason or ("It waits its turn." if drained else NOBODY_DRAINS)


def summary(
    outbox: Outbox, said: Mapping[str, Any], drained_by: int | None, bucket: str
) -> dict[str, Any]:
    """The one JSON of ``/status``; blocking.

    ``said`` is what the draining process says of itself; it counts only while one drains.
    ``bucket``: the name under which its server is known
    (:func:`petal_s3.outbox.capabilities.bucket_name_of`).
    """
    live = said if drained_by is not None else {}
    backlog, oldest = queries.backlog(outbox)
    rate = float(live.get("rate_bytes_s", 0.0))
    reason = ""
    if oldest is not None:
        reason = NOBODY_DRAINS if drained_by is None else str(live.get("reason") or oldest.reason)
    # Who cannot write cannot publish why either: that is seen from outside.
    reason = no_room(outbox.path.parent) or reason or str(live.get("trouble", ""))
    return {
        "link": live.get("link", "unknown"),
        "credentials": live.get("credentials", "none"),
        "clock_offset_s": live.get("clock_offset_s"),
        "flight_state": live.get("flight_state", "unknown"),
        "counts": queries.counts(outbox),
        "backlog_bytes": backlog,
        "rate_bytes_s": round(rate),
        "eta_s": round(backlog / rate) if rate > 0 and backlog else None,
        "oldest_unsent_s": max(0, int(time.time()) - oldest.landed_at) if oldest else None,
        "reason": reason,
        "outbox": str(outbox.path),
        "drained_by": drained_by,
        "settling": live.get("settling", []),
        "advice": live.get("advice", []),
        "capabilities": _capabilities(outbox, bucket),
    }


def _capabilities(outbox: Outbox, bucket: str) -> dict[str, Any] | None:
    """What is known of the server; none where nothing is."""
    known = capabilities.read(kept.known_of(outbox, bucket))
    return known.as_json() if known.known else None
