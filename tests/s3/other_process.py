"""Another process on the same outbox: enters a log, speaks of the flight, or drains."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import S3IntegrationError
from petal_s3.service import vehicle
from petal_s3.service.service import Service
from tests.support.known import KNOWN


async def main(work: str, settings: dict[str, Any], path: str) -> None:
    service = Service(load_settings(**settings), capabilities=KNOWN)
    if work == "land":
        await service.open()
        row = await service.enqueue(path)
        await service.stop()
        sys.stdout.write(f"{row.id}\n")
        return
    if work == "say":
        await service.open()
        try:
            said = await vehicle.declare(service, armed=path == "armed")
        except S3IntegrationError as error:
            said = error.code
        await service.stop()
        sys.stdout.write(said)
        return
    await service.start(watch=False)
    while not service.lock.held:
        await asyncio.sleep(0.01)
    sys.stdout.write("drains\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]))
