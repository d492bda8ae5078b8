"""Run the measurements that are named, or all of them."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable

from . import client, kills, lag, latency, links, memory, rest, sessions

MEASURES: dict[str, Callable[[], list[str]]] = {
    "latency": latency.run,
    "lag": lag.run,
    "memory": memory.run,
    "kills": kills.run,
    "links": links.run,
    "rest": rest.run,
    "sessions": sessions.run,
    "client": client.run,
}


def main(names: list[str]) -> int:
    """Print the figures of each measurement as it ends."""
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    print(
        f"# {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    for name in names or MEASURES:
        for line in MEASURES[name]():
            print(f"{name:8} {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
