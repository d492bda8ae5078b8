"""Read what the headers of an answer say: when it was given, how old it is, when to ask again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

_LONGEST_PATIENCE_S = 3600.0

FROM_CACHE = "A cache on the way answers in place of S3: it must let S3 through."


def date_s(date: str) -> float | None:
    """Seconds since 1970 of an HTTP date, whose zone is GMT unless it says otherwise."""
    try:
        told = parsedate_to_datetime(date)
        return told.replace(tzinfo=told.tzinfo or timezone.utc).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def patience_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for, at most an hour; none when it asks for nothing.

    A date in it counts from the ``Date`` of the same answer: the device's plays no part.
    """
    told = headers.get("retry-after", "").strip()
    if told.isdecimal():
        asked_s = float(told[:9])
    else:
        until, answered = date_s(told), date_s(headers.get("date", ""))
        if until is None or answered is None:
            return None
        asked_s = until - answered
    return min(max(0.0, asked_s), _LONGEST_PATIENCE_S)


def from_cache(headers: Mapping[str, str]) -> bool:
    """Whether a cache on the way answered: what S3 said once is no proof of what it holds."""
    age = headers.get("age", "").strip()
    return age.isdecimal() and age.strip("0") != ""
