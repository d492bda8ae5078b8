"""Fetch files with petal-s3's client over its own connection: URL TARGET PATH...

Run where the real pymavlink is, and nothing else is needed.
"""

import asyncio
import sys
import time
import zlib
from pathlib import Path

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.own_link import OwnLink
from petal_s3.intake.flight_state import Heartbeat


async def main(url: str, target: Path, paths: list[str]) -> None:
    link, heard = OwnLink(url), asyncio.Event()

    def beat(one: Heartbeat) -> None:
        if one.from_autopilot:
            heard.set()

    link.on_heartbeat = beat
    card = MavftpCard(link, Terms(lambda: None, lambda: None, time.monotonic, may_reset=True))
    link.start()
    await asyncio.wait_for(heard.wait(), 60)
    for path in paths:
        size, got = await card.open_size(path), bytearray()

        async def sink(block: bytes, got: bytearray = got) -> None:
            got.extend(block)

        began = time.monotonic()
        await card.read(path, 0, size, sink)
        took_s = time.monotonic() - began
        assert await card.crc32(path) == zlib.crc32(got)
        (target / Path(path).name).write_bytes(got)
        print(path, "SUCCESS", f"{took_s:.3f}", flush=True)
    await card.close()
    await link.stop()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
