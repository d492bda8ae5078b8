"""Play many cases, in processes of their own."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Iterator
from functools import partial

from tests.matrix.case import Report, in_virtual_time
from tests.simulation.world import PART
from tests.support.children import CHILDREN
from tests.support.personality import Personality


def one(personality: Personality, part: int = PART) -> Report:
    """Play one case; one that cannot be played has failed."""
    try:
        return in_virtual_time(personality, part)
    except Exception as error:  # noqa: BLE001 - whatever it is, others go on
        return Report(str(personality), [f"case: {type(error).__name__}: {error}"])


def _in_short(personality: Personality, part: int) -> Report:
    report = one(personality, part)
    report.trace.clear()
    return report


def prepare() -> None:
    """Nothing of the caller's settings leaks into a case, and its log is heard by the case only."""
    for name in list(os.environ):
        if name.startswith(("PETAL_", "AWS_")):
            del os.environ[name]
    os.environ["PETAL_S3_CONFIG"] = ""
    logging.getLogger().addHandler(logging.NullHandler())
    # What is loaded by now stays: it is not looked through again and again.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def play(
    personalities: Iterable[Personality], *, workers: int, part: int = PART
) -> Iterator[Report]:
    """Reports as they come in."""
    work = partial(_in_short, part=part)
    with CHILDREN.Pool(workers, initializer=prepare, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(work, personalities)
