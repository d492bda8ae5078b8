"""What a child process does until it is killed at one of its own writes: bring one log into S3."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.service import Service
from tests.support.known import KNOWN

_WRITES = ("INSERT", "UPDATE", "DELETE")


def bring(settings: dict[str, Any], path: str, dies_after: int) -> None:
    """Enter the log and drain until it is settled.

    ``dies_after``: SIGKILL this process when so many commits are about to be made: all before
    the last are on disk, and what that one wrote is not. 0: never.
    """
    asyncio.run(_bring(settings, path, dies_after))


async def _bring(settings: dict[str, Any], path: str, dies_after: int) -> None:
    service = Service(load_settings(**settings), capabilities=KNOWN)
    service.drainer.timing.spread = lambda: 0.0
    await service.open()

    def watch(outbox: Outbox) -> None:
        conn = outbox.sql.conn
        commits = 0
        wrote = False

        def count(statement: str) -> None:
            nonlocal commits, wrote
            if statement.startswith("BEGIN"):
                wrote = False
            # What the drain says for others it says whenever it comes to it.
            elif statement.startswith(_WRITES) and "INTO drain" not in statement:
                wrote = True
            # A statement outside a transaction is one by itself.
            if wrote and (statement.startswith("COMMIT") or not conn.in_transaction):
                commits, wrote = commits + 1, False
                if commits == dies_after:
                    os.kill(os.getpid(), signal.SIGKILL)

        conn.set_trace_callback(count)

    await service.outbox(watch)
    await service.start(watch=False)
    row = await service.enqueue(path)
    await service.wait(row.id, patience_s=float("inf"))
    await service.stop()
