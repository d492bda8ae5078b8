"""What a child process does until it has finished or is killed: bring one log into S3."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from petal_s3.core.settings_loading import load_settings
from petal_s3.service.service import Service
from tests.support.known import KNOWN


def bring(settings: dict[str, Any], path: str, dies_after: int) -> None:
    """Enter the log and drain until it is settled.

    ``dies_after``: kill this process when it has read so many answers of S3; 0: never.
    """
    asyncio.run(_bring(settings, path, dies_after))


async def _bring(settings: dict[str, Any], path: str, dies_after: int) -> None:
    service = Service(load_settings(**settings), capabilities=KNOWN)
    service.drainer.timing.spread = lambda: 0.0  # what failed is due again at once
    await service.start(watch=False)
    connection = service.s3.server.calls.connection
    ask, answers = connection.call, 0

    async def counted(*call: Any) -> Any:
        nonlocal answers
        try:
            return await ask(*call)
        finally:
            answers += 1
            if answers == dies_after:
                os.kill(os.getpid(), signal.SIGKILL)

    connection.call = counted  # type: ignore[method-assign]
    row = await service.enqueue(path)
    await service.wait(row.id, patience_s=float("inf"))
    await service.stop()
