"""What S3 says: the values of its answers, and the checks that only S3 can pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .checksums import Digest
from .errors import Mismatch, NotS3


@dataclass(frozen=True)
class ObjectInfo:
    """What S3 says about an object; ``crc32`` only when it covers the whole object."""

    key: str
    size: int
    etag: str
    crc32: str = ""
    content_type: str = ""
    last_modified: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    encryption: str = ""

    @property
    def part_size(self) -> int | None:
        """The part size its uploader wrote down; none when it was no multipart upload."""
        text = self.metadata.get("part-size", "")
        return int(text) if text.isdigit() and int(text) > 0 else None


@dataclass(frozen=True)
class HeldPart:
    """A part that S3 holds; ``crc32`` is empty where the server keeps none."""

    number: int
    size: int
    etag: str
    crc32: str = ""


@dataclass(frozen=True)
class Page:
    """One page of a listing; ``next_token`` is none after the last."""

    objects: Sequence[ObjectInfo]
    next_token: str | None


def encryption(sse: str) -> dict[str, str]:
    """The parameters that ask for an encryption as PETAL_S3_SSE writes it."""
    if sse == "none":
        return {}
    if sse.startswith("aws:kms:"):
        key_id = sse.removeprefix("aws:kms:")
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id}
    return {"ServerSideEncryption": sse}


def listed(part: HeldPart, *, checksummed: bool) -> dict[str, Any]:
    """A part as CompleteMultipartUpload names it."""
    named: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if checksummed:
        named["ChecksumCRC32"] = part.crc32
    return named


def confirmed(answer: Mapping[str, Any], digest: Digest) -> str:
    """Return the ETag when it, or under SSE-KMS the checksum, says that our bytes arrived."""
    etag = text(answer, "ETag").strip('"')
    told_crc32 = answer.get("ChecksumCRC32")
    if told_crc32 and told_crc32 != digest.crc32_base64:
        raise Mismatch("S3 confirmed other bytes than were sent; they are sent again.")
    if etag == digest.etag:
        return etag
    if str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") and told_crc32:
        return etag
    raise Mismatch("S3 confirmed other bytes than were sent; they are sent again.")


def status(answer: Mapping[str, Any]) -> int:
    """The HTTP status of an answer; 0 when it has none."""
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def text(answer: Mapping[str, Any], name: str) -> str:
    """A text that S3 never leaves out; raises :class:`NotS3` where it is missing."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise NotS3(f"The answer lacks {name}: it is not from S3; the network may need a login.")
    return value


def number(answer: Mapping[str, Any], name: str) -> int:
    """A number that S3 never leaves out; raises :class:`NotS3` where it is missing."""
    value = answer.get(name)
    if not isinstance(value, int):
        raise NotS3(f"The answer lacks {name}: it is not from S3; the network may need a login.")
    return value
