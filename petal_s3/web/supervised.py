"""Tell the supervisor of the stand-alone server that it is ready, lives, and what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping

from petal_s3.core.systemd import is_told, notify, watchdog_s
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError
from petal_s3.service.service import Service

_TOLD_S = 30.0
"""How often the headline is told, where no watchdog asks for more."""
_PER_WATCHDOG = 3
"""How many signs fall into the time within which one must come."""


@contextlib.asynccontextmanager
async def supervised(
    service: Service, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[None]:
    """While the block runs, systemd is told: ready, alive, the headline; at its end: stopping.

    Alive is said by the event loop, and only while the drain is. Where systemd has not started
    this process nothing is done.
    """
    if not is_told(environ):
        yield
        return
    notify("READY=1", environ=environ)
    telling = asyncio.create_task(_tell(service, environ))
    try:
        yield
    finally:
        notify("STOPPING=1", "STATUS=Stopping.", environ=environ)
        await cancel_and_wait(telling)


async def _tell(service: Service, environ: Mapping[str, str]) -> None:
    within_s = watchdog_s(environ)
    every_s = _TOLD_S if within_s is None else min(_TOLD_S, within_s / _PER_WATCHDOG)
    told = ""
    while True:
        if within_s is not None and service.drain.is_alive:
            notify("WATCHDOG=1", environ=environ)
        said = await _headline(service, every_s)
        if said != told and notify(f"STATUS={said}", environ=environ):
            told = said
        await asyncio.sleep(every_s)


async def _headline(service: Service, within_s: float) -> str:
    """One sentence; of a disk that fails or does not answer, why there is none."""
    try:
        return (await asyncio.wait_for(service.status(), within_s)).headline
    except asyncio.TimeoutError:
        return "The status is not to be had."
    except S3IntegrationError as error:
        return error.message
