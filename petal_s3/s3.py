"""The wire: one guarded S3 client, whose every answer is checked before it is believed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiobotocore.credentials import AioCredentialResolver, AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.handlers import add_expect_header

from .checksums import Digest, crc32_base64
from .credentials import Credentials, TokenService
from .errors import (
    ClockSkew,
    Mismatch,
    NotS3,
    Offline,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
)
from .refusals import translate
from .wire import RateLimit, ServerClock, Window, client_config, register_signer

log = logging.getLogger("petal_s3")
# At DEBUG these print session tokens; the host sets levels from its environment.
for _chatty in ("botocore", "aiobotocore", "urllib3"):
    logging.getLogger(_chatty).setLevel(logging.INFO)

_T = TypeVar("_T")
_CLOCK_LIMIT_S = 14 * 60.0
_FRESH_S = 60.0
_DRAIN_S = (
    120.0  # what stands in the send buffer of a slow link after the last byte was handed over
)
_PROBE_S = 3.0
_PAGE = 1000


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


class _Tokens(AioCredentials):
    """Hands the token service's credentials to the signer, at each request anew."""

    def __init__(self, tokens: TokenService) -> None:
        super().__init__("unused", "unused", "unused", method="petal-token-service")
        self._tokens = tokens

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
        held = await self._tokens.get()
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key, held.session_token)


class _Provider:
    METHOD = "petal-token-service"
    CANONICAL_NAME = None

    def __init__(self, tokens: TokenService) -> None:
        self._tokens = tokens

    async def load(self) -> _Tokens:
        return _Tokens(self._tokens)


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
    ) -> None:
        self.bucket = bucket
        self.endpoint_url = endpoint_url
        self.clock = server_clock if server_clock is not None else ServerClock()
        self.limit = RateLimit(max_rate)
        self._region = region
        self._tokens = tokens
        self._sse = _encryption(sse)
        self._timeout_s = timeout_s
        self._connections = connections
        self._ignore_dates = ignore_dates
        self._stack = contextlib.AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._peer: tuple[str, int] | None = None
        self._conditional = True
        self._refreshed_at = -_FRESH_S

    @property
    def signs_bodies(self) -> bool:
        """Whether bodies need a SHA-256 in their signature: over plain http they do."""
        return (self.endpoint_url or "https").startswith("http:")

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            await self._stack.aclose()

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
            size=_number(answer, "ContentLength"),
            etag=_text(answer, "ETag").strip('"'),
            crc32="" if composite else crc32,
            content_type=str(answer.get("ContentType") or ""),
            last_modified=answer.get("LastModified"),
            metadata=answer.get("Metadata") or {},
            encryption=str(answer.get("ServerSideEncryption") or ""),
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
        found = [
            ObjectInfo(
                key=_text(item, "Key"),
                size=int(item.get("Size", 0)),
                etag=str(item.get("ETag", "")).strip('"'),
                last_modified=item.get("LastModified"),
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
        _confirmed(answer, digest)

    async def copy(self, source: ObjectInfo, target: str, more: Mapping[str, str]) -> None:
        """Copy an object inside the bucket with ``more`` metadata; at most 5 GB."""
        answer = await self._call(
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
        _text(answer.get("CopyObjectResult") or {}, "ETag")

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        answer = await self._call("delete_object", {"Key": key})
        # S3 says 204; anybody says 200, so then we look.
        if _status(answer) != 204 and await self.head(key) is not None:
            raise NotS3("The answer to a deletion is not one of S3.")

    @contextlib.asynccontextmanager
    async def read(
        self, key: str, *, first: int | None = None, last: int | None = None
    ) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
        """Stream an object, or its bytes ``first``..``last`` (both included)."""
        ranged = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        answer = await self._call("get_object", {"Key": key, **ranged})
        body = answer["Body"]
        async with body:  # from here on: a stranger's answer, too, must give its connection back
            info = ObjectInfo(
                key=key,
                size=_number(answer, "ContentLength"),
                etag=_text(answer, "ETag").strip('"'),
                content_type=str(answer.get("ContentType") or ""),
                last_modified=answer.get("LastModified"),
                metadata=answer.get("Metadata") or {},
            )
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
        return _text(answer, "UploadId")

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
        return HeldPart(number, digest.size, _confirmed(answer, digest), digest.crc32_base64)

    async def parts(self, key: str, upload_id: str) -> list[HeldPart]:
        """The parts that S3 holds, in order; raises ``UploadGone``."""
        held: list[HeldPart] = []
        marker = 0
        while True:
            answer = await self._call(
                "list_parts", {"Key": key, "UploadId": upload_id, "PartNumberMarker": marker}
            )
            self._same(answer, "Bucket", self.bucket)
            self._same(answer, "UploadId", upload_id)
            held += [
                HeldPart(
                    _number(part, "PartNumber"),
                    _number(part, "Size"),
                    _text(part, "ETag").strip('"'),
                    str(part.get("ChecksumCRC32") or ""),
                )
                for part in answer.get("Parts", [])
            ]
            if not answer.get("IsTruncated"):
                return held
            following = _number(answer, "NextPartNumberMarker")
            if following <= marker:
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
    ) -> None:
        """Join the parts. Its answer is no proof (it may be empty or lost): ask ``head``."""
        checks: dict[str, Any] = {}
        if crc32 is not None:
            checks = {
                "ChecksumCRC32": crc32_base64(crc32),
                "ChecksumType": "FULL_OBJECT",
                "MpuObjectSize": size,
            }
        listed = [_listed(part, checksummed=crc32 is not None) for part in parts]
        await self._call_if_absent(
            "complete_multipart_upload",
            {
                "Key": key,
                "UploadId": upload_id,
                "MultipartUpload": {"Parts": listed},
                **checks,
            },
            slow=True,
        )

    async def abort(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; one that is gone already is fine."""
        try:
            answer = await self._call("abort_multipart_upload", {"Key": key, "UploadId": upload_id})
            if _status(answer) == 204:
                return
            await self.parts(key, upload_id)
        except S3IntegrationError as error:
            if error.code in {"upload_gone", "not_found"}:
                return
            raise
        raise NotS3("The answer to an abort is not one of S3.")

    async def uploads(self, key: str) -> list[str]:
        """Ids of the open multipart uploads of exactly ``key``; empty where that is forbidden."""
        try:
            answer = await self._call("list_multipart_uploads", {"Prefix": key})
        except S3BucketError:
            return []  # AWS cannot limit this permission to a prefix: nothing may depend on it
        self._same(answer, "Bucket", self.bucket)
        return [
            _text(upload, "UploadId")
            for upload in answer.get("Uploads", [])
            if upload.get("Key") == key
        ]

    async def presign(self, key: str, expires_s: int) -> str:
        """A URL to read ``key``; it ends with the session token that signs it."""
        client = await self.open()
        with self._errors():
            url: str = await client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_s
            )
        return url

    # -- the link

    def peer(self) -> tuple[str, int] | None:
        """Host and port that connections go to (a proxy, where one is set); none before opening."""
        return self._peer

    async def open(self) -> Any:
        """Make the client, once: no network, but some 100 ms of work on the loop."""
        if self._client is not None:
            return self._client
        async with self._opening:
            if self._client is None:
                with self._errors():
                    self._client = await self._connect()
                self._peer = _peer_of(self._client.meta.endpoint_url)
        return self._client

    async def _connect(self) -> Any:
        session = AioSession()
        if self._tokens is not None:
            session.register_component(
                "credential_provider",
                AioCredentialResolver([_Provider(self._tokens)]),  # type: ignore[list-item]
            )
        client = await self._stack.enter_async_context(
            session.create_client(
                "s3",
                region_name=self._region,
                endpoint_url=self.endpoint_url,
                config=client_config(
                    connections=self._connections, ignore_dates=self._ignore_dates
                ),
            )
        )
        signer = register_signer(self.clock, f"petal-s3v4-{uuid.uuid4().hex}")
        events = client.meta.events
        events.register_first("choose-signer.s3", lambda **_: signer)
        events.register("response-received.s3", self._received)
        # A peer that never says "100 Continue" would hold an upload for ever.
        events.unregister("before-call.s3", add_expect_header)
        return client

    def _received(self, response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
        date = (response_dict or {}).get("headers", {}).get("date")
        if date:
            self.clock.learn(date)

    async def _call_if_absent(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        window: Window | None = None,
        slow: bool = False,
    ) -> dict[str, Any]:
        """Call so that S3 refuses to overwrite, where it knows how to (some servers do not)."""
        if self._conditional:
            try:
                return await self._call(
                    operation, {**params, "IfNoneMatch": "*"}, window=window, slow=slow
                )
            except S3BucketError as error:
                if error.code != "not_implemented":
                    raise
            if window is not None:
                window.seek(0)
            answer = await self._call(operation, params, window=window, slow=slow)
            self._conditional = False
            return answer
        return await self._call(operation, params, window=window, slow=slow)

    async def _call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        window: Window | None = None,
        slow: bool = False,
    ) -> dict[str, Any]:
        """Make one call; once more at once with new credentials or the server's time."""
        for again in (True, False):
            held = await self._tokens.get() if self._tokens is not None else None
            offset_s = self.clock.offset_s or 0.0
            try:
                return await self._try(operation, window, slow=slow, params=params)
            except (S3CredentialsError, S3BucketError, ClockSkew) as error:
                # Whatever it was called: when our time moved meanwhile, the signature was wrong.
                moved_s = abs((self.clock.offset_s or 0.0) - offset_s)
                if not again or not (moved_s > _CLOCK_LIMIT_S or self._worth_another(error, held)):
                    raise
                log.info("s3 call repeated operation=%s reason=%s", operation, error.code)
            if window is not None:
                window.seek(0)
        raise AssertionError("unreachable")

    def _worth_another(self, error: S3IntegrationError, held: Credentials | None) -> bool:
        if isinstance(error, ClockSkew) or self._tokens is None or held is None:
            return False
        if isinstance(error, S3BucketError):
            # An expired token may look like a missing permission; but ask for a new one rarely.
            now = time.monotonic()
            if error.code != "forbidden" or now - self._refreshed_at < _FRESH_S:
                return False
            self._refreshed_at = now
        self._tokens.invalidate(held.generation)
        return True

    async def _try(
        self, operation: str, window: Window | None, *, slow: bool, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        client = await self.open()
        with self._errors():
            call = getattr(client, operation)(Bucket=self.bucket, **params)
            if window is not None:
                answer = await _watched(call, window, self._timeout_s)
            else:
                deadline = self._timeout_s * (10 if slow else 1)
                answer = await asyncio.wait_for(call, deadline)
        return dict(answer)

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except asyncio.CancelledError:
            raise
        except Exception as error:
            translated = translate(error, peer=self._peer)
            if translated is error:
                raise
            raise translated from error

    def _same(self, answer: Mapping[str, Any], name: str, expected: str) -> None:
        if answer.get(name) != expected:
            raise NotS3(
                f"The answer is not about what was asked ({name}): it is not from S3; "
                "the network may need a login."
            )


async def _watched(call: Awaitable[_T], window: Window, timeout_s: float) -> _T:
    """Await an upload as long as its body moves; a stalled one is ended.

    No timeout of botocore or aiohttp covers a peer that stops reading in the middle of a body.
    """
    task = asyncio.ensure_future(call)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.5)
            allowed = timeout_s if window.position < window.size else timeout_s + _DRAIN_S
            if not task.done() and time.monotonic() - window.moved_at > allowed:
                raise Offline(f"The upload stalled after {window.farthest} of {window.size} bytes.")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def reachable(peer: tuple[str, int], timeout_s: float = _PROBE_S) -> bool:
    """Whether a bare TCP connection to ``(host, port)`` can be made."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*peer), timeout_s)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _peer_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = str(parts.hostname)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        host = str(parts.hostname)
    return host, parts.port or (443 if parts.scheme == "https" else 80)


def _encryption(sse: str) -> dict[str, str]:
    if sse == "none":
        return {}
    if sse.startswith("aws:kms:"):
        key_id = sse.removeprefix("aws:kms:")
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id}
    return {"ServerSideEncryption": sse}


def _listed(part: HeldPart, *, checksummed: bool) -> dict[str, Any]:
    listed: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if checksummed:
        listed["ChecksumCRC32"] = part.crc32
    return listed


def _confirmed(answer: Mapping[str, Any], digest: Digest) -> str:
    """Return the ETag when it, or under SSE-KMS the checksum, says that our bytes arrived."""
    etag = _text(answer, "ETag").strip('"')
    told_crc32 = answer.get("ChecksumCRC32")
    if told_crc32 and told_crc32 != digest.crc32_base64:
        raise Mismatch("S3 confirmed other bytes than were sent; they are sent again.")
    if etag == digest.etag:
        return etag
    if str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") and told_crc32:
        return etag
    raise Mismatch("S3 confirmed other bytes than were sent; they are sent again.")


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise NotS3(f"The answer lacks {name}: it is not from S3; the network may need a login.")
    return value


def _number(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int):
        raise NotS3(f"The answer lacks {name}: it is not from S3; the network may need a login.")
    return value
