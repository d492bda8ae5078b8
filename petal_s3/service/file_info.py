"""One object of the bucket, as programs of this machine see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from petal_s3.s3.responses import ObjectInfo


@dataclass(frozen=True)
class S3FileInfo:
    """One object; ``size`` in bytes, ``last_modified`` in UTC by S3's clock."""

    key: str
    size: int
    last_modified: datetime | None
    etag: str
    storage_class: str


def file_info(found: ObjectInfo) -> S3FileInfo:
    """What S3 answered about an object, without what only an upload needs."""
    moment = found.last_modified
    return S3FileInfo(
        found.key,
        found.size,
        moment.astimezone(timezone.utc) if moment else None,
        found.etag,
        found.storage_class,
    )
