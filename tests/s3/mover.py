"""Move one object by ranges: a process of its own, that a test may kill."""

from __future__ import annotations

import asyncio
import json
import sys

from petal_s3.core.settings_loading import load_settings
from petal_s3.objects.copy import Copier
from petal_s3.service.service import Service
from tests.support.known import KNOWN


async def main(settings: str, source: str, target: str, limit: str) -> None:
    service = Service(load_settings(**json.loads(settings)), capabilities=KNOWN)
    await service.open()
    service.objects.copier = Copier(service.s3, int(limit))
    await service.objects.move(source, target)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
