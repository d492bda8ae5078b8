"""Sign URLs that open one object for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from petal_s3.core.kinds import Way
from petal_s3.s3.responses import Presigned
from petal_s3.service.views.objects import PresignView, presign_view

if TYPE_CHECKING:
    from petal_s3.service.service import Service


async def presign(
    service: Service, key: str, expires_s: int, *, method: str = "GET", received_by: Way = ""
) -> PresignView:
    """A URL for one object, with the moment until which it really lives.

    ``received_by``: what an object that is added by it says of how it came in.
    """
    made = await service.objects.presign(key, expires_s, method=method, received_by=received_by)
    return presign_view(service.objects.own(key), made, ends_at(service, made))


def ends_at(service: Service, made: Presigned) -> str:
    """Until when a URL that was made now lives, by S3's clock, as ISO 8601."""
    until = service.s3.clock.utcnow() + timedelta(seconds=made.expires_s)
    return until.isoformat(timespec="seconds")
