"""Delete what was only handed over by key and left there; a lifecycle rule may be faster."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from petal_s3.errors import S3BucketError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3.client import S3
from petal_s3.s3.responses import withheld
from petal_s3.s3.server_time import ServerClock

log = logging.getLogger("petal_s3")

_MOST_PAGES = 100


async def delete_expired(s3: S3, ownership: KeyOwnership, age_s: float) -> None:
    """Delete this machine's temporary objects that are older than ``age_s`` by S3's clock.

    Where S3 does not allow it they stay. Raises what the link raises.
    """
    try:
        for folder in ownership.temporary_folders:
            await _delete_expired_below(s3, ownership, folder, age_s)
    except S3BucketError as error:
        if not withheld(error):
            raise
        log.warning("temporary objects stay reason=%s", error.message)


async def _delete_expired_below(s3: S3, ownership: KeyOwnership, folder: str, age_s: float) -> None:
    token: str | None = None
    for _ in range(_MOST_PAGES):
        page = await s3.page(folder, token=token)
        for item in page.objects:
            if ownership.owns(item.key) and is_older(s3.clock, item.last_modified, age_s):
                await s3.delete(item.key)
                log.info("temporary object deleted key=%s", item.key)
        token = page.next_token
        if token is None:
            return


def is_older(server_clock: ServerClock, moment: datetime | None, age_s: float) -> bool:
    """Whether ``moment`` is at least ``age_s`` ago by S3's clock; false where that is unknown.

    The device's own date may be years ahead, and so may that of one odd answer.
    """
    now = server_clock.agreed_s
    if moment is None or now is None:
        return False
    told = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return now - told.timestamp() >= age_s
