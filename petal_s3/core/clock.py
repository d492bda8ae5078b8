"""Tell time by a clock that cannot be set: seconds since boot, and which boot that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

Clock = Callable[[], float]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since boot, suspended time included; meaningful only beside :func:`boot_id`."""
    return time.clock_gettime(_CLOCK)


@cache
def boot_id() -> str:
    """The kernel's id of this boot: a time from another boot says nothing about now."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
