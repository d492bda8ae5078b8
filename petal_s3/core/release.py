"""The day on which this version was made: no clock that is right can be before it."""

from __future__ import annotations

from datetime import datetime, timezone

RELEASED = "2026-11-20"
"""Written by hand with the version, so that a build is the same every time; never in the future."""
RELEASED_S = datetime.fromisoformat(RELEASED).replace(tzinfo=timezone.utc).timestamp()
"""The same in seconds since 1970."""

JSON_SCHEMA = 1
"""Of the answers to ``--json``; it grows when a name goes, or changes its meaning."""
