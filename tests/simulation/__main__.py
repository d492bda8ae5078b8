"""Run simulations: ``python -m tests.simulation 3000``; ``--seed N`` replays one in full."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.life import Report
from tests.simulation.many import lives, one, prepare


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000, help="how many lives")
    parser.add_argument("--first", type=int, default=1, help="seed of the first life")
    parser.add_argument("--seed", type=int, help="live this one life and tell what happened")
    parser.add_argument("--minutes", type=float, help="begin no new life after so many minutes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.seed is not None:
        return _tell(given.seed)
    began = time.monotonic()
    done = kills = requests = parts = logs = 0
    broken: list[Report] = []
    for report in lives(given.first, given.count, given.workers):
        done += 1
        kills, requests = kills + report.kills, requests + report.requests
        parts, logs = parts + report.parts, logs + report.logs
        if report.broken:
            broken.append(report)
            print(f"\nseed {report.seed}: {report.broken}", flush=True)
        if done % 100 == 0:
            print(
                f"{done} lives, {len(broken)} broken, {time.monotonic() - began:.0f} s", flush=True
            )
        if given.minutes and time.monotonic() - began > given.minutes * 60:
            break
    print(
        f"{done} lives in {time.monotonic() - began:.0f} s: {logs} logs proven, {parts} parts "
        f"confirmed, {requests} requests, {kills} kills; broken laws: {len(broken)}"
    )
    return 1 if broken else 0


def _tell(seed: int) -> int:
    prepare()
    report = one(seed)
    print("\n".join(report.trace))
    print(f"seed {seed}: {report.broken or 'no law was broken'}, {report.fingerprint}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
