"""Decide whether an object holds certain bytes; no other module decides that.

What S3 says of an object counts as far as this server was seen to mean it: an ETag where its ETags
are md5, a checksum where it refuses false ones. What is left open is answered by reading back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from petal_s3.s3.capabilities import Capabilities
from petal_s3.s3.checksums import Digest, crc32_base64, etag_parts
from petal_s3.s3.responses import HeldPart, ObjectInfo

READ_BACK = "read-back"


class Expected(Protocol):
    """The bytes that an object is compared with."""

    size: int

    async def crc32(self) -> str | None:
        """The CRC32 of all of them as S3 writes it; none where it is not known."""

    async def etag(self, part_size: int | None) -> str | None:
        """The ETag of these bytes as one object, or in parts of so many bytes; none: not known."""


@dataclass(frozen=True)
class Judgement:
    """``proof``: by what the object is proven equal; empty when it is not.

    ``differs``: it holds other bytes for certain. Neither: what S3 says does not tell.
    """

    proof: str = ""
    differs: bool = False


UNKNOWN = Judgement()
DIFFERENT = Judgement(differs=True)


async def judge(
    info: ObjectInfo, expected: Expected, capabilities: Capabilities, *, own: bool = True
) -> Judgement:
    """Compare what S3 says of an object with the bytes that it should hold.

    ``own``: it stands at the key of these bytes; under another key a checksum alone is no proof.
    Proofs, the strongest first: ``crc32+etag``, ``etag``, ``crc32``.
    """
    if info.size != expected.size:
        return DIFFERENT
    crc32 = await expected.crc32() if info.crc32 else None
    same_crc32 = None if not info.crc32 or crc32 is None else info.crc32 == crc32
    same_etag = await _same_etag(info, expected)
    if same_etag:
        if same_crc32 is False:
            return UNKNOWN  # it says both: only the bytes can tell
        return Judgement("crc32+etag" if same_crc32 else "etag")
    if same_crc32 and own and _checks(info, capabilities):
        return Judgement("crc32")
    if same_crc32 is False and _checks(info, capabilities):
        return DIFFERENT
    if same_etag is False and same_crc32 is None and _tells_bytes(info, capabilities):
        return DIFFERENT
    return UNKNOWN


async def _same_etag(info: ObjectInfo, expected: Expected) -> bool | None:
    """Whether the ETag is that of the bytes; none where it cannot be known."""
    parts = etag_parts(info.etag)
    if parts is None or info.encryption.startswith("aws:kms"):
        return None
    if parts:
        if info.part_size is None or -(-info.size // info.part_size) != parts:
            return None
        etag = await expected.etag(info.part_size)
        return None if etag is None else etag == info.etag
    etag = await expected.etag(None)
    if etag is None or etag == info.etag or info.part_size is None:
        return None if etag is None else etag == info.etag
    return None  # it came in parts: some servers then have an ETag of their own making


def _checks(info: ObjectInfo, capabilities: Capabilities) -> bool:
    """Whether the checksum is the server's own: seen to be so, or under SSE-KMS of AWS's kind."""
    if capabilities.lacks("checked_checksums"):
        return False
    return capabilities.offers("checked_checksums") or info.encryption.startswith("aws:kms")


def _tells_bytes(info: ObjectInfo, capabilities: Capabilities) -> bool:
    """Whether another ETag means other bytes."""
    return capabilities.offers("joined_etags" if etag_parts(info.etag) else "md5_etags")


def part_differs(part: HeldPart, whole: Digest, capabilities: Capabilities) -> bool:
    """Whether a part that S3 holds is known to hold other bytes than ``whole``.

    Where the server's ETags say nothing and it tells no checksum, that stays open: the object is
    proven as a whole in the end.
    """
    if part.size != whole.size:
        return True
    if part.etag == whole.etag or part.crc32 == whole.crc32_base64:
        return False
    if part.crc32:
        return True
    return etag_parts(part.etag) is not None and not capabilities.lacks("md5_etags")


@dataclass(frozen=True)
class FromDigests:
    """The bytes of an upload, of which the digests of all parts are known."""

    size: int
    whole_crc32: int
    etags: dict[int | None, str]

    async def crc32(self) -> str | None:
        """The combined CRC32."""
        return crc32_base64(self.whole_crc32)

    async def etag(self, part_size: int | None) -> str | None:
        """That of the parts that were sent; others are not known."""
        return self.etags.get(part_size)


@dataclass(frozen=True)
class FromObject:
    """The bytes of another object, as far as S3 tells of them."""

    info: ObjectInfo

    @property
    def size(self) -> int:  # type: ignore[override]
        """That of the object."""
        return self.info.size

    async def crc32(self) -> str | None:
        """Its CRC32, where it has one."""
        return self.info.crc32 or None

    async def etag(self, part_size: int | None) -> str | None:
        """Its ETag, where it was made for this part size."""
        parts = etag_parts(self.info.etag)
        own = self.info.part_size if parts else None
        return self.info.etag if parts is not None and own == part_size else None
