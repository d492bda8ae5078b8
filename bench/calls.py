"""Which packages does one log enter on its way from found to verified, and how often do they call
each other?"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.logs import write_ulog
from petal_s3.service.service import Service

from .robot import MIB, robot

_PACKAGE = str(Path(__file__).resolve().parents[1] / "petal_s3") + "/"
# Everything stands on these; the demo is not part of the way.
_LEFT_OUT = frozenset({"core", "errors.py", "demo", "__init__.py"})

Step = tuple[str, str]


def run(size: int = 12 * MIB) -> list[str]:
    """Enqueue two logs, and count for each until it is proven; this process drains.

    Before the first, what the server offers is learnt. A coroutine that goes on after a wait counts
    as called again, as the interpreter reports it.
    """
    with robot() as on:
        named = {n.removeprefix("PETAL_S3_").lower(): v for n, v in on.settings().items()}
        named["endpoint_url"] = on.s3.url
        logs = [on.logs / f"20260102_10111{number}_flight.ulg" for number in range(2)]
        for seed, log in enumerate(logs):
            write_ulog(log, size, seed=seed)
        counted = asyncio.run(_upload(Service(load_settings(**named)), logs))
    lines = []
    for name, calls in zip(("the first, with what is learnt", "the second"), counted, strict=True):
        entered = {package for step in calls for package in step if package}
        between = {step: n for step, n in calls.items() if all(step)}
        lines += [
            f"a log of {size // MIB} MiB, {name}: it enters {len(entered)} packages:"
            f" {', '.join(sorted(entered))}",
            f"  calls from one into another: {sum(between.values())} along {len(between)} ways",
        ]
    most = sorted(between.items(), key=lambda one: -one[1])
    return [*lines, *(f"  {n:6} {one} -> {other}" for (one, other), n in most)]


async def _upload(service: Service, logs: list[Path]) -> list[Counter[Step]]:
    calls: Counter[Step] = Counter()
    found = []
    with _counting(calls):
        try:
            await service.open()
            for log in logs:
                calls.clear()  # its threads run, and are counted
                row = await service.enqueue(log)
                while await service.drainer.step():
                    pass
                assert (await service.wait(row.id, patience_s=0)).state == "verified"
                found.append(Counter(calls))
        finally:
            await service.stop()
    return found


@contextmanager
def _counting(calls: Counter[Step]) -> Iterator[None]:
    """Count in this thread and in those that begin meanwhile."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (inner := _package(frame)):
            outer = _caller(frame)
            if outer != inner:
                calls[outer, inner] += 1

    _everywhere(profile)
    try:
        yield
    finally:
        _everywhere(None)


def _everywhere(profile: Callable[[FrameType, str, object], None] | None) -> None:
    threading.setprofile(profile)
    sys.setprofile(profile)


def _caller(frame: FrameType) -> str:
    """The package nearest outwards, past the standard library, asyncio and what is left out."""
    outer = frame.f_back
    while outer is not None:
        if package := _package(outer):
            return package
        outer = outer.f_back
    return ""


def _package(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    if not name.startswith(_PACKAGE):
        return ""
    package = name.removeprefix(_PACKAGE).partition("/")[0]
    return "" if package in _LEFT_OUT else package


if __name__ == "__main__":
    print("\n".join(run()))
