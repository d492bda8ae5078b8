"""Try what a server offers: a byte at a time, at a key where nothing is kept."""

from __future__ import annotations

from petal_s3.s3 import optional
from petal_s3.s3.checksums import crc32_base64, digest_of
from petal_s3.s3.client import S3
from petal_s3.s3.options import offered
from petal_s3.s3.responses import HeldPart, text


async def begin(s3: S3, key: str, *, encrypted: bool) -> str:
    """Begin a multipart upload, with or without encryption; its id."""
    asked = s3.server.encryption if encrypted else {}
    return text(await s3.server.call("create_multipart_upload", {"Key": key, **asked}), "UploadId")


async def put(s3: S3, key: str, body: bytes, *, taken: bool = False) -> str:
    """Store a few bytes with every option; the ETag. Raises ``Conflict`` when it is taken.

    ``taken``: something stands there, whether S3 shows it yet or not.
    """
    params = {
        "Key": key,
        "Body": body,
        "ChecksumCRC32": digest_of(body).crc32_base64,
        **s3.server.encryption,
        **optional.IF_ABSENT,
    }
    if taken:
        answer = await s3.server.call("put_object", offered("put_object", params, s3.capabilities))
    else:
        answer = await optional.call(s3.server, "put_object", params)
    s3.server.learn_encryption(answer)
    return text(answer, "ETag").strip('"')


async def send_part(s3: S3, key: str, upload_id: str, body: bytes, crc32: int) -> HeldPart:
    """Send a few bytes as part 1 with a checksum, which may be false; what S3 says of it."""
    params = {"Key": key, "UploadId": upload_id, "PartNumber": 1, "Body": body}
    answer = await optional.call(
        s3.server, "upload_part", {**params, "ChecksumCRC32": crc32_base64(crc32)}
    )
    return HeldPart(1, len(body), text(answer, "ETag").strip('"'), crc32_base64(crc32))


async def send_false_part(s3: S3, key: str, upload_id: str, body: bytes) -> None:
    """Send a few bytes with a checksum that is not theirs; raises what S3 says to that."""
    params = {"Key": key, "UploadId": upload_id, "PartNumber": 1, "Body": body}
    false = crc32_base64(digest_of(body).crc32 ^ 1)
    await s3.server.call("upload_part", {**params, "ChecksumCRC32": false})
