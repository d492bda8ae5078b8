"""Gather what the metrics tell; each figure is read when it is asked for."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from petal_s3.cleanup.retention import free_bytes
from petal_s3.outbox import card, deletions, queries
from petal_s3.outbox.deletions import Totals
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.assembly import Parts
from petal_s3.service.reasons import HOLDS, ITS_TURN
from petal_s3.service.report import Seen
from petal_s3.service.views.status import StatusView
from petal_s3.upload.progress import Traffic


@dataclass(frozen=True)
class Counts:
    """What is counted in the outbox. ``codes``: rows by state and by the code that is shown."""

    codes: Mapping[tuple[str, str], int]
    card: Mapping[str, int]
    last_proof_at: int | None
    deletions: Totals


@dataclass(frozen=True)
class Figures:
    """All figures. Counters count since the process began, deletions since the outbox was made.

    ``credentials_seen_s``: seconds since what is said of the credentials was seen.
    """

    status: StatusView
    counts: Counts
    traffic: Traffic
    settling: int
    credentials_seen_s: float | None
    sent_bytes: int
    token_fetches: int
    free_bytes: Mapping[str, int]
    state_free_bytes: int | None


async def gather(parts: Parts, status: StatusView, seen: Seen) -> Figures:
    """All figures of now."""
    base, live = parts.base, seen.live
    measured = {d: await base.files.run(_free_bytes, d) for d in base.settings.directories}
    at = live.credentials_at
    return Figures(
        status=status,
        counts=await base.outbox(_counts, seen, status),
        traffic=parts.uploader.traffic,
        settling=live.settling_count,
        credentials_seen_s=None if at is None else max(0.0, seen.now - at),
        sent_bytes=base.s3.sent.total,
        token_fetches=base.tokens.tries if base.tokens is not None else 0,
        free_bytes={str(d): number for d, number in measured.items() if number is not None},
        state_free_bytes=await base.files.run(_free_bytes, base.settings.state_dir),
    )


def _counts(outbox: Outbox, seen: Seen, status: StatusView) -> Counts:
    codes: Counter[tuple[str, str]] = Counter()
    for state, code, number in queries.counts_by_code(outbox):
        codes[state, _shown(state, code, seen)] += number
    if status.gone:
        codes["verified", "object_gone"] = status.gone
    files = card.on_card(outbox) if status.card is not None else []
    return Counts(
        codes,
        Counter(one.shown_state for one in files),
        queries.last_proof_at(outbox),
        deletions.totals(outbox),
    )


def _shown(state: str, code: str, seen: Seen) -> str:
    """The code that rows show, as :func:`petal_s3.service.report.row_reason` tells it."""
    if state in {"dead", "cancelled"}:
        return code or state
    if seen.held_up is not None:
        return seen.held_up.code
    if state == "uploading":
        return state
    return code if code and code not in HOLDS else ITS_TURN.code


def _free_bytes(directory: Path) -> int | None:
    with contextlib.suppress(OSError):
        return free_bytes(directory)
    return None
