"""What is on its way right now: for progress bars, figures and the lease."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from petal_s3.s3.checksums import Digest
from petal_s3.s3.request_body import FilePart
from petal_s3.upload.source_file import SourceFile

LEASE_S = 900.0
"""How long a claim holds; every confirmed part extends it."""


LANDING_BOUNDS_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 43_200, 86_400, 259_200)
"""Bounds of the times from a landing to a proof, in seconds."""


@dataclass
class Traffic:
    """What this process has sent and proven since it started.

    ``resent``: what S3 had confirmed before. ``proofs``: how many logs were proven, by which proof.
    ``landing_s``: of these, how many within each of :data:`LANDING_BOUNDS_S` after their landing,
    and after it; ``landing_sum_s``: all of these times.
    """

    parts_sent: int = 0
    parts_resent: int = 0
    bytes_resent: int = 0
    proofs: Counter[str] = field(default_factory=Counter)
    landing_s: list[int] = field(default_factory=lambda: [0] * (len(LANDING_BOUNDS_S) + 1))
    landing_sum_s: float = 0.0

    def proven(self, proof: str, after_s: float | None) -> None:
        """A log was proven, so many seconds after its landing; none: not known."""
        self.proofs[proof] += 1
        if after_s is not None:
            self.landing_s[bisect_left(LANDING_BOUNDS_S, after_s)] += 1
            self.landing_sum_s += after_s


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
