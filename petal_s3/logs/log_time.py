"""Tell the time of a log from its name, its folder or its modification time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

_DATE_FOLDER = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CLOCK_NAME = re.compile(r"([0-9]{2})_([0-9]{2})_([0-9]{2})(?![0-9])")
# QGroundControl writes no leading zeros: log_40_2025-6-24-14-58-42.ulg.
_TIME_IN_NAME = re.compile(
    r"(?<![0-9])([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"[-_ T]([0-9]{1,2})[-_]([0-9]{1,2})[-_]([0-9]{1,2})(?![0-9])"
)
_COMPACT = re.compile(
    r"(?<![0-9])([0-9]{4})([0-9]{2})([0-9]{2})[-_T]?([0-9]{2})([0-9]{2})([0-9]{2})(?![0-9])"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59


def log_time(
    path: Path, mtime_ns: int, *, compact: bool = False, told_s: int | None = None
) -> datetime:
    """Give the log's own time, UTC, whole seconds.

    From PX4's ``YYYY-MM-DD/HH_MM_SS.ulg``, else from ``YYYY-MM-DD-HH-MM-SS`` in the name (also
    with ``_`` and without leading zeros; with ``compact`` ``YYYYMMDD_HHMMSS`` too), else from
    ``told_s``, the start in seconds since 1970 that the log itself tells, else from ``mtime_ns``.
    Impossible dates are passed over; the last two are clamped to 1970..9999.
    """
    folder = _DATE_FOLDER.fullmatch(path.parent.name)
    clock = _CLOCK_NAME.match(path.name)
    found = [folder.groups() + clock.groups()] if folder and clock else []
    found += [match.groups() for match in _TIME_IN_NAME.finditer(path.name)]
    found += [match.groups() for match in _COMPACT.finditer(path.name) if compact]
    for parts in found:
        try:
            year, month, day, hour, minute, second = map(int, parts)
            moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        except ValueError:
            continue
        if moment >= _EPOCH:
            return moment
    seconds = mtime_ns // 10**9 if told_s is None else told_s
    return _EPOCH + timedelta(seconds=min(max(seconds, 0), _LAST_SECOND))
