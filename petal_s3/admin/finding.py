"""What a check found: the one value that ``petal-s3 check`` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from petal_s3.errors import LocalStorageError, S3BucketError, S3IntegrationError

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it; ``not_now``: waiting may help."""

    check: str
    state: State
    found: str
    advice: str = ""
    not_now: bool = False


def trouble(check: str, error: S3IntegrationError, advice: str = "") -> Finding:
    """A check that ended with ``error``."""
    person = isinstance(error, S3BucketError | LocalStorageError)
    person = person or error.code == "credentials_refused"  # keys do not change by themselves
    not_now = error.waiting_helps and not person
    return Finding(check, "failed", error.message, advice, not_now)
