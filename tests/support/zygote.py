"""Imported once by the process that children are forked off: what it has, each of them has.

It brings one log itself, to the fault server. So everything is imported, and botocore has found
out what its clients and requests are made of: a child costs a few ms, not a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import tempfile
from pathlib import Path

import pytest  # noqa: F401 - the main module, which each child imports

from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.logs import write_ulog
from petal_s3.service.service import Service
from tests.support.once import found_out_once
from tests.support.server import FaultServer

_FOR_GOOD = contextlib.ExitStack()


async def _bring_one(directory: Path) -> None:
    path = directory / "flight.ulg"
    write_ulog(path, 10_000)
    async with FaultServer(keep=True) as server:
        settings = load_settings(
            bucket_name="logs",
            endpoint_url=server.url,
            session_token_url=server.token_url,
            machine_id="drone-001",
            state_dir=directory / "state",
            log_dirs=str(directory),
        )
        service = Service(settings)
        await service.open()
        await service.enqueue(path)
        await service.drainer.step()
        await service.stop()


os.environ["PETAL_S3_CONFIG"] = ""
_FOR_GOOD.enter_context(found_out_once())
with tempfile.TemporaryDirectory() as made:
    asyncio.run(_bring_one(Path(made)))
gc.freeze()  # what is there by now is no garbage, and its pages stay shared
