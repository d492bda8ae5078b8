"""Abort the multipart upload of a row that has no use for it any more."""

from __future__ import annotations

import logging

from petal_s3.errors import S3BucketError, S3IntegrationError
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart
from petal_s3.s3.client import S3

log = logging.getLogger("petal_s3")

_PATIENT_TRIES = 3  # failures in a row after which a log no longer waits for an abort


async def abandon(s3: S3, outbox: OutboxThread, row: Row) -> None:
    """Abort the multipart upload of a row that gives it up; raises what the link raises."""
    try:
        for upload_id in await _uploads_of(s3, outbox, row):
            await multipart.abort(s3, row.key, upload_id)
    except S3BucketError as error:
        if error.code != "forbidden":
            raise
        # A lifecycle rule collects it; a log must not wait for a permission to tidy up.
        log.warning("abort refused key=%s reason=%s", row.key, error.message)


async def abandon_patiently(s3: S3, outbox: OutboxThread, row: Row) -> None:
    """As :func:`abandon`, but after several failures of the row it goes on without."""
    try:
        await abandon(s3, outbox, row)
    except S3IntegrationError as error:
        if row.failures < _PATIENT_TRIES:
            raise
        log.warning("abort given up key=%s reason=%s", row.key, error.message)


async def _uploads_of(s3: S3, outbox: OutboxThread, row: Row) -> list[str]:
    """Usually one; where the answer that told its id was lost, S3 is asked."""
    if row.upload_id is not None:
        return [row.upload_id]
    if row.part_size is None or row.size <= row.part_size:
        return []
    others = {other.upload_id for other in await outbox(queries.at_key, row.key)}
    return [found for found in await multipart.uploads(s3, row.key) if found not in others]
