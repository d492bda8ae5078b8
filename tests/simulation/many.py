"""Run many simulations, in processes of their own."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.simulation import Report, simulate
from tests.support.children import CHILDREN


def one(seed: int) -> Report:
    try:
        report = simulate(seed)
    except Exception as error:  # noqa: BLE001 - what ends with an error is broken
        report = Report(seed, broken=f"{type(error).__name__}: {error}")
    return report


def _in_short(seed: int) -> Report:
    report = one(seed)
    return report if report.broken else replace(report, trace=[])


def prepare() -> None:
    """Nothing of the caller's settings leaks into a simulation, and its log is not written."""
    for name in list(os.environ):
        if name.startswith(("PETAL_", "AWS_")):
            del os.environ[name]
    os.environ["PETAL_S3_CONFIG"] = ""
    logging.disable(logging.CRITICAL)
    # What is loaded by now stays; to look through it again and again took a twentieth of all.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def simulations(first: int, count: int, workers: int) -> Iterator[Report]:
    """Reports as they come in; each seed is one simulation, in whatever process it runs."""
    seeds = range(first, first + count)
    with CHILDREN.Pool(workers, initializer=prepare, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(_in_short, seeds)
