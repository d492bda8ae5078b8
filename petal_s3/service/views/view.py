"""What all views have in common, and the words that they use."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, ConfigDict

RowState = Literal["queued", "uploading", "verified", "dead", "cancelled"]
Link = Literal["up", "down", "unknown"]
Credentials = Literal["ok", "none", "refused", "expired"]
Flight = Literal["armed", "disarmed", "unknown"]


class View(BaseModel):
    """An answer; ``model_dump()`` is its JSON."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # most of them one command never uses


_LAST_S = 253_402_300_799  # 9999-12-31 23:59:59


def iso(seconds: float) -> str:
    """A moment in seconds since 1970 as ISO 8601, UTC, whole seconds; clamped to 1970..9999."""
    whole = min(max(int(seconds), 0), _LAST_S)
    return datetime.fromtimestamp(whole, timezone.utc).isoformat()


def spoken_bytes(size: int) -> str:
    """A size for people, in units of a thousand: ``999 B``, ``1.2 GB``."""
    if size < 1000:
        return f"{size} B"
    amount = size / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 999.95:
            return f"{amount:.1f} {unit}" if amount < 99.95 else f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
