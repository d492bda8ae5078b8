"""The server's time, and what the headers of its answers say of time: date, age, retry after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from petal_s3.core import clock
from petal_s3.core.clock import Clock

_LONGEST_RETRY_AFTER_S = 3600.0
# A server without a clock may live in 1970; a date after 2200 is taken for an error.
_SANE_S = range(7_258_118_400)

_AGREE_S = 30.0

FROM_CACHE = "A cache on the way answers in place of S3: it must let S3 through."


def date_s(date: str) -> float | None:
    """Seconds since 1970 of an HTTP date, in GMT unless it says otherwise; none for no date."""
    try:
        told = parsedate_to_datetime(date)
        return told.replace(tzinfo=told.tzinfo or timezone.utc).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for, at most an hour; none when it asks for nothing.

    A date in it counts from the ``Date`` of the same answer, not from the device's clock.
    """
    told = headers.get("retry-after", "").strip()
    if told.isdecimal():
        asked_s = float(told[:9])
    else:
        until, answered = date_s(told), date_s(headers.get("date", ""))
        if until is None or answered is None:
            return None
        asked_s = until - answered
    return min(max(0.0, asked_s), _LONGEST_RETRY_AFTER_S)


def from_cache(headers: Mapping[str, str]) -> bool:
    """Whether a cache on the way answered: an old answer does not prove what S3 holds now."""
    age = headers.get("age", "").strip()
    return age.isdecimal() and age.strip("0") != ""


class ServerClock:
    """The server's time: the device's plus an offset learnt from the ``Date`` of its answers.

    ``steady`` and ``wall`` are the device's clocks, in seconds: since boot, and since 1970.
    """

    def __init__(
        self,
        steady: Clock = clock.now,
        wall: Clock = time.time,
    ) -> None:
        self.steady = steady
        self.wall = wall
        self._base_s: float | None = None  # server time at steady 0
        self._agreed = False

    def utcnow(self) -> datetime:
        """The server's time now, in UTC; the device's while none was learnt."""
        seconds = self.wall() if self._base_s is None else self._base_s + self.steady()
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)

    def seconds(self) -> int:
        """S3's time in whole seconds since 1970; the device's own while that is unknown."""
        return int(self.utcnow().timestamp())

    @property
    def agreed_s(self) -> float | None:
        """S3's time in seconds since 1970; none unless the last two answers that told it agree.

        What is deleted by its age asks for this one: one odd answer deletes nothing.
        """
        if self._base_s is None or not self._agreed:
            return None
        return self._base_s + self.steady()

    @property
    def offset_s(self) -> float | None:
        """How far the server is ahead of the device; none while nothing was learnt."""
        if self._base_s is None:
            return None
        return self._base_s + self.steady() - self.wall()

    def learn(self, date: str) -> float:
        """Adopt an HTTP ``Date``; return by how many seconds it differs from the time so far."""
        told = date_s(date)
        if told is None or int(told) not in _SANE_S:
            return 0.0
        moved = told - self.utcnow().timestamp()
        self._agreed = self._base_s is not None and abs(moved) <= _AGREE_S
        if not self._agreed:
            self._base_s = told - self.steady()
        return abs(moved)
