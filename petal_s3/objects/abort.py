"""Abort multipart uploads that are of no use any more, where nothing depends on it."""

from __future__ import annotations

import logging

from petal_s3.errors import S3IntegrationError
from petal_s3.outbox import queries
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart
from petal_s3.s3.client import S3

log = logging.getLogger("petal_s3")


async def abort_quietly(s3: S3, key: str, upload_id: str) -> None:
    """Abort one upload; a failure is only logged, and the upload is found later as an orphan."""
    try:
        await multipart.abort(s3, key, upload_id)
    except S3IntegrationError as error:
        log.warning("abort given up key=%s reason=%s", key, error.message)


async def abort_unowned(s3: S3, outbox: OutboxThread, key: str) -> None:
    """Abort the uploads at ``key`` that belong to no row; a failure is only logged."""
    try:
        owned = await outbox(queries.upload_ids)
        for upload_id in await multipart.uploads(s3, key):
            if upload_id not in owned:
                await multipart.abort(s3, key, upload_id)
    except S3IntegrationError as error:
        log.warning("abort given up key=%s reason=%s", key, error.message)
