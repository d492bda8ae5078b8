"""How long is waited after failures, and after a link is back: never in step with other robots."""

from __future__ import annotations

import random
from collections.abc import Callable

CAP_S = 60.0
"""The longest wait for a link."""
CAP_REFUSED_S = 900.0  # each try may carry a whole part that is refused at its end
HELD_S = 600.0
"""The longest time without an attempt while no connect to the peer can be made."""
RETURN_SHARE = 0.2
RETURN_CAP_S = 40.0
"""The longest wait after a link is back: so many robots may have waited for the same one."""

Spread = Callable[[], float]
"""Jitter: how much of a backoff is really waited, 0..1."""


def backoff_s(failures: int, *, cap_s: float = CAP_S, spread: Spread = random.random) -> float:
    """Seconds to wait after so many failures in a row: full jitter, doubled, capped.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog. ``spread`` yields 0..1.
    """
    return spread() * min(cap_s, 2.0 ** min(max(failures, 0), 16))


def return_s(outage_s: float, *, spread: Spread = random.random) -> float:
    """Seconds from a link that is back to the first attempt, in proportion to how long it was gone.

    A thousand robots that lost one link find it within seconds of each other; S3 and the token
    service get their requests over :data:`RETURN_CAP_S`.
    """
    return spread() * min(RETURN_CAP_S, RETURN_SHARE * outage_s)


def held_s(*, spread: Spread = random.random) -> float:
    """Seconds for which failing connects put off an attempt that would fail, too.

    Not for ever: an attempt may pass where a bare connect does not.
    """
    return HELD_S * (1.0 + spread()) / 2
