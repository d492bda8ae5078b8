"""The names that the logs of a session had before they became keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import unquote

from petal_s3.errors import S3IntegrationError
from petal_s3.objects.user_metadata import ORIGINAL_NAME
from petal_s3.outbox import queries
from petal_s3.s3.responses import ObjectInfo
from petal_s3.service import sessions
from petal_s3.service.file_info import S3FileInfo, file_info
from petal_s3.service.service import Service

_AT_ONCE = 4


async def original_names(
    service: Service, session_id: str, found: Sequence[ObjectInfo]
) -> list[str]:
    """The name of each object's file, in the order of ``found``.

    It is in the outbox, else in the object's metadata, for which S3 is asked once each; where
    neither tells it, it is the last part of the key.
    """
    known: dict[str, str] = {}
    if service.outbox.is_open:
        rows = await service.outbox(queries.of_session, session_id)
        known = {row.key: row.name for row in rows}
    few = asyncio.Semaphore(_AT_ONCE)

    async def name(key: str) -> str:
        if key in known:
            return known[key]
        async with few:
            return await _in_metadata(service, key) or key.rpartition("/")[2]

    return list(await asyncio.gather(*(name(one.key) for one in found)))


async def logs_of(service: Service, session_id: str) -> tuple[list[S3FileInfo], int]:
    """The logs of a session that are in the bucket, and how many in the outbox are not yet.

    Raises as :func:`~petal_s3.service.sessions.list_logs`.
    """
    found = await sessions.list_logs(service, session_id)
    waiting = await sessions.waiting(service, session_id)
    names = await original_names(service, session_id, found)
    return [*map(file_info, found, names)], len(waiting)


async def _in_metadata(service: Service, key: str) -> str:
    try:
        info = await service.objects.head(key)
    except S3IntegrationError:  # the listing is good all the same
        return ""
    return unquote(info.metadata.get(ORIGINAL_NAME, ""), errors="replace")
