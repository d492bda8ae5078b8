"""Read from the bucket: what S3 says of objects, and their bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from petal_s3.errors import (
    BadInput,
    Conflict,
    NotS3,
    Offline,
    Refused,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
    Transient,
)
from petal_s3.s3.options import may_be_refusal, offered, without
from petal_s3.s3.responses import ObjectInfo, Page, about, body_sizes, storage_class, text
from petal_s3.s3.server import Server
from petal_s3.s3.shapes import Answer, Params

PAGE = 1000  # the most that S3 lists at once
_BLOCK_BYTES = 256 * 1024


class _Stream(Protocol):
    async def read(self, size: int) -> bytes: ...


async def head(server: Server, key: str) -> ObjectInfo | None:
    """What S3 knows of ``key``; none when there is no such object."""
    asked = {"Key": key}
    if not server.capabilities.lacks("told_checksums"):
        asked["ChecksumMode"] = "ENABLED"
    try:
        answer = await server.call("head_object", asked)
    except S3FileNotFoundError:
        return None
    except S3IntegrationError as error:
        if error.told is None or error.told.code:
            raise
        return await _head_otherwise(server, key, error)
    return await _headed(server, key, answer)


async def _head_otherwise(
    server: Server, key: str, refusal: S3IntegrationError
) -> ObjectInfo | None:
    """The answer to a HEAD has no body: leave out its option, then ask a listing, which has one."""
    assert refusal.told is not None
    if refusal.told.status in {400, 405, 501} and not server.capabilities.lacks("told_checksums"):
        with contextlib.suppress(S3BucketError, Refused, Transient):
            answer = await _head_plain(server, key)
            server.learn("told_checksums", offered=False, by=str(refusal.told))
            return None if answer is None else await _headed(server, key, answer)
    found = await find(server, key)  # raises what is really the matter, if that lasts
    if refusal.told.status == 403 and found is None:
        # Without s3:ListBucket a missing key is "forbidden" too.
        return None
    try:
        answer = await _head_plain(server, key)
    except S3BucketError:
        return found
    if refusal.told.status == 403:
        server.learn("told_checksums", offered=False, by=str(refusal.told))
    return None if answer is None else await _headed(server, key, answer)


async def _head_plain(server: Server, key: str) -> Answer | None:
    try:
        return await server.call("head_object", {"Key": key})
    except S3FileNotFoundError:
        return None


async def _headed(server: Server, key: str, answer: Answer) -> ObjectInfo | None:
    crc32 = str(answer.get("ChecksumCRC32") or "")
    composite = answer.get("ChecksumType") == "COMPOSITE" or "-" in crc32
    size = answer.get("ContentLength")
    if not isinstance(size, int):  # a proxy on the way has taken it out
        listed = await find(server, key)
        if listed is None:
            return None
        size = listed.size
    return ObjectInfo(
        key=key,
        size=size,
        etag=text(answer, "ETag").strip('"'),
        crc32="" if composite else crc32,
        content_type=str(answer.get("ContentType") or ""),
        last_modified=answer.get("LastModified"),
        metadata=answer.get("Metadata") or {},
        encryption=str(answer.get("ServerSideEncryption") or ""),
        storage_class=storage_class(answer),
        version=str(answer.get("VersionId") or ""),
    )


async def find(server: Server, key: str) -> ObjectInfo | None:
    """What a listing says of ``key``: size, ETag and date; none when it names none."""
    listed = await page(server, key, limit=1)
    return next((found for found in listed.objects if found.key == key), None)


async def page(server: Server, prefix: str, *, limit: int = PAGE, token: str | None = None) -> Page:
    """One page of the objects below ``prefix``, at most 1,000."""
    params: dict[str, object] = {"Prefix": prefix, "MaxKeys": max(1, min(limit, PAGE))}
    if token:
        params["ContinuationToken"] = token
    answer = await server.call("list_objects_v2", params)
    about(answer, {"Name": server.bucket}, ("Prefix", "KeyCount", "MaxKeys", "IsTruncated"))
    if answer.get("Prefix"):  # a listing of another one could be empty
        about(answer, {"Prefix": prefix})
    found = [
        ObjectInfo(
            key=text(item, "Key"),
            size=int(item.get("Size", 0)),
            etag=str(item.get("ETag", "")).strip('"'),
            last_modified=item.get("LastModified"),
            storage_class=storage_class(item),
            listed=True,
        )
        for item in answer.get("Contents", [])
    ]
    if any(not item.key.startswith(prefix) for item in found):
        raise NotS3("A listing holds keys that were not asked for.")
    following = answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
    return Page(found, following)


async def _got(server: Server, asked: Params) -> Answer:
    """A GET, without its condition where the server refuses that: then the ETag is compared."""
    asked = offered("get_object", asked, server.capabilities)
    try:
        return await server.call("get_object", asked)
    except S3IntegrationError as error:
        conditional = "IfMatch" in asked and not isinstance(error, Conflict)
        if not conditional or not may_be_refusal(error):
            raise
        refusal = error
    answer = await server.call("get_object", without("get_object", asked, "read_condition"))
    server.learn("read_condition", offered=False, by=str(refusal.told))
    return answer


@contextlib.asynccontextmanager
async def read(
    server: Server, key: str, *, first: int | None = None, last: int | None = None, etag: str = ""
) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
    """Stream an object, or its bytes ``first``..``last`` (both included).

    ``etag``: only of the version that has it; raises ``Conflict`` where that is no more.
    """
    asked = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
    if etag:
        asked["IfMatch"] = f'"{etag}"'
    try:
        answer = await _got(server, {"Key": key, **asked})
    except BadInput as error:
        raise BadInput(error.message, code=error.code, status=416) from error
    body = answer["Body"]
    async with body:  # whatever the answer is, its connection is given back
        size, whole_size = body_sizes(answer, first, last)
        info = ObjectInfo(
            key=key,
            size=size,
            whole_size=whole_size,
            etag=text(answer, "ETag").strip('"'),
            content_type=str(answer.get("ContentType") or ""),
            last_modified=answer.get("LastModified"),
            metadata=answer.get("Metadata") or {},
        )
        if etag and info.etag != etag:  # some servers ignore the condition
            raise Conflict("The object was replaced meanwhile.", code="changed")
        yield info, _blocks(server, body, info.size)


async def _blocks(server: Server, body: _Stream, size: int) -> AsyncIterator[bytes]:
    done = 0
    while done < size:
        with server.calls.errors():
            block: bytes = await asyncio.wait_for(body.read(_BLOCK_BYTES), server.calls.timeout_s)
        if not block:
            raise Offline(f"The download was cut after {done} of {size} bytes.")
        done += len(block)
        yield block
