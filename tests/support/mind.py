"""The mind of an S3 server: one bucket, its uploads, and the rules that decide about a log."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from petal_s3.demo.tokens import secret_of
from petal_s3.s3.checksums import Digest, whole_crc32

from .personality import GOOD, Personality
from .wire import Answer, Ask, Body, refusal

MIN_PART = 5 * 1024 * 1024
_SKEW_S = 900.0
_PLAIN = "-_.~"
_SUM = "x-amz-checksum-crc32"
_SSE = "x-amz-server-side-encryption"
_SETTINGS = {"Other", "GetBucketLifecycle", "PutBucketLifecycle"}
_ENCRYPTS = {"PutObject", "CreateMultipartUpload", "CopyObject"}
_PART_SUMS = ("body-checksum", "part-checksum")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Part:
    """A part that was confirmed."""

    size: int
    md5: bytes
    crc32: int
    body: bytes = b""
    etag: str = ""
    told_crc32: bool = True


@dataclass(frozen=True)
class Thing:
    """An object. ``body`` only where bodies are kept."""

    size: int
    etag: str
    crc32: int
    told_crc32: bool
    headers: Mapping[str, str]
    modified: float
    body: bytes = b""
    composite: str = ""
    """Told in place of the CRC32 of the whole."""

    @functools.cached_property
    def sha256(self) -> str:
        """What tells one content from another, where bodies are kept."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass
class Upload:
    """A multipart upload that is open."""

    key: str
    begun: float
    headers: Mapping[str, str]
    checksummed: bool
    composite: bool = False
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(frozen=True)
class Many:
    """Objects that are only listed: ``{prefix}{number:08d}.ulg``, from 0; none of them is held."""

    prefix: str
    count: int
    size: int = 1000

    def key(self, number: int) -> str:
        return f"{self.prefix}{number:08d}.ulg"

    def page(self, prefix: str, after: str, most: int) -> tuple[list[tuple[str, int, str]], bool]:
        """Keys with sizes and ETags, and whether there are more."""
        if not self.prefix.startswith(prefix):
            return [], False
        first = int(after.removeprefix(self.prefix)[:8]) + 1 if after else 0
        end = min(self.count, first + most)
        found = [(self.key(n), self.size, f"{n:032x}") for n in range(first, end)]
        return found, end < self.count


class Refuse(Exception):
    """S3 says no."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.answer = refusal(status, code)


class Mind:
    """Answers requests on one bucket as S3 does; ``now`` is its own clock (s since 1970)."""

    def __init__(
        self,
        bucket: str,
        *,
        now: Callable[[], float],
        min_part: int = MIN_PART,
        keep: bool = False,
        accepts: Callable[[Mapping[str, str]], str] = lambda _: "",
        personality: Personality = GOOD,
    ) -> None:
        """``accepts`` looks at the headers of a request and names the error of its token."""
        self.personality = personality
        self.bucket = bucket
        self.things: dict[str, Thing] = {}
        self.uploads: dict[str, Upload] = {}
        self.forbidden: set[str] = set()
        self.exists = True
        self.quota_bytes: int | None = None
        self.lifecycle = ""
        self.keep = keep
        self.many: Many | None = None
        """Listed instead of the things, where it is set."""
        self.opaque = False
        """ETags of objects are no md5, as with SSE-KMS."""
        self._now = now
        self._min_part = min_part
        self._accepts = accepts
        self.answered = 0

    def answer(self, ask: Ask) -> Answer:
        """Do what is asked; the request's body has been read to its end."""
        try:
            found = self._done(ask)
        except Refuse as no:
            found = no.answer.but(body=b"") if ask.method == "HEAD" else no.answer
        date = datetime.fromtimestamp(self._now(), timezone.utc)
        self.answered += 1
        return found.but(
            Date=format_datetime(date, usegmt=True),
            x_amz_request_id=f"{self.answered:016X}",
            Server="AmazonS3",
        )

    def _done(self, ask: Ask) -> Answer:
        self._admit(ask)
        refused = self.personality.refuses(ask)
        if refused is not None:
            return refused.but(body=b"") if ask.method == "HEAD" else refused
        heard = self.personality.hears(ask)
        verb = getattr(self, f"_{ask.op}", None)
        if ask.op in _SETTINGS and self.personality.how("sub-resources") == "listing":
            verb = self._any_listing
        if verb is None:
            raise Refuse(501, "NotImplemented")
        found: Answer = verb(heard)
        return self.personality.tells(ask, self._confirming(heard, found))

    def _confirming(self, ask: Ask, found: Answer) -> Answer:
        """An answer that says how what was written is encrypted."""
        if found.status != 200 or ask.op not in _ENCRYPTS:
            return found
        told = {n: v for n, v in ask.headers.items() if n.startswith(_SSE)}
        return found.but(**told)

    def _any_listing(self, ask: Ask) -> Answer:
        """What a server answers that takes no notice of a sub-resource."""
        return self._ListObjectsV2(ask) if ask.method == "GET" else Answer(200)

    def _admit(self, ask: Ask) -> None:
        signed = ask.headers.get("x-amz-date", "")
        if signed and abs(_moment(signed) - self._now()) > _SKEW_S:
            raise Refuse(403, "RequestTimeTooSkewed")
        wrong = _presigned(ask, self._now()) or self._accepts(_told(ask))
        if wrong:
            raise Refuse(403 if wrong != "ExpiredToken" else 400, wrong)
        if not self.exists or ask.bucket != self.bucket:
            raise Refuse(404, "NoSuchBucket")
        if ask.op in self.forbidden or "*" in self.forbidden:
            raise Refuse(403, "AccessDenied")

    def _checked(self, ask: Ask) -> str:
        """Compare a body with the digests that came with it; return its checksum as told."""
        told, body = ask.headers.get(_SUM, ""), ask.body
        if told and told != _base64(body.crc32) and self.personality.checks(ask):
            raise Refuse(400, "BadDigest")
        md5 = ask.headers.get("content-md5", "")
        if md5 and md5 != base64.b64encode(body.md5).decode():
            raise Refuse(400, "BadDigest")
        sha256 = ask.headers.get("x-amz-content-sha256", "")
        if len(sha256) == 64 and sha256 != body.sha256:
            raise Refuse(400, "XAmzContentSHA256Mismatch")
        length = ask.headers.get("content-length")
        if length is not None and int(length) != body.size:
            raise Refuse(400, "IncompleteBody")
        if self.quota_bytes is not None:
            held = sum(thing.size for thing in self.things.values())
            if held + body.size > self.quota_bytes:
                raise Refuse(403, "QuotaExceeded")
        return told

    # -- objects

    def _PutObject(self, ask: Ask) -> Answer:  # noqa: N802 - the names of S3
        told = self._checked(ask)
        self._absent(ask)
        self.things[ask.key] = Thing(
            ask.body.size,
            self._etag(ask.body.md5.hex()),
            _crc32(told, ask.body),
            bool(told),
            _about(ask.headers),
            self._now(),
            bytes(ask.body.kept) if self.keep else b"",
        )
        more = {_SUM: told} if told else {}
        more |= _encrypted(ask.headers)
        return Answer(200, b"", {"ETag": f'"{self.things[ask.key].etag}"', **more})

    def _etag(self, etag: str) -> str:
        """What S3 tells instead of an ETag that is an md5."""
        if self.opaque:
            return hashlib.md5(etag.encode(), usedforsecurity=False).hexdigest()
        return etag if "-" in etag else self.personality.etag("put-etag", etag)

    def _absent(self, ask: Ask) -> None:
        if ask.headers.get("if-none-match") == "*" and ask.key in self.things:
            raise Refuse(412, "PreconditionFailed")

    def _HeadObject(self, ask: Ask) -> Answer:  # noqa: N802
        thing = self._seen(ask)
        summed = "x-amz-checksum-mode" in ask.headers or not self.personality.how("head-checksum")
        return Answer(200, b"", self._headers(thing, summed=summed))

    def _seen(self, ask: Ask) -> Thing:
        """The object that a reading request sees; raises :class:`Refuse` where it is blind."""
        thing = self._thing(ask.key)
        if self.personality.blind(ask, self._now() - thing.modified):
            raise Refuse(404, "NoSuchKey")
        return thing

    def _thing(self, key: str) -> Thing:
        if key not in self.things:
            raise Refuse(404, "NoSuchKey")
        return self.things[key]

    def _headers(self, thing: Thing, *, summed: bool = True) -> dict[str, str]:
        modified = datetime.fromtimestamp(thing.modified, timezone.utc)
        told = {_SUM: _base64(thing.crc32), "x-amz-checksum-type": "FULL_OBJECT"}
        if thing.composite:
            told = {_SUM: thing.composite, "x-amz-checksum-type": "COMPOSITE"}
        return {
            **thing.headers,
            **(told if thing.told_crc32 and summed else {}),
            "Content-Length": str(thing.size),
            "ETag": f'"{thing.etag}"',
            "Last-Modified": format_datetime(modified, usegmt=True),
        }

    def _GetObject(self, ask: Ask) -> Answer:  # noqa: N802
        thing = self._seen(ask)
        if not self.keep:
            raise Refuse(501, "NotImplemented")  # bodies are counted, not kept
        wanted = ask.headers.get("if-match", "").strip('"')
        if wanted and wanted != thing.etag:
            raise Refuse(412, "PreconditionFailed")
        headers = self._headers(thing)
        asked = _RANGE.fullmatch(ask.headers.get("range", ""))
        if asked is None:
            return Answer(200, thing.body, headers)
        first, last = int(asked[1]), min(thing.size - 1, int(asked[2] or thing.size - 1))
        if first >= thing.size:
            raise Refuse(416, "InvalidRange")
        part = thing.body[first : last + 1]
        headers["Content-Length"] = str(len(part))
        headers["Content-Range"] = f"bytes {first}-{last}/{thing.size}"
        headers.pop(_SUM, None)  # it is that of the whole
        return Answer(206, part, headers)

    def _DeleteObject(self, ask: Ask) -> Answer:  # noqa: N802
        self.things.pop(ask.key, None)
        return Answer(204)

    def _CopyObject(self, ask: Ask) -> Answer:  # noqa: N802
        self._absent(ask)
        thing = self._copied(ask)
        etag = thing.etag
        if "-" in etag:
            if not self.keep:
                raise Refuse(501, "NotImplemented")  # the digest of what is not kept is not known
            etag = hashlib.md5(thing.body, usedforsecurity=False).hexdigest()
        elif not self.opaque:
            etag = hashlib.md5(thing.body, usedforsecurity=False).hexdigest() if self.keep else etag
        etag = self._etag(etag)
        about = _about(ask.headers)
        if self.personality.how("copy-metadata"):
            about = {**thing.headers, **{n: v for n, v in about.items() if n.startswith(_SSE)}}
        self.things[ask.key] = Thing(
            thing.size,
            etag,
            thing.crc32,
            thing.told_crc32,
            about,
            self._now(),
            thing.body,
        )
        return _xml("CopyObjectResult", f"<ETag>&quot;{etag}&quot;</ETag>")

    def _copied(self, ask: Ask) -> Thing:
        """The object that a copy is made of."""
        source = unquote(ask.headers["x-amz-copy-source"]).lstrip("/").partition("/")[2]
        thing = self._thing(source)
        wanted = ask.headers.get("x-amz-copy-source-if-match", "").strip('"')
        if wanted and wanted != thing.etag:
            raise Refuse(412, "PreconditionFailed")
        return thing

    def _ListObjectsV2(self, ask: Ask) -> Answer:  # noqa: N802
        prefix, most = ask.value("prefix"), min(1000, int(ask.value("max-keys", "1000")))
        after = ask.value("continuation-token")
        if self.many is not None:
            page, rest = self.many.page(prefix, after, most)
        else:
            keys = sorted(
                key
                for key, it in self.things.items()
                if key.startswith(prefix)
                and key > after
                and not self.personality.blind(ask, self._now() - it.modified)
            )
            chosen = [(key, self.things[key]) for key in keys[:most]]
            page, rest = [(key, it.size, it.etag) for key, it in chosen], bool(keys[most:])
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size>"
            f"<ETag>&quot;{etag}&quot;</ETag></Contents>"
            for key, size, etag in page
        )
        more = ""
        if rest:
            more = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>"
        return _xml(
            "ListBucketResult",
            f"<Name>{self.bucket}</Name><IsTruncated>{str(rest).lower()}</IsTruncated>"
            f"{more}{found}",
        )

    # -- multipart uploads

    def _CreateMultipartUpload(self, ask: Ask) -> Answer:  # noqa: N802
        self.answered += 1
        digest = hashlib.sha256(f"{ask.key} {self.answered}".encode()).hexdigest()
        upload_id = f"upload-{self.answered}-{digest[:12]}"
        checksummed = ask.headers.get("x-amz-checksum-type") == "FULL_OBJECT"
        composite = self.personality.how("full-checksum") == "composite"
        self.uploads[upload_id] = Upload(
            ask.key, self._now(), _about(ask.headers), checksummed or composite, composite
        )
        told = {}
        if checksummed or composite:
            kind = "COMPOSITE" if composite else "FULL_OBJECT"
            told = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": kind}
        return _xml("InitiateMultipartUploadResult", self._names(ask.key, upload_id)).but(**told)

    def _upload(self, ask: Ask) -> Upload:
        upload = self.uploads.get(ask.upload_id)
        if upload is None or upload.key != ask.key:
            raise Refuse(404, "NoSuchUpload")
        return upload

    def _UploadPart(self, ask: Ask) -> Answer:  # noqa: N802
        upload, told = self._upload(ask), self._checked(ask)
        if not 1 <= ask.part <= 10_000:
            raise Refuse(400, "InvalidArgument")
        body = bytes(ask.body.kept) if self.keep else b""
        etag = self.personality.etag("part-etag", ask.body.md5.hex())
        ignored = "ignored" in {self.personality.how(one) for one in _PART_SUMS}
        upload.parts[ask.part] = Part(
            ask.body.size, ask.body.md5, _crc32(told, ask.body), body, etag, not ignored
        )
        more = {_SUM: told} if told else {}
        return Answer(200, b"", {"ETag": f'"{etag}"', **more, **_encrypted(upload.headers)})

    def _UploadPartCopy(self, ask: Ask) -> Answer:  # noqa: N802
        upload, thing = self._upload(ask), self._copied(ask)
        asked = _RANGE.fullmatch(ask.headers.get("x-amz-copy-source-range", ""))
        if not self.keep or asked is None or not 1 <= ask.part <= 10_000:
            raise Refuse(400, "InvalidArgument")
        first, last = int(asked[1]), int(asked[2] or thing.size - 1)
        if not first <= last < thing.size:
            raise Refuse(400, "InvalidArgument")
        body = thing.body[first : last + 1]
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        etag = self.personality.etag("part-etag", md5.hex())
        part = Part(len(body), md5, zlib.crc32(body), body, etag)
        upload.parts[ask.part] = part
        told = f"<ChecksumCRC32>{_base64(part.crc32)}</ChecksumCRC32>"
        return _xml(
            "CopyPartResult",
            f"<ETag>&quot;{etag}&quot;</ETag>{told if upload.checksummed else ''}",
        )

    def _listed_upload(self, ask: Ask) -> Upload:
        """The upload that is asked about; servers say different things of one that is gone."""
        how = self.personality.how("list-parts")
        if ask.upload_id not in self.uploads and how == "gone: 200":
            return Upload(ask.key, self._now(), {}, checksummed=False)
        if ask.upload_id not in self.uploads and how == "gone: 404 NoSuchKey":
            raise Refuse(404, "NoSuchKey")
        return self._upload(ask)

    def _ListParts(self, ask: Ask) -> Answer:  # noqa: N802
        upload = self._listed_upload(ask)
        after, most = int(ask.value("part-number-marker", "0")), 1000
        numbers = [number for number in sorted(upload.parts) if number > after]
        page, rest = numbers[:most], numbers[most:]
        found = "".join(_listed(number, upload.parts[number]) for number in page)
        more = f"<NextPartNumberMarker>{page[-1]}</NextPartNumberMarker>" if rest else ""
        truncated = f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
        return _xml(
            "ListPartsResult", f"{self._names(ask.key, ask.upload_id)}{truncated}{more}{found}"
        )

    def _CompleteMultipartUpload(self, ask: Ask) -> Answer:  # noqa: N802
        upload = self._upload(ask)
        self._absent(ask)
        parts = self._chosen(upload, bytes(ask.body.kept))
        size = sum(part.size for part in parts)
        crc32 = whole_crc32([_digest(part) for part in parts])
        told = ask.headers.get(_SUM, "")
        checked = self.personality.checks(ask)
        if told and upload.composite:
            raise Refuse(400, "InvalidRequest")  # S3 wants the type that the upload began with
        if told and told != _base64(crc32) and checked:
            raise Refuse(400, "BadDigest")
        if int(ask.headers.get("x-amz-mp-object-size", size)) != size:
            raise Refuse(400, "InvalidRequest")
        whole = hashlib.md5(b"".join(p.md5 for p in parts), usedforsecurity=False).hexdigest()
        body = b"".join(part.body for part in parts)
        self.things[ask.key] = Thing(
            size,
            self._joined_etag(f"{whole}-{len(parts)}", body),
            crc32 if checked or not told else _number(told),
            upload.checksummed and self.personality.how("complete-checksum") != "ignored",
            upload.headers,
            self._now(),
            body,
            _composite(parts) if upload.composite else "",
        )
        etag = self.things[ask.key].etag
        del self.uploads[ask.upload_id]
        return _xml(
            "CompleteMultipartUploadResult",
            f"<Bucket>{self.bucket}</Bucket><Key>{escape(ask.key)}</Key>"
            f"<ETag>&quot;{etag}&quot;</ETag>",
        ).but(**_encrypted(upload.headers))

    def _joined_etag(self, plain: str, body: bytes) -> str:
        if self.opaque:
            digest, _, parts = plain.partition("-")
            return f"{self._etag(digest)}-{parts}"
        whole = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return self.personality.etag("joined-etag", plain, whole)

    def _chosen(self, upload: Upload, body: bytes) -> list[Part]:
        try:
            root = ET.fromstring(body)
        except ET.ParseError:
            raise Refuse(400, "MalformedXML") from None
        listed = [
            (int(_text(one, "PartNumber")), _text(one, "ETag").strip('"'))
            for one in root
            if one.tag.endswith("Part")
        ]
        numbers = [number for number, _ in listed]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refuse(400, "InvalidPartOrder" if numbers else "MalformedXML")
        for number, etag in listed:
            if number not in upload.parts or _etag(upload.parts[number]) != etag:
                raise Refuse(400, "InvalidPart")
        parts = [upload.parts[number] for number in numbers]
        if any(part.size < self._min_part for part in parts[:-1]):
            raise Refuse(400, "EntityTooSmall")
        return parts

    def _AbortMultipartUpload(self, ask: Ask) -> Answer:  # noqa: N802
        self._upload(ask)
        del self.uploads[ask.upload_id]
        return Answer(204)

    def _ListMultipartUploads(self, ask: Ask) -> Answer:  # noqa: N802
        how = self.personality.how("list-uploads")
        if how == "listing":
            return self._ListObjectsV2(ask)
        prefix = ask.value("prefix")
        marker = (ask.value("key-marker"), ask.value("upload-id-marker"))
        most = int(ask.value("max-uploads", "1000"))
        found = sorted((u.key, i) for i, u in self.uploads.items() if u.key.startswith(prefix))
        if how == "exact":
            found = [one for one in found if one[0] == prefix]
        if how.startswith("404") and not found:
            raise Refuse(404, how.partition(" ")[2])
        found = [one for one in found if one > marker]
        page, rest = found[:most], found[most:]
        listed = "".join(
            f"<Upload><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{_iso(self.uploads[upload_id].begun)}</Initiated></Upload>"
            for key, upload_id in page
        )
        more = ""
        if rest:
            more = (
                f"<NextKeyMarker>{escape(page[-1][0])}</NextKeyMarker>"
                f"<NextUploadIdMarker>{page[-1][1]}</NextUploadIdMarker>"
            )
        truncated = f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
        return _xml(
            "ListMultipartUploadsResult",
            f"<Bucket>{self.bucket}</Bucket>{truncated}{more}{listed}",
        )

    # -- the bucket

    def _CreateBucket(self, ask: Ask) -> Answer:  # noqa: N802
        return Answer(200)

    def _HeadBucket(self, ask: Ask) -> Answer:  # noqa: N802
        return Answer(200)

    def _GetBucketLifecycle(self, ask: Ask) -> Answer:  # noqa: N802
        if not self.lifecycle:
            raise Refuse(404, "NoSuchLifecycleConfiguration")
        return Answer(200, self.lifecycle.encode(), {"Content-Type": "application/xml"})

    def _PutBucketLifecycle(self, ask: Ask) -> Answer:  # noqa: N802
        self.lifecycle = bytes(ask.body.kept).decode()
        return Answer(200)

    def collect(self, older_than_s: float) -> int:
        """What a lifecycle rule does: abort the uploads that were begun so long ago."""
        stale = [i for i, u in self.uploads.items() if self._now() - u.begun >= older_than_s]
        for upload_id in stale:
            del self.uploads[upload_id]
        return len(stale)

    def _names(self, key: str, upload_id: str) -> str:
        return (
            f"<Bucket>{self.bucket}</Bucket><Key>{escape(key)}</Key>"
            f"<UploadId>{upload_id}</UploadId>"
        )


def _moment(signed: str) -> float:
    """When a request was signed, s since 1970."""
    return datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _told(ask: Ask) -> Mapping[str, str]:
    """The headers, and the token of a URL that was signed before."""
    token = ask.value("X-Amz-Security-Token")
    return {**ask.headers, "x-amz-security-token": token} if token else ask.headers


def _presigned(ask: Ask, now: float) -> str:
    """The error of a URL that was signed before: it has ended, or something else is sent."""
    if "X-Amz-Expires" not in ask.query:
        return ""
    signed_at = _moment(ask.value("X-Amz-Date"))
    if now > signed_at + int(ask.value("X-Amz-Expires")):
        return "AccessDenied"
    named = ask.value("X-Amz-SignedHeaders").split(";")
    if not all(name in ask.headers for name in named):
        return "SignatureDoesNotMatch"
    token = ask.value("X-Amz-Security-Token")
    good = not token or _signature(ask, named, secret_of(token)) == ask.value("X-Amz-Signature")
    return "" if good else "SignatureDoesNotMatch"


def _signature(ask: Ask, named: Sequence[str], secret: str) -> str:
    """What a URL must be signed with (AWS Signature Version 4, authenticating with the query)."""
    signs = sorted(
        f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}"
        for name, values in ask.query.items()
        for value in values
        if name != "X-Amz-Signature"
    )
    headers = [f"{name}:{' '.join(ask.headers[name].split())}" for name in named]
    path = quote(f"/{ask.key}" if ask.hosted else f"/{ask.bucket}/{ask.key}", safe=f"/{_PLAIN}")
    canonical = "\n".join(
        [ask.method, path, "&".join(signs), *headers, "", ";".join(named), "UNSIGNED-PAYLOAD"]
    )
    _, _, scope = ask.value("X-Amz-Credential").partition("/")
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            ask.value("X-Amz-Date"),
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _about(headers: Mapping[str, str]) -> dict[str, str]:
    """What S3 keeps beside the bytes and tells again at HEAD."""
    kept = {n: v for n, v in headers.items() if n.startswith("x-amz-meta-")}
    for name, value in headers.items():
        if name == "content-type" or name.startswith(_SSE):
            kept[name] = value
    return kept


def _encrypted(headers: Mapping[str, str]) -> dict[str, str]:
    """How an object is encrypted, as it is told again."""
    return {name: value for name, value in headers.items() if name.startswith(_SSE)}


def _etag(part: Part) -> str:
    return part.etag or part.md5.hex()


def _listed(number: int, part: Part) -> str:
    told = f"<ChecksumCRC32>{_base64(part.crc32)}</ChecksumCRC32>" if part.told_crc32 else ""
    return (
        f"<Part><PartNumber>{number}</PartNumber><Size>{part.size}</Size>"
        f"<ETag>&quot;{_etag(part)}&quot;</ETag>{told}</Part>"
    )


def _composite(parts: Sequence[Part]) -> str:
    """The checksum of the checksums of the parts."""
    sums = b"".join(part.crc32.to_bytes(4, "big") for part in parts)
    return f"{_base64(zlib.crc32(sums))}-{len(parts)}"


def _crc32(told: str, body: Body) -> int:
    """The checksum that is kept: as it was told, which is the right one where it is checked."""
    return _number(told) if told else body.crc32


def _number(told: str) -> int:
    return int.from_bytes(base64.b64decode(told), "big")


def _digest(part: Part) -> Digest:
    return Digest(part.size, part.crc32, part.md5)


def _base64(crc32: int) -> str:
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _text(element: Iterable[ET.Element], name: str) -> str:
    return next((one.text or "" for one in element if one.tag.endswith(name)), "")


def _iso(moment: float) -> str:
    told = datetime.fromtimestamp(moment, timezone.utc)
    return told.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _xml(root: str, inner: str) -> Answer:
    body = f"<?xml version='1.0' encoding='UTF-8'?><{root}>{inner}</{root}>"
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})
