"""Uploads in several parts: begin, send, list, join, abort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petal_s3.errors import NotS3, S3BucketError, S3FileNotFoundError, S3IntegrationError
from petal_s3.s3 import optional
from petal_s3.s3.checksums import crc32_base64
from petal_s3.s3.client import S3
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.responses import (
    HeldPart,
    ObjectInfo,
    OpenUpload,
    about,
    confirmed,
    gone,
    listed,
    number,
    text,
    withheld,
)

PARTS_PAGE = 250  # some 60 kB: within the deadline also at 64 kbit/s
_UPLOADS_PAGE = 100  # likewise; each of them names its owner
_MOST_PAGES = 100
_MOST_PARTS = 10_000


async def begin(
    s3: S3, key: str, *, content_type: str, metadata: Mapping[str, str]
) -> tuple[str, bool]:
    """Begin a multipart upload, with a CRC32 over the full object where the server offers that.

    Returns its id, and whether the server offers it.
    """
    answer = await optional.call(
        s3.server,
        "create_multipart_upload",
        {
            "Key": key,
            "ContentType": content_type,
            "Metadata": dict(metadata),
            "ChecksumAlgorithm": "CRC32",
            "ChecksumType": "FULL_OBJECT",
            **s3.server.encryption,
        },
    )
    about(answer, {"Bucket": s3.bucket, "Key": key}, ("UploadId",))
    s3.server.learn_encryption(answer)
    return text(answer, "UploadId"), not s3.capabilities.lacks("full_checksums")


async def copy_part(
    s3: S3, source: ObjectInfo, key: str, upload_id: str, number: int, span: range
) -> HeldPart:
    """Copy the bytes ``span`` of an object into a part of an upload."""
    answer = await s3.server.call(
        "upload_part_copy",
        {
            "Key": key,
            "UploadId": upload_id,
            "PartNumber": number,
            "CopySource": {"Bucket": s3.bucket, "Key": source.key},
            "CopySourceIfMatch": f'"{source.etag}"',
            "CopySourceRange": f"bytes={span.start}-{span.stop - 1}",
        },
        slow=True,
    )
    told = answer.get("CopyPartResult") or {}
    return HeldPart(
        number,
        len(span),
        text(told, "ETag").strip('"'),
        str(told.get("ChecksumCRC32") or ""),
    )


async def upload_part(
    s3: S3,
    key: str,
    upload_id: str,
    number: int,
    part: FilePart,
    *,
    refusal: S3IntegrationError | None = None,
) -> HeldPart:
    """Send one part; returns only when S3 has confirmed these very bytes.

    ``refusal`` as in :meth:`S3.put`.
    """
    params = {
        "Key": key,
        "UploadId": upload_id,
        "PartNumber": number,
        "Body": part,
        "ContentLength": part.size,
        "ChecksumCRC32": part.digest.crc32_base64,
    }
    answer = await optional.call_with_body(s3.server, "upload_part", params, part, refusal)
    digest = await s3.server.compared_by(answer, part)
    etag = confirmed(answer, digest, s3.capabilities, "part_etags")
    return HeldPart(number, part.size, etag, part.digest.crc32_base64)


async def parts(s3: S3, key: str, upload_id: str) -> list[HeldPart]:
    """The parts that S3 holds, in order; raises ``UploadGone``."""
    held: list[HeldPart] = []
    marker = 0
    asked = {"Key": key, "UploadId": upload_id, "MaxParts": PARTS_PAGE}
    while True:
        answer = await s3.server.call("list_parts", {**asked, "PartNumberMarker": marker})
        asked_about = {"Bucket": s3.bucket, "Key": key, "UploadId": upload_id}
        about(answer, asked_about, ("IsTruncated", "MaxParts", "Parts"))
        held += [
            HeldPart(
                number(part, "PartNumber"),
                number(part, "Size"),
                text(part, "ETag").strip('"'),
                str(part.get("ChecksumCRC32") or ""),
                part.get("LastModified"),
            )
            for part in answer.get("Parts", [])
        ]
        if not answer.get("IsTruncated"):
            return held
        following = number(answer, "NextPartNumberMarker")
        if not marker < following <= _MOST_PARTS:
            raise NotS3("A list of parts does not end: its next page is no later one.")
        marker = following


async def complete(  # noqa: PLR0913 - what is joined, and how
    s3: S3,
    key: str,
    upload_id: str,
    parts: Sequence[HeldPart],
    *,
    crc32: int | None,
    size: int,
    checksummed: bool = False,
    replace: bool = False,
) -> str:
    """Join the parts; the ETag that the answer names, empty where it names none.

    That is no proof (an answer may be empty or lost): ask ``head``.
    ``crc32``: of the whole, where we know it; ``checksummed``: name those of the parts.
    ``replace``: what stands there is our own, and wrong. Raises ``Conflict`` when the key is
    taken.
    """
    checks: dict[str, object] = {}
    if crc32 is not None:
        checks = {
            "ChecksumCRC32": crc32_base64(crc32),
            "ChecksumType": "FULL_OBJECT",
            "MpuObjectSize": size,
        }
    named = checksummed or crc32 is not None
    chosen = [listed(part, checksummed=named) for part in parts]
    answer = await optional.call(
        s3.server,
        "complete_multipart_upload",
        {
            "Key": key,
            "UploadId": upload_id,
            "MultipartUpload": {"Parts": chosen},
            **checks,
            **({} if replace else optional.IF_ABSENT),
        },
        slow=True,
    )
    return str(answer.get("ETag") or "").strip('"')


async def abort(s3: S3, key: str, upload_id: str) -> None:
    """Abort a multipart upload; one that is gone already is fine."""
    try:
        answer = await s3.server.call("abort_multipart_upload", {"Key": key, "UploadId": upload_id})
        if gone(answer):
            return
        await parts(s3, key, upload_id)
    except S3IntegrationError as error:
        if error.code in {"upload_gone", "not_found", "not_implemented"}:
            return
        raise
    raise NotS3(f"The upload of {key} was answered to be aborted, and it is still there.")


async def uploads(s3: S3, key: str) -> list[str]:
    """Ids of the open multipart uploads of exactly ``key``; empty where that is withheld."""
    try:
        found = await _open_uploads(s3, key)
    except S3BucketError as error:
        if not withheld(error):
            raise
        return []  # AWS cannot limit this permission to a prefix: nothing may depend on it
    return [upload.upload_id for upload in found if upload.key == key]


async def uploads_below(s3: S3, prefix: str) -> list[OpenUpload]:
    """The open multipart uploads of all keys below ``prefix``.

    Raises :class:`S3BucketError` where that is :func:`withheld`. A server that takes a prefix
    for a whole key finds none.
    """
    # Some servers (nanio 0.1) list all uploads, whatever prefix is asked for.
    return [one for one in await _open_uploads(s3, prefix) if one.key.startswith(prefix)]


async def _open_uploads(s3: S3, prefix: str) -> list[OpenUpload]:
    found: dict[tuple[str, str], OpenUpload] = {}
    asked = {"Prefix": prefix, "MaxUploads": _UPLOADS_PAGE}
    marker: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        try:
            answer = await s3.server.call("list_multipart_uploads", {**asked, **marker})
        except S3FileNotFoundError as error:
            if error.code != "no_uploads":
                raise
            return list(found.values())
        about(answer, {"Bucket": s3.bucket}, ("IsTruncated", "MaxUploads", "Prefix"))
        for item in answer.get("Uploads", []):
            key, upload_id = text(item, "Key"), text(item, "UploadId")
            found[key, upload_id] = OpenUpload(key, upload_id, item.get("Initiated"))
        # Some (SeaweedFS 4.48) do not say where to go on: what is left comes when these are gone.
        ends = found and not answer.get("NextKeyMarker")
        if ends or not answer.get("IsTruncated"):
            return list(found.values())
        before, marker = marker, {"KeyMarker": text(answer, "NextKeyMarker")}
        if answer.get("NextUploadIdMarker"):
            marker["UploadIdMarker"] = text(answer, "NextUploadIdMarker")
        if marker == before:
            break
    raise NotS3("A list of multipart uploads does not end.")
