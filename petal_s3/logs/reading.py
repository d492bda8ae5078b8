"""How the judge of a format reads more of a file than its beginning."""

from __future__ import annotations

from collections.abc import Callable

Read = Callable[[int, int], bytes]
"""So many bytes (second) of the file from a position (first) on; fewer where it ends."""
