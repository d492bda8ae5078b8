"""A thousand robots whose link returns at once: how many requests come in one second?"""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Iterator

from tests.simulation.crowd import Arrivals, most_in_a_second, returned

from .figures import Figure

_ROBOTS, _IN_STEP = 1000, 100  # without jitter one is as all


def figures(quick: bool) -> Iterator[Figure]:
    """Row 16, on virtual time: an outage of 10 minutes; else also of one minute and of an hour."""
    os.environ["PETAL_S3_CONFIG"] = ""
    logging.disable(logging.WARNING)
    dice = range(1 if quick else 3)
    in_step = returned(_IN_STEP, 600.0, jitter=False)
    yield from _shares(
        600.0, in_step, [returned(_ROBOTS, 600.0, jitter=True, seed=n) for n in dice]
    )
    for outage_s in () if quick else (60.0, 3600.0):
        found = [returned(_ROBOTS, outage_s, jitter=True, seed=n) for n in dice]
        yield from _shares(outage_s, in_step, found, beside=outage_s < 600)
    logging.disable(logging.NOTSET)


def _shares(
    outage_s: float, in_step: Arrivals, found: list[Arrivals], *, beside: bool = False
) -> Iterator[Figure]:
    """Of what comes in one second where all are in step; and how long a robot waited."""
    what = f"an outage of {outage_s / 60:g} min"
    row = 0 if beside else 16
    for case, name in enumerate(("s3", "tokens")):
        most = most_in_a_second(getattr(in_step, name)) * _ROBOTS / _IN_STEP
        shares = tuple(100 * most_in_a_second(getattr(one, name)) / most for one in found)
        where = "S3" if name == "s3" else "the token service"
        yield Figure(row, f"most requests in a second at {where}, {what}", shares, "%", case)
    waited = tuple(statistics.median(one.waited) for one in found)
    yield Figure(0, f"from the link to the proof, median of the robots, {what}", waited, "s")
