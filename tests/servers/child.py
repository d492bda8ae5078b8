"""What a process does until it has finished or is killed: bring one log into S3."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox import queries, transitions
from petal_s3.service.service import Service

ATTEMPTS = 8


def bring(env: dict[str, str], settings: dict[str, Any], path: str) -> None:
    """Enter the log and make attempts until it is settled, at most :data:`ATTEMPTS`."""
    os.environ.update(env)
    asyncio.run(_bring(load_settings(**settings), Path(path)))


async def _bring(settings: Settings, path: Path) -> None:
    service = Service(settings)
    service.drainer.timing.spread = lambda: 0.0  # what failed is due again at once
    await service.open()
    await service.outbox(transitions.release_claims)
    row = await service.enqueue(path)
    for _ in range(ATTEMPTS):
        if row.settled:
            break
        await service.drainer.pause.retry_now()
        await service.drainer.step()
        row = await service.outbox(queries.get, row.id)
    await service.stop()
