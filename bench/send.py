"""A process that enqueues files, sends them, and ends when each is proven."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

from petal_s3.core.settings_loading import load_settings
from petal_s3.service.service import Service


async def main(paths: list[str]) -> None:
    """Enqueue ``paths``, drain them; print ``VmHWM`` in KiB, and CPU seconds to enqueue them."""
    service = Service(load_settings())
    await service.start(watch=False)
    began = time.process_time()
    rows = [await service.enqueue(path) for path in paths]
    enqueue_s = time.process_time() - began
    for row in rows:
        done = await service.wait(row.id, patience_s=120)
        if done.state != "verified":
            raise SystemExit(f"{done.path} is {done.state}: {done.reason}")
    await service.stop()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            print(line.split()[1], enqueue_s)


if __name__ == "__main__":
    gc.set_threshold(10_000, 10, 10)  # as the command line does
    asyncio.run(main(sys.argv[1:]))
