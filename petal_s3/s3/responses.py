"""The values of S3's answers, and checks that only an answer of S3 passes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from petal_s3.errors import BadInput, Mismatch, NotS3, S3BucketError
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, etag_parts
from petal_s3.s3.shapes import Answer

_ENCRYPTION_HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True)
class ObjectInfo:
    """What S3 says about an object; ``crc32`` only when it covers the whole object.

    ``size``: bytes of the object, or of the range that was asked for; then ``whole_size`` is
    that of the object.
    """

    key: str
    size: int
    etag: str
    crc32: str = ""
    content_type: str = ""
    last_modified: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    encryption: str = ""
    whole_size: int = 0
    storage_class: str = "STANDARD"
    version: str = ""
    listed: bool = False  # told by a listing, which leaves out most of it

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
    stored_at: datetime | None = None


@dataclass(frozen=True)
class OpenUpload:
    """A multipart upload that is neither complete nor aborted; ``begun_at`` by S3's clock."""

    key: str
    upload_id: str
    begun_at: datetime | None


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


def encryption_headers(parameters: Mapping[str, str]) -> dict[str, str]:
    """What :func:`encryption` asks for, as headers of a request that is made elsewhere."""
    return {_ENCRYPTION_HEADERS[name]: value for name, value in parameters.items()}


def listed(part: HeldPart, *, checksummed: bool) -> dict[str, object]:
    """A part as CompleteMultipartUpload names it."""
    named: dict[str, object] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if checksummed:
        named["ChecksumCRC32"] = part.crc32
    return named


def confirmed(answer: Answer, digest: Digest, capabilities: Capabilities, etags: Feature) -> str:
    """Return the ETag of bytes that S3 says it has; raises :class:`Mismatch`.

    Its ETag or checksum must be ours, where either is known to tell of the bytes. An ETag of the
    server's own making says nothing: then the whole object is proven in the end. ``etags``: those
    of parts, or of whole objects. A digest without an md5 is of bytes whose CRC32 this server
    checks: it must be :func:`echoed`.
    """
    etag = text(answer, "ETag").strip('"')
    told_crc32 = answer.get("ChecksumCRC32")
    if told_crc32 and told_crc32 != digest.crc32_base64:
        raise _other_bytes(f"CRC32 {told_crc32}", digest.crc32_base64)
    if told_crc32 and not digest.md5:
        return etag
    encrypted = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    if etag == digest.etag or (encrypted and told_crc32):
        return etag
    if encrypted or capabilities.lacks(etags):
        return etag
    if etag_parts(etag) is None and not capabilities.offers(etags):
        return etag
    raise _other_bytes(f"ETag {etag}", digest.etag)


def echoed(answer: Answer) -> bool:
    """Whether S3 repeats the checksum of the body that it has taken."""
    return bool(answer.get("ChecksumCRC32"))


def _other_bytes(told: str, sent: str) -> Mismatch:
    return Mismatch(f"S3 confirmed {told}, and {sent} was sent; it is sent again.")


def status(answer: Answer) -> int:
    """The HTTP status of an answer; 0 when it has none."""
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def gone(answer: Answer) -> bool:
    """Whether S3 says that it removed an object: its request id tells it from a portal."""
    return status(answer) == 204 and bool(answer["ResponseMetadata"].get("RequestId"))


def body_sizes(answer: Answer, first: int | None, last: int | None) -> tuple[int, int]:
    """The bytes that follow, and those of the whole object, 0 where that is not told.

    Raises :class:`NotS3` unless they are those that were asked for.
    """
    size = number(answer, "ContentLength")
    told = _RANGE.fullmatch(str(answer.get("ContentRange") or ""))
    if not first and last is None and status(answer) == 200:
        return size, size
    # Some servers (rclone 1.75) give the range that was asked for, and call it 200.
    if first is not None and status(answer) in {200, 206} and told is not None:
        begins, ends = int(told[1]), int(told[2])
        if begins == first and ends - begins + 1 == size and (last is None or ends <= last):
            return size, 0 if told[3] == "*" else int(told[3])
    raise NotS3("The answer to a range read is not the range that was asked for.")


# The longest life of a version 4 signature: S3 User Guide, "Presigned URL expiration".
LONGEST_URL_S = 7 * 86_400


def url_life_s(hours: float) -> int:
    """Whole seconds that a URL may live; raises :class:`BadInput`."""
    if not hours > 0:  # nor is NaN
        raise BadInput("A URL lives for at least one second.")
    return int(min(hours * 3600, LONGEST_URL_S))


@dataclass(frozen=True)
class Presigned:
    """A URL that opens one object for ``expires_s`` seconds, with ``headers`` that must be sent."""

    url: str
    method: str
    expires_s: int
    headers: Mapping[str, str] = field(default_factory=dict)


def storage_class(answer: Answer) -> str:
    """How S3 stores an object; it leaves out the usual way."""
    return str(answer.get("StorageClass") or "STANDARD")


def about(answer: Answer, asked: Mapping[str, str], signs: Sequence[str] = ()) -> None:
    """Check that an answer is about what was ``asked``; raises :class:`NotS3`.

    What it repeats of the question must be the same, and something of it must be there: some
    servers leave one or the other out. ``signs`` are names that only such an answer has.
    """
    for name, value in asked.items():
        if answer.get(name) not in {None, "", value}:
            raise NotS3(f"The answer is about another {name} than was asked for.")
    if not any(answer.get(name) is not None for name in (*asked, *signs)):
        raise NotS3(f"The answer lacks {' and '.join(asked)}, which S3 repeats in each.")


def text(answer: Answer, name: str) -> str:
    """A text that S3 never leaves out; raises :class:`NotS3` where it is missing."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise NotS3(f"The answer lacks {name}, which S3 never leaves out.")
    return value


def number(answer: Answer, name: str) -> int:
    """A number that S3 never leaves out; raises :class:`NotS3` where it is missing."""
    value = answer.get(name)
    if not isinstance(value, int):
        raise NotS3(f"The answer lacks {name}, which S3 never leaves out.")
    return value


def withheld(error: S3BucketError) -> bool:
    """Whether S3 only withholds this one operation: no permission, or not on this server."""
    return error.code in {"forbidden", "not_implemented"}
