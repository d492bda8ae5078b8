"""Take a log in piece by piece: a process of its own, that a test weighs or kills."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from petal_s3.host.proxy import S3BucketProxy

CHUNK_BYTES = 100_000


def say(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def chunks(path: Path, stop_at: int) -> AsyncIterator[bytes]:
    """The bytes of a file; after ``stop_at`` of them nothing comes any more, 0: all come."""
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            yield block
            if stop_at and file.tell() >= stop_at:
                await asyncio.sleep(0.2)  # what came is on its way to the disk
                say(came=file.tell())
                await asyncio.Event().wait()


async def main(settings: str, path: str, stop_at: str) -> None:
    proxy = S3BucketProxy(**json.loads(settings))
    await proxy.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await proxy.stream_upload(chunks(Path(path), int(stop_at)), "flight.ulg")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    say(answer=answer, grown=grown)
    if "error" in answer:
        await asyncio.Event().wait()
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
