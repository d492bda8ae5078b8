"""The bytes that an object is compared with: those of a file, or of another object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from petal_s3.s3.checksums import etag_parts
from petal_s3.s3.responses import ObjectInfo


class Expected(Protocol):
    """The bytes that an object is compared with."""

    @property
    def size(self) -> int:
        """How many they are."""

    async def crc32(self) -> str | None:
        """The CRC32 of all of them as S3 writes it; none where it is not known."""

    async def etag(self, part_size: int | None) -> str | None:
        """The ETag of these bytes as one object, or in parts of so many bytes; none: not known."""

    def known_etag(self, part_size: int | None) -> str | None:
        """The same where it is at hand, so that no byte has to be read for it; else none."""


@dataclass(frozen=True)
class FromObject:
    """The bytes of another object, as far as S3 tells of them."""

    info: ObjectInfo

    @property
    def size(self) -> int:
        """That of the object."""
        return self.info.size

    async def crc32(self) -> str | None:
        """Its CRC32, where it has one."""
        return self.info.crc32 or None

    async def etag(self, part_size: int | None) -> str | None:
        """Its ETag, where it was made for this part size."""
        return self.known_etag(part_size)

    def known_etag(self, part_size: int | None) -> str | None:
        """The same: nothing is computed."""
        parts = etag_parts(self.info.etag)
        if parts is None or (parts and part_size is None):
            return None
        return self.info.etag if part_size == (self.info.part_size if parts else None) else None
