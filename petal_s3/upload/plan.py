"""How a file is stored: in one request or in parts of which size, and with which metadata."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import MIB
from petal_s3.objects.copy import MAX_PARTS
from petal_s3.objects.user_metadata import DESCRIPTION, ORIGINAL_NAME, RECEIVED_BY, metadata
from petal_s3.outbox.rows import Row


@dataclass(frozen=True)
class UploadPlan:
    """How this machine uploads: its id, the part size in bytes, how many parts at once; ``now`` is
    the clock of leases. ``minimal``: no metadata that identify (PETAL_S3_METADATA).
    ``directories``: the log directories."""

    machine_id: str
    part_size: int
    concurrency: int
    now: Clock = clock.now
    minimal: bool = False
    directories: tuple[Path, ...] = ()

    def is_small(self, size: int) -> bool:
        """Whether a file of ``size`` bytes travels in one request."""
        return size <= self.part_size

    def metadata(self, row: Row, uploaded_at: int) -> dict[str, str]:
        """User metadata of a row's object; ``uploaded_at``: seconds since 1970 by S3's clock.

        It is written as ISO 8601 in UTC; older objects have the seconds.
        """
        part_size = "" if self.is_small(row.size) else str(row.part_size or "")
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
