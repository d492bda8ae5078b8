"""The wire: the operations on one bucket, whose every answer is checked before it is believed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import AddressStyle
from petal_s3.errors import (
    BadInput,
    Conflict,
    NotS3,
    Offline,
    Refused,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.s3.calls import Caller
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, crc32_base64, digest_of
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.http_session import RateLimit, ServerClock, Window
from petal_s3.s3.responses import (
    HeldPart,
    ObjectInfo,
    OpenUpload,
    Page,
    Presigned,
    aborts_stale_uploads,
    bears,
    confirmed,
    encryption,
    encryption_headers,
    gone,
    listed,
    number,
    storage_class,
    text,
)

_PAGE = 1000
_PARTS_PAGE = 250  # some 60 kB: within the deadline also at 64 kbit/s
_UPLOADS_PAGE = 100  # likewise; each of them names who began it
_MOST_PAGES = 100
_MOST_PARTS = 10_000
STALL_S = 60.0


class S3:
    """One bucket. Every method raises our errors only, and never believes an empty answer."""

    def __init__(  # noqa: PLR0913 - the settings of a connection
        self,
        *,
        bucket: str,
        region: str,
        endpoint_url: str | None,
        tokens: TokenService | None,
        sse: str = "AES256",
        timeout_s: float = 30.0,
        connections: int = 8,
        max_rate: float = 0,
        ignore_dates: bool = False,
        server_clock: ServerClock | None = None,
        stall_s: float = STALL_S,
        now: Clock = clock.now,
        address_style: AddressStyle = "auto",
    ) -> None:
        """``timeout_s``: for control requests. ``stall_s``: an upload whose body has not moved
        for so long is given up; it bounds no upload that moves, however slowly.
        """
        self.bucket = bucket
        self.endpoint_url = endpoint_url
        self.clock = server_clock if server_clock is not None else ServerClock()
        self.limit = RateLimit(max_rate)
        self._sse = encryption(sse)
        self._timeout_s = timeout_s
        self._caller = Caller(
            bucket=bucket,
            region=region,
            endpoint_url=endpoint_url,
            tokens=tokens,
            timeout_s=timeout_s,
            connections=connections,
            ignore_dates=ignore_dates,
            server_clock=self.clock,
            stall_s=stall_s,
            now=now,
            address_style=address_style,
        )
        self._call = self._caller.call
        self._call_if_absent = self._caller.call_if_absent
        self._errors = self._caller.errors
        self.capabilities = Capabilities()
        """What is known of the server; whoever drains keeps it in the outbox."""

    def learn(self, feature: Feature, *, offered: bool, by: str) -> None:
        """Take in what an answer has shown; ``by`` is that answer, in a sentence."""
        at = int(self.clock.utcnow().timestamp())
        self.capabilities = self.capabilities.with_(feature, offered=offered, at=at, by=by)

    def use_style(self, style: AddressStyle) -> None:
        """Address the bucket in this way from the next call on; those under way end as begun."""
        self._caller.use_style(style)

    @property
    def answered(self) -> int:
        """How many calls S3 has answered well: it grows while the link works."""
        return self._caller.answered

    @property
    def signs_bodies(self) -> bool:
        """Whether bodies need a SHA-256 in their signature: over plain http they do."""
        return (self.endpoint_url or "https").startswith("http:")

    async def open(self) -> None:
        """Make the client, once: no network, but some 100 ms of work on the loop."""
        await self._caller.open()

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._caller.close()

    # -- objects

    async def head(self, key: str) -> ObjectInfo | None:
        """What S3 knows of ``key``; none when there is no such object."""
        try:
            answer = await self._call("head_object", {"Key": key, "ChecksumMode": "ENABLED"})
        except S3FileNotFoundError:
            return None
        except S3BucketError as error:
            # HEAD carries no code, and without s3:ListBucket a missing key is "forbidden" too.
            if error.code != "forbidden":
                raise
            return await self._find(key)
        crc32 = str(answer.get("ChecksumCRC32") or "")
        composite = answer.get("ChecksumType") == "COMPOSITE" or "-" in crc32
        return ObjectInfo(
            key=key,
            size=number(answer, "ContentLength"),
            etag=text(answer, "ETag").strip('"'),
            crc32="" if composite else crc32,
            content_type=str(answer.get("ContentType") or ""),
            last_modified=answer.get("LastModified"),
            metadata=answer.get("Metadata") or {},
            encryption=str(answer.get("ServerSideEncryption") or ""),
            storage_class=storage_class(answer),
        )

    async def _find(self, key: str) -> ObjectInfo | None:
        page = await self.page(key, limit=1)
        return next((found for found in page.objects if found.key == key), None)

    async def page(self, prefix: str, *, limit: int = _PAGE, token: str | None = None) -> Page:
        """One page of the objects below ``prefix``, at most 1,000."""
        params = {"Prefix": prefix, "MaxKeys": max(1, min(limit, _PAGE))}
        if token:
            params["ContinuationToken"] = token
        answer = await self._call("list_objects_v2", params)
        self._same(answer, "Name", self.bucket)
        if answer.get("Prefix"):  # a listing of another one could be empty
            self._same(answer, "Prefix", prefix)
        found = [
            ObjectInfo(
                key=text(item, "Key"),
                size=int(item.get("Size", 0)),
                etag=str(item.get("ETag", "")).strip('"'),
                last_modified=item.get("LastModified"),
                storage_class=storage_class(item),
            )
            for item in answer.get("Contents", [])
        ]
        if any(not item.key.startswith(prefix) for item in found):
            raise NotS3("A listing holds keys that were not asked for.")
        following = answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
        return Page(found, following)

    async def put(
        self,
        key: str,
        window: Window,
        digest: Digest,
        *,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> None:
        """Store a whole object in one request; raises ``Conflict`` when the key is taken."""
        answer = await self._call_if_absent(
            "put_object",
            {
                "Key": key,
                "Body": window,
                "ContentLength": window.size,
                "ContentType": content_type,
                "Metadata": dict(metadata),
                "ChecksumCRC32": digest.crc32_base64,
                **self._sse,
            },
            window=window,
        )
        confirmed(answer, digest)

    async def put_bytes(
        self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Store a few bytes that are in memory; raises ``Conflict`` when the key is taken."""
        digest = digest_of(body)
        answer = await self._call_if_absent(
            "put_object",
            {
                "Key": key,
                "Body": body,
                "ContentType": content_type,
                "Metadata": dict(metadata),
                "ChecksumCRC32": digest.crc32_base64,
                **self._sse,
            },
        )
        confirmed(answer, digest)

    async def copy(self, source: ObjectInfo, target: str, more: Mapping[str, str]) -> None:
        """Copy an object inside the bucket with ``more`` metadata; at most 5 GB.

        Raises ``Conflict`` when the target is taken, on servers that know how to tell.
        """
        answer = await self._call_if_absent(
            "copy_object",
            {
                "Key": target,
                "CopySource": {"Bucket": self.bucket, "Key": source.key},
                "CopySourceIfMatch": f'"{source.etag}"',
                "MetadataDirective": "REPLACE",
                "Metadata": {**source.metadata, **more},
                "ContentType": source.content_type or "application/octet-stream",
                **self._sse,
            },
            slow=True,
        )
        text(answer.get("CopyObjectResult") or {}, "ETag")

    async def delete(self, key: str, *, if_there: bool = False) -> None:
        """Delete an object; one that is not there is fine.

        ``if_there``: raises for one that is not, on servers that know how to tell; a bucket that
        keeps versions then keeps no marker of it.
        """
        condition = {"IfMatch": "*"} if if_there else {}
        answer = await self._call("delete_object", {"Key": key, **condition})
        if not gone(answer) and await self.head(key) is not None:
            raise NotS3("The answer to a deletion is not one of S3.")

    @contextlib.asynccontextmanager
    async def read(
        self, key: str, *, first: int | None = None, last: int | None = None, etag: str = ""
    ) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
        """Stream an object, or its bytes ``first``..``last`` (both included).

        ``etag``: only of the version that has it; raises ``Conflict`` where that is no more.
        """
        asked = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        if etag:
            asked["IfMatch"] = f'"{etag}"'
        try:
            answer = await self._call("get_object", {"Key": key, **asked})
        except BadInput as error:
            raise BadInput(error.message, code=error.code, status=416) from error
        body = answer["Body"]
        async with body:  # from here on: a stranger's answer, too, must give its connection back
            size, whole_size = bears(answer, first, last)
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
            yield info, self._blocks(body, info.size)

    async def _blocks(self, body: Any, size: int) -> AsyncIterator[bytes]:
        done = 0
        while done < size:
            with self._errors():
                block: bytes = await asyncio.wait_for(body.read(256 * 1024), self._timeout_s)
            if not block:
                raise Offline(f"The download was cut after {done} of {size} bytes.")
            done += len(block)
            yield block

    # -- multipart uploads

    async def create(
        self, key: str, *, content_type: str, metadata: Mapping[str, str], checksummed: bool
    ) -> str:
        """Begin a multipart upload and return its id.

        ``checksummed``: ask for a CRC32 over the full object; a server that does not know
        that refuses, and the caller asks again without.
        """
        checks = (
            {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"} if checksummed else {}
        )
        answer = await self._call(
            "create_multipart_upload",
            {
                "Key": key,
                "ContentType": content_type,
                "Metadata": dict(metadata),
                **checks,
                **self._sse,
            },
        )
        self._same(answer, "Bucket", self.bucket)
        self._same(answer, "Key", key)
        return text(answer, "UploadId")

    async def begin(
        self, key: str, *, content_type: str, metadata: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Begin a multipart upload with a CRC32 over the full object where the server knows that.

        Its id, and whether the server does.
        """
        about = {"content_type": content_type, "metadata": metadata}
        try:
            return await self.create(key, checksummed=True, **about), True  # type: ignore[arg-type]
        except (Refused, S3BucketError) as error:
            if error.code not in {"s3_refused", "not_implemented"}:
                raise
        return await self.create(key, checksummed=False, **about), False  # type: ignore[arg-type]

    async def copy_part(
        self, source: ObjectInfo, key: str, upload_id: str, number: int, first: int, last: int
    ) -> HeldPart:
        """Copy the bytes ``first``..``last`` of an object into a part of an upload."""
        answer = await self._call(
            "upload_part_copy",
            {
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
                "CopySource": {"Bucket": self.bucket, "Key": source.key},
                "CopySourceIfMatch": f'"{source.etag}"',
                "CopySourceRange": f"bytes={first}-{last}",
            },
            slow=True,
        )
        told = answer.get("CopyPartResult") or {}
        return HeldPart(
            number, last - first + 1, text(told, "ETag").strip('"'),
            str(told.get("ChecksumCRC32") or ""),
        )  # fmt: skip

    async def upload_part(
        self, key: str, upload_id: str, number: int, window: Window, digest: Digest
    ) -> HeldPart:
        """Send one part; returns only when S3 has confirmed these very bytes."""
        answer = await self._call(
            "upload_part",
            {
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
                "Body": window,
                "ContentLength": window.size,
                "ChecksumCRC32": digest.crc32_base64,
            },
            window=window,
        )
        return HeldPart(number, digest.size, confirmed(answer, digest), digest.crc32_base64)

    async def parts(self, key: str, upload_id: str) -> list[HeldPart]:
        """The parts that S3 holds, in order; raises ``UploadGone``."""
        held: list[HeldPart] = []
        marker = 0
        asked = {"Key": key, "UploadId": upload_id, "MaxParts": _PARTS_PAGE}
        while True:
            answer = await self._call("list_parts", {**asked, "PartNumberMarker": marker})
            self._same(answer, "Bucket", self.bucket)
            self._same(answer, "UploadId", upload_id)
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
                raise NotS3("A list of parts does not end.")
            marker = following

    async def complete(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[HeldPart],
        *,
        crc32: int | None,
        size: int,
        checksummed: bool = False,
    ) -> None:
        """Join the parts. Its answer is no proof (it may be empty or lost): ask ``head``.

        ``crc32``: of the whole, where we know it; ``checksummed``: name those of the parts.
        """
        checks: dict[str, Any] = {}
        if crc32 is not None:
            checks = {
                "ChecksumCRC32": crc32_base64(crc32),
                "ChecksumType": "FULL_OBJECT",
                "MpuObjectSize": size,
            }
        named = checksummed or crc32 is not None
        chosen = [listed(part, checksummed=named) for part in parts]
        await self._call_if_absent(
            "complete_multipart_upload",
            {
                "Key": key,
                "UploadId": upload_id,
                "MultipartUpload": {"Parts": chosen},
                **checks,
            },
            slow=True,
        )

    async def abort(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; one that is gone already is fine."""
        try:
            answer = await self._call("abort_multipart_upload", {"Key": key, "UploadId": upload_id})
            if gone(answer):
                return
            await self.parts(key, upload_id)
        except S3IntegrationError as error:
            if error.code in {"upload_gone", "not_found"}:
                return
            raise
        raise NotS3("The answer to an abort is not one of S3.")

    async def uploads(self, key: str) -> list[str]:
        """Ids of the open multipart uploads of exactly ``key``; empty where that is withheld."""
        try:
            found = await self._open_uploads(key)
        except S3BucketError as error:
            if not withheld(error):
                raise
            return []  # AWS cannot limit this permission to a prefix: nothing may depend on it
        return [upload.upload_id for upload in found if upload.key == key]

    async def uploads_below(self, prefix: str) -> list[OpenUpload]:
        """The open multipart uploads of all keys below ``prefix``.

        Raises :class:`S3BucketError` where that is :func:`withheld`. A server that takes a prefix
        for a whole key finds none.
        """
        found = await self._open_uploads(prefix)
        if any(not upload.key.startswith(prefix) for upload in found):
            raise NotS3("A list of multipart uploads holds keys that were not asked for.")
        return found

    async def _open_uploads(self, prefix: str) -> list[OpenUpload]:
        found: dict[tuple[str, str], OpenUpload] = {}
        asked = {"Prefix": prefix, "MaxUploads": _UPLOADS_PAGE}
        marker: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = await self._call("list_multipart_uploads", {**asked, **marker})
            self._same(answer, "Bucket", self.bucket)
            for item in answer.get("Uploads", []):
                key, upload_id = text(item, "Key"), text(item, "UploadId")
                found[key, upload_id] = OpenUpload(key, upload_id, item.get("Initiated"))
            if not answer.get("IsTruncated"):
                return list(found.values())
            before, marker = marker, {"KeyMarker": text(answer, "NextKeyMarker")}
            if answer.get("NextUploadIdMarker"):
                marker["UploadIdMarker"] = text(answer, "NextUploadIdMarker")
            if marker == before:
                break
        raise NotS3("A list of multipart uploads does not end.")

    # -- the bucket

    async def stale_upload_rule(self, prefix: str) -> bool | None:
        """Whether a rule of the bucket aborts stale multipart uploads below ``prefix``.

        None where S3 does not say: no permission, or a server without such rules.
        """
        try:
            answer = await self._call("get_bucket_lifecycle_configuration", {})
        except S3FileNotFoundError as error:
            return False if error.code == "no_lifecycle" else None
        except Refused:
            return None
        except S3BucketError as error:
            if not withheld(error):
                raise
            return None
        # S3 keeps no configuration without rules: an empty answer says nothing.
        rules = answer.get("Rules") or []
        return any(aborts_stale_uploads(rule, prefix) for rule in rules) if rules else None

    async def presign(self, key: str, expires_s: int) -> Presigned:
        """A URL to read ``key``.

        It ends with the session token that signs it, and never claims to live longer.
        """
        return await self._signed("get_object", "GET", {"Key": key}, {}, expires_s)

    async def presign_put(
        self, key: str, expires_s: int, *, size: int | None = None, content_type: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Presigned:  # fmt: skip
        """A URL to write ``key`` where nothing stands there yet, encrypted as all is.

        ``size``: the URL takes bodies of so many bytes alone. Its ``headers`` must be sent along.
        """
        # Whoever has the URL may add a log, and may not touch one that is there.
        params: dict[str, Any] = {"Key": key, "IfNoneMatch": "*", **self._sse}
        headers = {"If-None-Match": "*", **encryption_headers(self._sse)}
        if size is not None:
            params["ContentLength"] = size  # every client sends it by itself
        if content_type:
            params["ContentType"] = headers["Content-Type"] = content_type
        if metadata:
            params["Metadata"] = dict(metadata)
            headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        return await self._signed("put_object", "PUT", params, headers, expires_s)

    async def _signed(
        self, operation: str, method: str, params: Mapping[str, Any],
        headers: Mapping[str, str], expires_s: int,
    ) -> Presigned:  # fmt: skip
        if self.clock.offset_s is None:  # a URL that was signed in 1970 opens nothing
            with contextlib.suppress(S3IntegrationError):
                await self.head(params["Key"])
        expires_s = min(expires_s, await self._caller.credentials_left_s())
        client = await self._caller.open()
        with self._errors():
            url: str = await client.generate_presigned_url(
                operation, Params={"Bucket": self.bucket, **params}, ExpiresIn=expires_s
            )
        return Presigned(url, method, expires_s, headers)

    def _same(self, answer: Mapping[str, Any], name: str, expected: str) -> None:
        if answer.get(name) != expected:
            raise NotS3(
                f"The answer is not about what was asked ({name}): it is not from S3; "
                "the network may need a login."
            )


def withheld(error: S3BucketError) -> bool:
    """Whether S3 only withholds this one operation: no permission, or not on this server."""
    return error.code in {"forbidden", "not_implemented"}
