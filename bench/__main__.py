"""Run the measurements that are named, or all of them; ``quick``: within three minutes."""

from __future__ import annotations

import importlib
import os
import sys
import time
from types import ModuleType

from . import page, results
from .figures import Figure

NAMES = (
    "uploads",
    "memory",
    "links",
    "robots",
    "start",
    "idle",
    "latency",
    "lag",
    "kills",
    "rest",
    "sessions",
    "client",
    "card_line",
    "card_host",
)
"""The modules of this package that measure; how they do is in its docstring."""


def main(words: list[str]) -> int:
    """Print the figures of each measurement as it ends, and keep them."""
    quick = "quick" in words
    names = [word for word in words if word != "quick"]
    if names == ["page"]:
        page.write()
        return 0
    if unknown := [name for name in names if name not in NAMES]:
        told = f"unknown: {', '.join(unknown)}; there are quick, page, {', '.join(NAMES)}"
        print(told, file=sys.stderr)
        return 2
    began = time.monotonic()
    print(f"# {results.machine()}")
    for name in names or NAMES:
        _measure(name, quick=quick)
    print(f"# {time.monotonic() - began:.0f} s")
    return 0


def _measure(name: str, *, quick: bool) -> None:
    module = importlib.import_module(f"bench.{name}")
    found: list[Figure] = []
    before = os.getloadavg()
    for figure in module.figures(quick) if hasattr(module, "figures") else ():
        print(f"{name:8} {figure.line()}", flush=True)
        found.append(figure)
    if found:
        print(f"{name:8} load {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
        versions = module.versions() if hasattr(module, "versions") else {}
        results.write(name, found, before, {**results.versions(), **versions}, quick=quick)
    if not quick:
        _lines(name, module)


def _lines(name: str, module: ModuleType) -> None:
    for line in module.run() if hasattr(module, "run") else ():
        print(f"{name:8} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
