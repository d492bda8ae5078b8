"""Remember which log directories were there: logs in one that is gone are not seen.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from petal_s3.outbox import facts
from petal_s3.outbox.outbox import Outbox

_FACT = "log directories"


def known(outbox: Outbox) -> dict[str, bool]:
    """The log directories that a scan has seen, and whether each was a mount point."""
    try:
        told = json.loads(facts.value(outbox, _FACT) or "{}")
        return {str(path): bool(mounted) for path, mounted in told.items()}
    except (AttributeError, ValueError):  # of another version
        return {}


def remember(outbox: Outbox, there: Mapping[str, bool], configured: frozenset[str]) -> None:
    """Remember those that are ``there``, and forget those that are no longer ``configured``."""
    before = known(outbox)
    both = {path: before.get(path, False) or there.get(path, False) for path in {*before, *there}}
    now = {path: mounted for path, mounted in both.items() if path in configured}
    if now != before:
        facts.keep(outbox, _FACT, json.dumps(now, sort_keys=True))
