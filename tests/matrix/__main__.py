"""Play the matrix: ``scripts/matrix`` plays all pairs, ``--one "a=b + c=d"`` tells one case."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from tests.matrix.case import Report
from tests.matrix.many import one, play, prepare
from tests.matrix.pairs import covering, known, pairs, singles
from tests.simulation.world import PART
from tests.support.personality import ODDITIES, Personality

_SETS = {"all": pairs, "covering": covering, "singles": singles, "known": known}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/matrix",
        description=__doc__,
        epilog="features:\n" + "\n".join(f"  {n}: {', '.join(h)}" for n, h in ODDITIES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("which", nargs="?", choices=_SETS, default="all")
    parser.add_argument("--one", help="play this one case and tell it all")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--first", type=int, default=0, help="skip so many cases")
    parser.add_argument("--count", type=int, help="play at most so many")
    parser.add_argument("--minutes", type=float, help="begin no new case after so many minutes")
    parser.add_argument("--part", type=int, default=PART, help="part size, bytes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quiet", action="store_true", help="the first failure of a case only")
    given = parser.parse_args()
    if given.one is not None:
        return _tell(Personality.of(given.one), given.part)
    return _play(given)


def _chosen(given: argparse.Namespace) -> Iterator[Personality]:
    named = (one for one in _SETS[given.which]() if given.only in str(one))
    end = None if given.count is None else given.first + given.count
    return islice(named, given.first, end)


def _play(given: argparse.Namespace) -> int:
    began, done, failed, requests = time.monotonic(), 0, 0, 0
    odd: Counter[str] = Counter()
    proofs: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    for report in play(_chosen(given), workers=given.workers, part=given.part):
        done, requests = done + 1, requests + report.requests
        proofs.update(report.proofs.values())
        blocked.update(report.blocked)
        if report.failures:
            failed += 1
            odd.update(report.name.split(" + "))
            _show(report, given.quiet)
        if given.minutes and time.monotonic() - began > given.minutes * 60:
            break
    took_s = time.monotonic() - began
    if failed:
        print("\nodd features of the cases that failed:")
        for name, number in sorted(odd.items(), key=lambda one: -one[1]):
            print(f"{number:6} {name}")
    if blocked:
        print("\nsentences that blocked:")
        for reason, number in blocked.most_common():
            print(f"{number:6} {reason}")
    told = ", ".join(f"{number} {name}" for name, number in proofs.most_common())
    print(f"\n{done} cases in {took_s:.0f} s, {requests} requests, logs proven by: {told or '-'}")
    print(f"{failed} of {done} cases failed")
    return 1 if failed else 0


def _show(report: Report, quiet: bool) -> None:
    print(f"\n{report.name}")
    for failure in report.failures[: 1 if quiet else None]:
        print(f"    {failure}", flush=True)


def _tell(personality: Personality, part: int) -> int:
    prepare()
    report = one(personality, part)
    print("\n".join(report.trace))
    for reason in report.blocked:
        print(f"blocked: {reason}")
    told = ", ".join(
        f"{name} x{report.sent[name]} {proof}" for name, proof in report.proofs.items()
    )
    print(f"sent and proven: {told or '-'}; {report.requests} requests")
    print("\n".join(report.failures) or "all held")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
