"""What all views have in common, and the words that they use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

RowState = Literal["queued", "uploading", "verified", "dead", "cancelled"]
Link = Literal["up", "down", "unknown"]
Credentials = Literal["ok", "none", "refused", "expired"]
Flight = Literal["armed", "disarmed", "unknown"]


class View(BaseModel):
    """An answer; ``model_dump()`` is its JSON."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # most of them one command never uses
