"""Walk through 100,000 objects, weighed: a process of its own."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

from robot import HOME
from wired import wired_up

from tests.support.mind import Many

COUNT = 100_000
SETTLED = 20_000  # caches of every kind are full by then


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def main(tmp: Path) -> None:
    async with wired_up(tmp) as wired:
        wired.server.mind.many = Many(HOME, COUNT)
        count = different = base = 0
        before = ""
        async for info in wired.objects.walk():
            count += 1
            different += info.key > before
            before = info.key
            if count == SETTLED:
                base = peak_bytes()
            if count % 1000 == 0:
                wired.server.ledger.clear()  # the server's own notes
        told = {
            "count": count,
            "different": different,
            "grown": peak_bytes() - base,
            "peak": peak_bytes(),
            "requests": wired.server.mind.answered,
        }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
