"""How a file is stored: in one request or in parts, of which size, with which metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import MIB, Auto
from petal_s3.objects.copy import MAX_PARTS
from petal_s3.objects.user_metadata import DESCRIPTION, ORIGINAL_NAME, RECEIVED_BY, metadata
from petal_s3.outbox.rows import Row
from petal_s3.upload.link_figures import LinkFigures, LinkMeter

AUTO_SIZES = tuple(size * MIB for size in (5, 8, 16, 32, 64))
"""The part sizes that are chosen from: those of other uploaders, too."""
_UNMEASURED_SIZES = AUTO_SIZES[:3]
_UNMEASURED_PARTS = 100
_ON_THE_WAY_S = 8.0
_OF_A_LIFE = 4
_TURNS = 4
_A_MOMENT_S = 1.0
_LONG_S = 0.1
_FEW = 2
_LARGE_BYTES = 64 * MIB
MOST_AT_ONCE = 8
"""Parts in flight, where the link decides."""
_WINDOW_BYTES = 4 * MIB  # what Linux lets one connection have on its way, unless told otherwise


@dataclass(frozen=True)
class UploadPlan:
    """How this machine uploads: its id, the part size in bytes and how many parts at once, as they
    are set, or as the ``link`` needs; ``now`` is the clock of leases. ``minimal``: no metadata that
    identify (PETAL_S3_METADATA). ``directories``: the log directories."""

    machine_id: str
    part_size: int | Auto
    concurrency: int | Auto
    link: LinkMeter
    now: Clock = clock.now
    minimal: bool = False
    directories: tuple[Path, ...] = ()

    def part_size_of(self, size: int, round_trip_s: float | None) -> int:
        """The part size for a file of ``size`` bytes that begins now."""
        wanted = self.part_size
        if wanted == "auto":
            at_once = self.parts_at_once(size, round_trip_s)
            wanted = chosen_part_size(size, self.link.figures, at_once)
        return part_size_for(size, wanted)

    def parts_at_once(self, size: int, round_trip_s: float | None) -> int:
        """How many parts of a file of ``size`` bytes are to be on their way; ``round_trip_s``: to
        S3, none where unknown.
        """
        figures = self.link.figures
        if figures.cut:
            return 1
        if self.concurrency != "auto":
            return self.concurrency
        return chosen_parts_at_once(size, figures.rate_bytes_s, round_trip_s)

    def metadata(self, row: Row, uploaded_at: int) -> dict[str, str]:
        """User metadata of a row's object; ``uploaded_at``: seconds since 1970 by S3's clock.

        It is written as ISO 8601 in UTC; older objects have the seconds.
        """
        in_parts = row.part_size is not None and row.size > row.part_size
        part_size = str(row.part_size) if in_parts else ""
        return metadata(
            [
                (ORIGINAL_NAME, row.name),
                ("machine-id", self.machine_id),
                (RECEIVED_BY, row.received_by),
                ("upload-timestamp", _utc(uploaded_at)),
                ("log-kind", row.kind),
                ("log-verdict", row.verdict),
                ("part-size", part_size),
                ("session-id", row.session_id or ""),
                *sorted(row.facts.items(), key=lambda fact: (fact[0] == DESCRIPTION, fact)),
            ],
            minimal=self.minimal,
        )


def _utc(moment: int) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def chosen_part_size(size: int, link: LinkFigures, at_once: int) -> int:
    """The part size in bytes for a file of ``size`` bytes, of which ``at_once`` parts travel.

    What is on its way at once is what a cut costs: at most 8 s of the last measured rate, a
    quarter of what the link carried in its last life, and a quarter of the file, unless that
    passes in a second. Where nothing is measured, a part is a hundredth of the file, 5 to 16 MiB,
    of a large one 8 MiB sooner; after a cut 5 MiB.
    """
    if not link.rate_bytes_s:
        return AUTO_SIZES[0] if link.cut else _unmeasured_part_size(size, at_once)
    seconds = min(_ON_THE_WAY_S, link.life_s / _OF_A_LIFE if link.life_s else math.inf)
    # The last parts end at different times: with few and large ones the link is idle meanwhile.
    share = max(size / _TURNS, link.rate_bytes_s * _A_MOMENT_S)
    # One at a time is no reason for larger parts: that is how it goes after a cut.
    return _largest(min(link.rate_bytes_s * seconds, share) / max(at_once, _FEW), AUTO_SIZES)


def _unmeasured_part_size(size: int, at_once: int) -> int:
    # Each part waits a round trip for its answer: it has to last for several.
    share = size / _TURNS / at_once if at_once > _FEW else 0.0
    return max(
        _largest(size / _UNMEASURED_PARTS, _UNMEASURED_SIZES), _largest(share, AUTO_SIZES[:2])
    )


def _largest(most: float, sizes: tuple[int, ...]) -> int:
    return max((one for one in sizes if one <= most), default=sizes[0])


def chosen_parts_at_once(size: int, rate_bytes_s: float, round_trip_s: float | None) -> int:
    """How many parts are on their way at once: one fills the link while another is confirmed.

    One more of a large file, as two often end together, and on a long link; there also as many as
    the windows need to hold what travels in a round trip. Not more than that: connections that
    begin on a full link starve, and are waited for at the end.
    """
    if round_trip_s is None or round_trip_s < _LONG_S:
        return _FEW if size < _LARGE_BYTES else _FEW + 1
    windows = math.ceil(rate_bytes_s * round_trip_s / _WINDOW_BYTES)
    return min(MOST_AT_ONCE, _FEW + max(1, windows))


def part_size_for(size: int, wanted: int) -> int:
    """The part size for a file of ``size`` bytes: ``wanted``, or more where 10,000 parts
    would not do; whole MiB beyond ``wanted``. Limits: S3 User Guide, "Multipart upload limits".
    """
    least = -(-size // MAX_PARTS)
    return wanted if least <= wanted else -(-least // MIB) * MIB


def copy_metadata(row: Row) -> dict[str, str]:
    """The metadata of a copy that differ from those of its source."""
    about = [("session-id", row.session_id or ""), (DESCRIPTION, row.facts.get(DESCRIPTION, ""))]
    return metadata(about)
