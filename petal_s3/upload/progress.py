"""What is on its way right now: for progress bars, figures and the lease."""

from __future__ import annotations

from dataclasses import dataclass, field

from petal_s3.s3.checksums import Digest
from petal_s3.s3.request_body import FilePart
from petal_s3.upload.source_file import SourceFile

LEASE_S = 900.0
"""How long a claim holds; every confirmed part extends it."""


@dataclass
class Traffic:
    """How many parts this process has sent since it started."""

    parts_sent: int = 0
    parts_resent: int = 0


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
    bodies: set[FilePart] = field(default_factory=set)

    @property
    def moved(self) -> int:
        """Confirmed bytes and those that the peer of the connection has acknowledged."""
        return min(self.size, self.confirmed + sum(one.look() for one in tuple(self.bodies)))


@dataclass(frozen=True)
class Transfer:
    """One attempt: its open file, and how far it is.

    ``whole``: the digests of the file, where it was read when it was opened.
    """

    source: SourceFile
    progress: UploadProgress
    whole: Digest | None = None
