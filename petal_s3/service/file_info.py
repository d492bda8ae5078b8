"""One object of the bucket, as programs of this machine see it; and whether there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any

from petal_s3.errors import BadInput, NotAllowed, S3FileNotFoundError
from petal_s3.objects.objects import Objects
from petal_s3.s3.responses import ObjectInfo


@dataclass(frozen=True)
class S3FileInfo(Mapping[str, Any]):
    """One object; ``size`` in bytes, ``last_modified`` in UTC by S3's clock.

    ``file_name`` is the last part of the key; of the logs of a session the name that the file had.
    Its fields are also the entries of a mapping: ``info["key"]``, ``dict(info)``.
    """

    key: str
    size: int
    last_modified: datetime | None
    etag: str
    storage_class: str
    file_name: str = ""

    def __post_init__(self) -> None:
        if not self.file_name:
            object.__setattr__(self, "file_name", self.key.rpartition("/")[2])

    def __getitem__(self, name: str) -> Any:
        if name not in _FIELDS:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)


_FIELDS = tuple(field.name for field in fields(S3FileInfo))


def file_info(found: ObjectInfo, file_name: str = "") -> S3FileInfo:
    """What S3 answered about an object, without what only an upload needs."""
    moment = found.last_modified
    return S3FileInfo(
        found.key,
        found.size,
        moment.astimezone(timezone.utc) if moment else None,
        found.etag,
        found.storage_class,
        file_name,
    )


async def exists(objects: Objects, key: str) -> bool:
    """Whether there is such an object of this machine; raises when S3 cannot be asked.

    Of a key of another machine, or one that can be none, it is false without asking S3. Raises
    :class:`BadInput` for what is not even text.
    """
    if not isinstance(key, str):
        raise BadInput("A key is text.")
    try:
        key = objects.own(key)
    except (NotAllowed, BadInput):
        return False
    try:
        await objects.head(key)
    except S3FileNotFoundError:
        return False
    return True
