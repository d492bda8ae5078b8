"""A process that brings logs into the bucket and says what each batch of them has cost it."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.support.costs import Costs, Meter, counting


def main(settings: str, batches: str) -> None:
    """Print the costs of the start, and of each batch of paths: to enqueue it, to send it.

    Each line is one of :class:`Costs`, and is followed only when a line was read.
    """
    with counting() as meter:
        asyncio.run(_send(meter, json.loads(settings), json.loads(batches)))


async def _send(meter: Meter, settings: dict[str, object], batches: list[list[str]]) -> None:
    from petal_s3.core.settings_loading import load_settings
    from petal_s3.service.service import Service
    from tests.support.known import CHECKING

    service = Service(load_settings(**settings), capabilities=CHECKING)
    await service.open()
    before = _told(meter, Costs())
    for batch in batches:
        rows = [await service.enqueue(path) for path in batch]
        before = _told(meter, before)
        while await service.drainer.step():
            pass
        before = _told(meter, before)
        for row in rows:
            assert (await service.wait(row.id, patience_s=0)).state == "verified"
    await service.stop()


def _told(meter: Meter, before: Costs) -> Costs:
    sys.stdout.write((meter.so_far() - before).json() + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    return meter.so_far()


if __name__ == "__main__":
    main(*sys.argv[1:])
