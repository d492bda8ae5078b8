"""A process that drains one outbox and ends when every row is settled; it may be killed."""

from __future__ import annotations

import asyncio
import sys

from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox import queries
from petal_s3.service.service import Service


async def main(paths: list[str]) -> None:
    """Enqueue ``paths``, drain, end when nothing waits any more."""
    service = Service(load_settings())
    if paths[:1] == ["--enqueue"]:
        await service.open()
        for path in paths[1:]:
            await service.enqueue(path)
        await service.stop()
        return
    await service.start(watch=False)
    print("ready", flush=True)
    if paths == ["--idle"]:
        await asyncio.Event().wait()
    for path in paths:
        await service.enqueue(path)
    while True:
        counts = await service.outbox(queries.counts)
        if not counts["queued"] and not counts["uploading"]:
            break
        await asyncio.sleep(0.02)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
