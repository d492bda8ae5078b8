"""What is on its way right now: for progress bars, figures and the lease."""

from __future__ import annotations

from dataclasses import dataclass, field

from petal_s3.s3.http_session import Window
from petal_s3.upload.source_file import SourceFile

LEASE_S = 900.0
"""How long a claim holds; every confirmed part extends it."""


@dataclass
class Traffic:
    """What this process has sent since it started."""

    sent_bytes: int = 0
    parts_sent: int = 0
    parts_resent: int = 0

    def count(self, size: int) -> None:
        """Count bytes that were handed to the network."""
        self.sent_bytes += size


@dataclass
class UploadProgress:
    """How far the upload of one row is; sizes in bytes."""

    row_id: int
    size: int
    confirmed: int = 0
    sent: bool = False
    """Whether this attempt has sent anything that S3 confirmed."""
    compared: int = 0
    """Read again, to be compared with what S3 has confirmed."""
    windows: set[Window] = field(default_factory=set)

    @property
    def moved(self) -> int:
        """Confirmed bytes and those handed to the network."""
        return min(self.size, self.confirmed + sum(w.farthest for w in tuple(self.windows)))


@dataclass(frozen=True)
class Transfer:
    """One attempt: its open file, how far it is, and whether parts go one at a time."""

    source: SourceFile
    progress: UploadProgress
    one_at_a_time: bool = False
