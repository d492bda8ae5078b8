"""Run simulations: ``python -m tests.simulation 3000``; ``--seed N`` replays one in full."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.many import one, prepare, simulations
from tests.simulation.simulation import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000, help="how many simulations")
    parser.add_argument("--first", type=int, default=1, help="seed of the first simulation")
    parser.add_argument("--seed", type=int, nargs="+", help="run these and print what happened")
    parser.add_argument(
        "--minutes", type=float, help="begin no new simulation after so many minutes"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.seed is not None:
        prepare()
        return max(map(_tell, given.seed))
    began = time.monotonic()
    done = kills = requests = parts = logs = 0
    broken: list[Report] = []
    for report in simulations(given.first, given.count, given.workers):
        done += 1
        kills, requests = kills + report.kills, requests + report.requests
        parts, logs = parts + report.parts, logs + report.logs
        if report.broken:
            broken.append(report)
            print(f"\nseed {report.seed}: {report.broken}", flush=True)
        if done % 100 == 0:
            print(
                f"{done} simulations, {len(broken)} broken, {time.monotonic() - began:.0f} s",
                flush=True,
            )
        if given.minutes and time.monotonic() - began > given.minutes * 60:
            break
    print(
        f"{done} simulations in {time.monotonic() - began:.0f} s: {logs} logs proven,"
        f" {parts} parts confirmed, {requests} requests, {kills} kills;"
        f" broken invariants: {len(broken)}"
    )
    return 1 if broken else 0


def _tell(seed: int) -> int:
    report = one(seed)
    print("\n".join(report.trace))
    print(f"seed {seed}: {report.broken or 'no invariant was broken'}, {report.fingerprint}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
