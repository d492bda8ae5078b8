"""One bucket: its objects. Uploads in parts, URLs, trials and rules are functions beside it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterator, Mapping

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.errors import NotS3, S3IntegrationError
from petal_s3.s3 import optional, reading
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, digest_of
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.rate_limit import RateLimit
from petal_s3.s3.request_body import ByteCounter, FilePart
from petal_s3.s3.responses import ObjectInfo, Page, confirmed, gone, status, text
from petal_s3.s3.s3_settings import S3Settings, s3_settings
from petal_s3.s3.server import Server
from petal_s3.s3.server_time import ServerClock


class S3:
    """One bucket. Every operation raises our errors only, and checks every answer."""

    def __init__(
        self,
        settings: S3Settings,
        tokens: TokenService | None,
        *,
        server_clock: ServerClock | None = None,
        now: Clock = clock.now,
    ) -> None:
        self.bucket = settings.bucket
        self.endpoint_url = settings.endpoint_url
        self.clock = server_clock if server_clock is not None else ServerClock()
        self.limit = RateLimit(settings.max_rate)
        self.sent = ByteCounter()
        """The bytes of file parts that were sent."""
        self.server = Server(settings, tokens, self.clock, now)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        tokens: TokenService | None,
        *,
        connections: int,
        server_clock: ServerClock | None = None,
        now: Clock = clock.now,
    ) -> S3:
        """The bucket that ``settings`` name; at most so many ``connections`` at once."""
        chosen = s3_settings(settings, connections=connections)
        return cls(chosen, tokens, server_clock=server_clock, now=now)

    async def open(self) -> None:
        """Make the client, once: no network, but some 100 ms of work on the loop."""
        await self.server.calls.connection.open()

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self.server.calls.close()

    def apart(self, capabilities: Capabilities) -> S3:
        """The same bucket on the same connections; what is learnt there is known there alone."""
        other = copy.copy(self)
        other.server = copy.copy(self.server)
        other.server.capabilities = capabilities
        return other

    @property
    def round_trip_s(self) -> float | None:
        """The shortest round trip to S3 on a connection that is open; none where unknown."""
        return self.server.calls.connection.sockets.round_trip_s()

    @property
    def capabilities(self) -> Capabilities:
        """What is known of the server."""
        return self.server.capabilities

    def learn(self, feature: Feature, *, offered: bool, by: str) -> None:
        """Remember what an answer has shown; ``by`` is that answer, in a sentence."""
        self.server.learn(feature, offered=offered, by=by)

    # -- reading

    async def head(self, key: str) -> ObjectInfo | None:
        """What S3 knows of ``key``; none when there is no such object."""
        return await reading.head(self.server, key)

    async def find(self, key: str) -> ObjectInfo | None:
        """What a listing says of ``key``: size, ETag and date; none when it names none."""
        return await reading.find(self.server, key)

    async def page(
        self, prefix: str, *, limit: int = reading.PAGE, token: str | None = None
    ) -> Page:
        """One page of the objects below ``prefix``, at most 1,000."""
        return await reading.page(self.server, prefix, limit=limit, token=token)

    def read(
        self, key: str, *, first: int | None = None, last: int | None = None, etag: str = ""
    ) -> contextlib.AbstractAsyncContextManager[tuple[ObjectInfo, AsyncIterator[bytes]]]:
        """Stream an object, or its bytes ``first``..``last`` (both included).

        ``etag``: only of the version that has it; raises ``Conflict`` where that is no more.
        """
        return reading.read(self.server, key, first=first, last=last, etag=etag)

    # -- writing

    def file_part(self, fd: int, offset: int, digest: Digest) -> FilePart:
        """The body of a request: the bytes at ``offset`` of an open file that ``digest`` is of."""
        return FilePart(
            fd, offset, digest, limit=self.limit, counter=self.sent, now=self.server.calls.now
        )

    async def put(
        self,
        key: str,
        part: FilePart,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        replace: bool = False,
        refusal: S3IntegrationError | None = None,
    ) -> str:
        """Store a whole object in one request; return the ETag that S3 confirmed.

        Raises ``Conflict`` when the key is taken.

        ``replace``: what stands there is our own, and wrong. Only the options that the server is
        not known to lack are sent; where one is refused, that is raised: the body has travelled.
        ``refusal``: it was refused so before; none is sent that the server is not known to offer.
        """
        params = {
            "Key": key,
            "Body": part,
            "ContentLength": part.size,
            "ContentType": content_type,
            "Metadata": dict(metadata),
            "ChecksumCRC32": part.digest.crc32_base64,
            **self.server.encryption,
            **({} if replace else optional.IF_ABSENT),
        }
        answer = await optional.call_with_body(self.server, "put_object", params, part, refusal)
        self.server.learn_encryption(answer)
        digest = await self.server.compared_by(answer, part)
        return confirmed(answer, digest, self.capabilities, "md5_etags")

    async def put_bytes(
        self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Store a few bytes that are in memory; raises ``Conflict`` when the key is taken."""
        digest = digest_of(body)
        params = {
            "Key": key,
            "Body": body,
            "ContentType": content_type,
            "Metadata": dict(metadata),
            "ChecksumCRC32": digest.crc32_base64,
            **self.server.encryption,
            **optional.IF_ABSENT,
        }
        answer = await optional.call(self.server, "put_object", params)
        self.server.learn_encryption(answer)
        confirmed(answer, digest, self.capabilities, "md5_etags")

    async def copy(self, source: ObjectInfo, target: str, more: Mapping[str, str]) -> None:
        """Copy an object inside the bucket with ``more`` metadata; at most 5 GB.

        Raises ``Conflict`` when the target is taken, on servers that know how to tell.
        """
        params = {
            "Key": target,
            "CopySource": {"Bucket": self.bucket, "Key": source.key},
            "CopySourceIfMatch": f'"{source.etag}"',
            "MetadataDirective": "REPLACE",
            "Metadata": {**source.metadata, **more},
            "ContentType": source.content_type or "application/octet-stream",
            **self.server.encryption,
            **optional.IF_ABSENT,
        }
        answer = await optional.call(self.server, "copy_object", params, slow=True)
        text(answer.get("CopyObjectResult") or {}, "ETag")

    async def delete(self, key: str, *, if_there: bool = False, version: str = "") -> str:
        """Delete an object; one that is not there is fine.

        ``if_there``: raises for one that is not, on servers that know how to tell; a bucket that
        keeps versions then keeps no marker of it. ``version``: this one alone, and no marker.
        Returns the version that came of it, in a bucket that keeps them.
        """
        more = {"IfMatch": "*"} if if_there else {}
        more |= {"VersionId": version} if version else {}
        answer = await self.server.call("delete_object", {"Key": key, **more})
        if not gone(answer) and await self.head(key) is not None:
            raise NotS3(
                f"The object {key} was answered to be deleted (HTTP {status(answer)}), and it is"
                " still there."
            )
        if self.capabilities.lacks("deletion"):  # it was not permitted once
            self.learn("deletion", offered=True, by="DeleteObject was accepted")
        return str(answer.get("VersionId") or "")
