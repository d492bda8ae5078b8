"""How the judge of a format reads more of a file than its beginning."""

from __future__ import annotations

from collections.abc import Callable

Read = Callable[[int, int], bytes]
"""So many bytes (second) of the file from a position (first) on; fewer where it ends."""

Judge = Callable[[str, bytes, Read, int], tuple[str, dict[str, str]]]
"""By the shown name, the beginning, more of it on demand and the size: verdict and facts."""
