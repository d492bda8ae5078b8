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
    Transient,
)
from petal_s3.s3.calls import Caller
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, crc32_base64, digest_of
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.error_mapping import TABLE
from petal_s3.s3.http_session import RateLimit, ServerClock, Window
from petal_s3.s3.options import carried, is_vague, may_be_refusal, to_drop, without
from petal_s3.s3.responses import (
    HeldPart,
    ObjectInfo,
    OpenUpload,
    Page,
    Presigned,
    aborts_stale_uploads,
    about,
    bears,
    confirmed,
    encryption,
    encryption_headers,
    gone,
    listed,
    number,
    status,
    storage_class,
    text,
)

_PAGE = 1000
_PARTS_PAGE = 250  # some 60 kB: within the deadline also at 64 kbit/s
_UPLOADS_PAGE = 100  # likewise; each of them names who began it
_MOST_PAGES = 100
_MOST_PARTS = 10_000
_NOWHERE = "petal-s3-address-style/"
_IF_ABSENT = {"IfNoneMatch": "*"}
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
        self._errors = self._caller.errors
        # With an address of our own, botocore's "auto" is the path.
        self._may_change_style = address_style == "auto" and endpoint_url is not None
        self.capabilities = Capabilities()
        """What is known of the server; whoever drains keeps it in the outbox."""

    def learn(self, feature: Feature, *, offered: bool, by: str) -> None:
        """Take in what an answer has shown; ``by`` is that answer, in a sentence."""
        at = int(self.clock.utcnow().timestamp())
        self.capabilities = self.capabilities.with_(feature, offered=offered, at=at, by=by)

    def adopt(self, capabilities: Capabilities) -> None:
        """Take in what was known of the server before."""
        self.capabilities = capabilities
        if self._may_change_style and capabilities.lacks("path_addresses"):
            self.use_style("virtual")

    async def _call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        window: Window | None = None,
        slow: bool = False,
    ) -> dict[str, Any]:
        """Make a call; a server that wants the bucket in its host name is asked so from then on."""
        try:
            return await self._caller.call(operation, params, window=window, slow=slow)
        except S3IntegrationError as error:
            if not await self._is_of_the_address(error):
                raise
        if window is not None:
            window.seek(0)
        return await self._caller.call(operation, params, window=window, slow=slow)

    async def _is_of_the_address(self, refusal: S3IntegrationError) -> bool:
        """Whether the other address style is answered well, once no answer of this one was."""
        told = refusal.told
        named = refusal.code == "address_style"
        # A code that is known means what it says.
        unsure = told is not None and bool(told.code) and told.code not in TABLE
        unsure = unsure and told is not None and told.status in {400, 403} and not self.answered
        if not self._may_change_style or not (named or unsure):
            return False
        self._may_change_style = False  # tried once
        self.use_style("virtual")
        try:
            await self._caller.call("list_objects_v2", {"MaxKeys": 1, "Prefix": _NOWHERE})
        except S3IntegrationError:
            self.use_style("auto")
            self._may_change_style = named  # its name may not be known here for now
            return False
        self.learn("path_addresses", offered=False, by=str(told))
        return True

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
        asked: dict[str, Any] = {"Key": key}
        if not self.capabilities.lacks("told_checksums"):
            asked["ChecksumMode"] = "ENABLED"
        try:
            answer = await self._call("head_object", asked)
        except S3FileNotFoundError:
            return None
        except S3IntegrationError as error:
            if error.told is None or error.told.code:
                raise
            return await self._head_otherwise(key, error)
        return await self._headed(key, answer)

    async def _head_otherwise(self, key: str, refusal: S3IntegrationError) -> ObjectInfo | None:
        """A HEAD has no words: leave out its option, then ask what has words."""
        assert refusal.told is not None
        if refusal.told.status in {400, 405, 501} and not self.capabilities.lacks("told_checksums"):
            with contextlib.suppress(S3BucketError, Refused, Transient):
                answer = await self._head_plain(key)
                self.learn("told_checksums", offered=False, by=str(refusal.told))
                return None if answer is None else await self._headed(key, answer)
        found = await self.find(key)  # raises what is really the matter, if that lasts
        if refusal.told.status == 403 and found is None:
            # Without s3:ListBucket a missing key is "forbidden" too.
            return None
        try:
            answer = await self._head_plain(key)
        except S3BucketError:
            return found
        if refusal.told.status == 403:
            self.learn("told_checksums", offered=False, by=str(refusal.told))
        return None if answer is None else await self._headed(key, answer)

    async def _head_plain(self, key: str) -> dict[str, Any] | None:
        try:
            return await self._call("head_object", {"Key": key})
        except S3FileNotFoundError:
            return None

    async def _headed(self, key: str, answer: Mapping[str, Any]) -> ObjectInfo | None:
        crc32 = str(answer.get("ChecksumCRC32") or "")
        composite = answer.get("ChecksumType") == "COMPOSITE" or "-" in crc32
        size = answer.get("ContentLength")
        if not isinstance(size, int):  # a proxy on the way has taken it out
            listed = await self.find(key)
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

    async def find(self, key: str) -> ObjectInfo | None:
        """What a listing says of ``key``: size, ETag and date; none when it names none."""
        page = await self.page(key, limit=1)
        return next((found for found in page.objects if found.key == key), None)

    async def page(self, prefix: str, *, limit: int = _PAGE, token: str | None = None) -> Page:
        """One page of the objects below ``prefix``, at most 1,000."""
        params = {"Prefix": prefix, "MaxKeys": max(1, min(limit, _PAGE))}
        if token:
            params["ContinuationToken"] = token
        answer = await self._call("list_objects_v2", params)
        about(answer, {"Name": self.bucket}, ("Prefix", "KeyCount", "MaxKeys", "IsTruncated"))
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

    async def put(  # noqa: PLR0913 - what is stored, and how
        self,
        key: str,
        window: Window,
        digest: Digest,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        replace: bool = False,
        refusal: S3IntegrationError | None = None,
    ) -> None:
        """Store a whole object in one request; raises ``Conflict`` when the key is taken.

        ``replace``: what stands there is our own, and wrong. Only the options that the server is
        not known to lack are sent; where one is refused, that is raised: the body has travelled.
        ``refusal``: it was refused so before; none is sent that the server is not known to offer.
        """
        params = {
            "Key": key,
            "Body": window,
            "ContentLength": window.size,
            "ContentType": content_type,
            "Metadata": dict(metadata),
            "ChecksumCRC32": digest.crc32_base64,
            **self._sse,
            **({} if replace else _IF_ABSENT),
        }
        answer = await self._with_body("put_object", params, window, refusal)
        self._encrypted(answer)
        confirmed(answer, digest, self.capabilities, "md5_etags")

    async def put_bytes(
        self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Store a few bytes that are in memory; raises ``Conflict`` when the key is taken."""
        digest = digest_of(body)
        answer = await self._optional(
            "put_object",
            {
                "Key": key,
                "Body": body,
                "ContentType": content_type,
                "Metadata": dict(metadata),
                "ChecksumCRC32": digest.crc32_base64,
                **self._sse,
                **_IF_ABSENT,
            },
        )
        self._encrypted(answer)
        confirmed(answer, digest, self.capabilities, "md5_etags")

    async def copy(self, source: ObjectInfo, target: str, more: Mapping[str, str]) -> None:
        """Copy an object inside the bucket with ``more`` metadata; at most 5 GB.

        Raises ``Conflict`` when the target is taken, on servers that know how to tell.
        """
        answer = await self._optional(
            "copy_object",
            {
                "Key": target,
                "CopySource": {"Bucket": self.bucket, "Key": source.key},
                "CopySourceIfMatch": f'"{source.etag}"',
                "MetadataDirective": "REPLACE",
                "Metadata": {**source.metadata, **more},
                "ContentType": source.content_type or "application/octet-stream",
                **self._sse,
                **_IF_ABSENT,
            },
            slow=True,
        )
        text(answer.get("CopyObjectResult") or {}, "ETag")

    # -- options

    def _offered(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` without the options that the server is known to lack; encryption stays."""
        lacked = [
            feature
            for feature in carried(operation, params)
            if feature != "encryption" and self.capabilities.lacks(feature)
        ]
        return without(operation, params, *lacked)

    def unsure_of(self, *features: Feature) -> bool:
        """Whether the server was seen neither to offer nor to lack one of ``features``."""
        return any(one not in self.capabilities.known for one in features)

    async def _with_body(
        self,
        operation: str,
        params: Mapping[str, Any],
        window: Window,
        refusal: S3IntegrationError | None,
    ) -> dict[str, Any]:
        params = self._offered(operation, params)
        dropped: list[Feature] = []
        if refusal is not None:
            options = (one for one in carried(operation, params) if one != "encryption")
            dropped = [one for one in options if not self.capabilities.offers(one)]
            if not dropped:
                raise refusal  # the same request would travel again
        answer = await self._call(operation, without(operation, params, *dropped), window=window)
        for feature in dropped:
            self.learn(feature, offered=False, by=str(refusal and refusal.told))
        return answer

    async def _optional(
        self, operation: str, params: Mapping[str, Any], *, slow: bool = False
    ) -> dict[str, Any]:
        """Call with the options that the server is not known to lack, and learn from a refusal.

        Where the same request is taken without an option, the server lacks it.
        """
        params = self._offered(operation, params)
        try:
            return await self._call(operation, params, slow=slow)
        except S3IntegrationError as error:
            if not await self._says_no_to_options(error, params):
                raise
            refusal = error
        if is_vague(refusal):
            with contextlib.suppress(S3IntegrationError):
                return await self._call(operation, params, slow=slow)
        return await self._with_fewer(operation, params, refusal, slow=slow)

    async def _with_fewer(
        self, operation: str, params: Mapping[str, Any], refusal: S3IntegrationError, *, slow: bool
    ) -> dict[str, Any]:
        for dropped in to_drop(operation, params):
            if self._must_stay(dropped, refusal):
                continue
            fewer = without(operation, params, *dropped)
            try:
                answer = await self._call(operation, fewer, slow=slow)
            except S3IntegrationError as error:
                if not await self._says_no_to_options(error, params):
                    raise  # a condition that is kept tells of an object that came meanwhile
                continue
            for feature in dropped:
                self.learn(feature, offered=False, by=str(refusal.told))
            return answer
        raise refusal

    async def _says_no_to_options(
        self, error: S3IntegrationError, params: Mapping[str, Any]
    ) -> bool:
        if not may_be_refusal(error):
            return False
        if not isinstance(error, Conflict):
            return True
        # Some servers refuse each condition, as if something stood there; others show it late.
        if self.capabilities.lacks("prompt_reads") or await self.head(params["Key"]) is not None:
            return False
        with contextlib.suppress(S3BucketError):  # a listing may be withheld
            return await self.find(params["Key"]) is None
        return True

    def _must_stay(self, dropped: Sequence[Feature], refusal: S3IntegrationError) -> bool:
        """What a server was seen to do is not left out because it is in trouble; a condition that
        it was seen to keep is not left out for anything but its own refusal."""
        kept = [feature for feature in dropped if self.capabilities.offers(feature)]
        conditions = [feature for feature in kept if feature.endswith("_condition")]
        return bool(conditions if not is_vague(refusal) else kept)

    def _encrypted(self, answer: Mapping[str, Any]) -> None:
        if self._sse and answer.get("ServerSideEncryption"):
            self.learn("encryption", offered=True, by="an answer named the encryption")

    @property
    def encrypts(self) -> bool:
        """Whether objects are to be encrypted by the server (PETAL_S3_SSE)."""
        return bool(self._sse)

    async def delete(self, key: str, *, if_there: bool = False, version: str = "") -> str:
        """Delete an object; one that is not there is fine.

        ``if_there``: raises for one that is not, on servers that know how to tell; a bucket that
        keeps versions then keeps no marker of it. ``version``: this one alone, and no marker.
        Returns the version that came of it, in a bucket that keeps them.
        """
        more = {"IfMatch": "*"} if if_there else {}
        more |= {"VersionId": version} if version else {}
        answer = await self._call("delete_object", {"Key": key, **more})
        if not gone(answer) and await self.head(key) is not None:
            raise NotS3(
                f"{key} was answered to be deleted (HTTP {status(answer)}), and it is still there."
            )
        return str(answer.get("VersionId") or "")

    async def _got(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A GET, without its condition where the server refuses that: the ETag is compared."""
        asked = self._offered("get_object", asked)
        try:
            return await self._call("get_object", asked)
        except S3IntegrationError as error:
            conditional = "IfMatch" in asked and not isinstance(error, Conflict)
            if not conditional or not may_be_refusal(error):
                raise
            refusal = error
        answer = await self._call("get_object", without("get_object", asked, "read_condition"))
        self.learn("read_condition", offered=False, by=str(refusal.told))
        return answer

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
            answer = await self._got({"Key": key, **asked})
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

    async def begin(
        self, key: str, *, content_type: str, metadata: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Begin a multipart upload with a CRC32 over the full object where the server knows that.

        Its id, and whether the server does.
        """
        answer = await self._optional(
            "create_multipart_upload",
            {
                "Key": key,
                "ContentType": content_type,
                "Metadata": dict(metadata),
                "ChecksumAlgorithm": "CRC32",
                "ChecksumType": "FULL_OBJECT",
                **self._sse,
            },
        )
        about(answer, {"Bucket": self.bucket, "Key": key}, ("UploadId",))
        self._encrypted(answer)
        return text(answer, "UploadId"), not self.capabilities.lacks("full_checksums")

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
            number,
            last - first + 1,
            text(told, "ETag").strip('"'),
            str(told.get("ChecksumCRC32") or ""),
        )

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        window: Window,
        digest: Digest,
        *,
        refusal: S3IntegrationError | None = None,
    ) -> HeldPart:
        """Send one part; returns only when S3 has confirmed these very bytes.

        ``refusal`` as in :meth:`put`.
        """
        params = {
            "Key": key,
            "UploadId": upload_id,
            "PartNumber": number,
            "Body": window,
            "ContentLength": window.size,
            "ChecksumCRC32": digest.crc32_base64,
        }
        answer = await self._with_body("upload_part", params, window, refusal)
        etag = confirmed(answer, digest, self.capabilities, "part_etags")
        return HeldPart(number, digest.size, etag, digest.crc32_base64)

    async def parts(self, key: str, upload_id: str) -> list[HeldPart]:
        """The parts that S3 holds, in order; raises ``UploadGone``."""
        held: list[HeldPart] = []
        marker = 0
        asked = {"Key": key, "UploadId": upload_id, "MaxParts": _PARTS_PAGE}
        while True:
            answer = await self._call("list_parts", {**asked, "PartNumberMarker": marker})
            asked_about = {"Bucket": self.bucket, "Key": key, "UploadId": upload_id}
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
        self,
        key: str,
        upload_id: str,
        parts: Sequence[HeldPart],
        *,
        crc32: int | None,
        size: int,
        checksummed: bool = False,
        replace: bool = False,
    ) -> None:
        """Join the parts. Its answer is no proof (it may be empty or lost): ask ``head``.

        ``crc32``: of the whole, where we know it; ``checksummed``: name those of the parts.
        ``replace``: what stands there is our own, and wrong. Raises ``Conflict`` when the key is
        taken.
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
        await self._optional(
            "complete_multipart_upload",
            {
                "Key": key,
                "UploadId": upload_id,
                "MultipartUpload": {"Parts": chosen},
                **checks,
                **({} if replace else _IF_ABSENT),
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
            if error.code in {"upload_gone", "not_found", "not_implemented"}:
                return
            raise
        raise NotS3(f"The upload of {key} was answered to be aborted, and it is still there.")

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
        # Some servers (nanio 0.1) list all uploads, whatever prefix is asked for.
        return [one for one in await self._open_uploads(prefix) if one.key.startswith(prefix)]

    async def _open_uploads(self, prefix: str) -> list[OpenUpload]:
        found: dict[tuple[str, str], OpenUpload] = {}
        asked = {"Prefix": prefix, "MaxUploads": _UPLOADS_PAGE}
        marker: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            try:
                answer = await self._call("list_multipart_uploads", {**asked, **marker})
            except S3FileNotFoundError as error:
                if error.code != "no_uploads":
                    raise
                return list(found.values())
            about(answer, {"Bucket": self.bucket}, ("IsTruncated", "MaxUploads", "Prefix"))
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

    # -- trials: a byte each, at a key where nothing is kept

    async def try_begin(self, key: str, *, encrypted: bool) -> str:
        """Begin a multipart upload, with or without encryption; its id."""
        asked = self._sse if encrypted else {}
        return text(await self._call("create_multipart_upload", {"Key": key, **asked}), "UploadId")

    async def try_put(self, key: str, body: bytes, *, taken: bool = False) -> str:
        """Store a few bytes with every option; the ETag. Raises ``Conflict`` when it is taken.

        ``taken``: something stands there, whether S3 shows it yet or not.
        """
        params = {
            "Key": key,
            "Body": body,
            "ChecksumCRC32": digest_of(body).crc32_base64,
            **self._sse,
            **_IF_ABSENT,
        }
        if taken:
            answer = await self._call("put_object", self._offered("put_object", params))
        else:
            answer = await self._optional("put_object", params)
        self._encrypted(answer)
        return text(answer, "ETag").strip('"')

    async def try_part(self, key: str, upload_id: str, body: bytes, crc32: int) -> HeldPart:
        """Send a few bytes as part 1 with a checksum, which may be false; what S3 says of it."""
        params = {"Key": key, "UploadId": upload_id, "PartNumber": 1, "Body": body}
        answer = await self._optional(
            "upload_part", {**params, "ChecksumCRC32": crc32_base64(crc32)}
        )
        return HeldPart(1, len(body), text(answer, "ETag").strip('"'), crc32_base64(crc32))

    async def try_false_part(self, key: str, upload_id: str, body: bytes) -> None:
        """Send a few bytes with a checksum that is not theirs; raises what S3 says to that."""
        params = {"Key": key, "UploadId": upload_id, "PartNumber": 1, "Body": body}
        false = crc32_base64(digest_of(body).crc32 ^ 1)
        await self._call("upload_part", {**params, "ChecksumCRC32": false})

    # -- the bucket

    async def stale_upload_rule(self, prefix: str) -> bool | None:
        """Whether a rule of the bucket aborts stale multipart uploads below ``prefix``.

        None where S3 does not say: no permission, or a server without such rules.
        """
        try:
            answer = await self._call("get_bucket_lifecycle_configuration", {})
        except S3FileNotFoundError as error:
            return False if error.code == "no_lifecycle" else None
        except (Refused, NotS3):
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
        self,
        key: str,
        expires_s: int,
        *,
        size: int | None = None,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Presigned:
        """A URL to write ``key`` where nothing stands there yet, encrypted as all is.

        ``size``: the URL takes bodies of so many bytes alone. Its ``headers`` must be sent along.
        """
        # Whoever has the URL may add a log, and may not touch one that is there.
        params: dict[str, Any] = {"Key": key, "IfNoneMatch": "*", **self._sse}
        headers = {"If-None-Match": "*", **encryption_headers(self._sse)}
        if self.capabilities.lacks("put_condition"):
            del params["IfNoneMatch"], headers["If-None-Match"]
        if size is not None:
            params["ContentLength"] = size  # every client sends it by itself
        if content_type:
            params["ContentType"] = headers["Content-Type"] = content_type
        if metadata:
            params["Metadata"] = dict(metadata)
            headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        return await self._signed("put_object", "PUT", params, headers, expires_s)

    async def _signed(
        self,
        operation: str,
        method: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        expires_s: int,
    ) -> Presigned:
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


def withheld(error: S3BucketError) -> bool:
    """Whether S3 only withholds this one operation: no permission, or not on this server."""
    return error.code in {"forbidden", "not_implemented"}
