"""What is asked of the fault server, and the faults that it is often told to plan."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from petal_s3.demo.faults import Answer, Fault, refusal
from petal_s3.demo.ledger import target

_KEPT_BYTES = 1024 * 1024


class Body:
    """A request body: counted and digested while it passes, not kept (unless ``keep``)."""

    def __init__(self, *, keep: bool = False) -> None:
        self.size = 0
        self.crc32 = 0
        self.kept = bytearray()
        self._keep = keep
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def feed(self, block: bytes) -> None:
        self.size += len(block)
        self.crc32 = zlib.crc32(block, self.crc32)
        self._md5.update(block)
        self._sha256.update(block)
        if self._keep or len(self.kept) < _KEPT_BYTES:
            self.kept += block if self._keep else block[: _KEPT_BYTES - len(self.kept)]

    def end(self) -> None:
        """Large bodies of parts and objects are of no further use."""
        if not self._keep and self.size > _KEPT_BYTES:
            self.kept.clear()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@dataclass
class Ask:
    """One request. Header names are in lower case."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Body
    op: str
    hosted: bool = False
    """The bucket stood in the host name, not in the path."""

    @property
    def upload_id(self) -> str:
        return self.value("uploadId")

    @property
    def part(self) -> int:
        number = self.value("partNumber")
        return int(number) if number.isdigit() else 0

    def value(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]


def ask(
    method: str, raw_path: str, headers: Mapping[str, str], *, keep: bool = False, bucket: str = ""
) -> Ask:
    """Read the head of a request; its body is fed afterwards.

    ``bucket``: taken out of the host name where it stands there (``{bucket}.s3.example``).
    """
    lower = {name.lower(): value for name, value in headers.items()}
    asked = target(method, raw_path, lower, bucket=bucket)
    op = asked.op
    if op == "Other" and "lifecycle" in asked.query:
        op = "PutBucketLifecycle" if method == "PUT" else "GetBucketLifecycle"
    body = Body(keep=keep)
    return Ask(method, asked.bucket, asked.key, asked.query, lower, body, op, asked.hosted)


_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>Log in</body></html>"
_HTML = {"Content-Type": "text/html"}

PORTAL = (
    Fault("portal-empty", say=Answer(200)),
    Fault("portal-page", say=Answer(200, _PAGE, _HTML)),
    Fault("portal-302", say=Answer(302, b"", {"Location": "http://portal.invalid/login"})),
    Fault("portal-307", say=Answer(307, b"", {"Location": "http://portal.invalid/login"})),
    Fault("portal-403", say=Answer(403, _PAGE, _HTML)),
    Fault("portal-511", say=Answer(511, _PAGE, _HTML)),
    Fault("portal-502", say=Answer(502, _PAGE, _HTML)),
)


def _without_body(answer: Answer) -> Answer:
    return answer.but(body=b"")


def _half(answer: Answer) -> Answer:
    return answer.but(body=answer.body[: len(answer.body) // 2])


def _other_bucket(answer: Answer) -> Answer:
    for name in (b"Name", b"Bucket"):
        start = answer.body.find(b"<%s>" % name)
        if start >= 0:
            end = answer.body.find(b"</%s>" % name)
            return answer.but(body=answer.body[:start] + b"<%s>other" % name + answer.body[end:])
    return answer.but(ETag=f'"{"0" * 32}"')


def _wrong_sums(answer: Answer) -> Answer:
    return answer.but(ETag=f'"{"0" * 32}"', x_amz_checksum_crc32="AAAAAA==")


def _error_inside(answer: Answer) -> Answer:
    return refusal(200, "InternalError")


TWISTS = (
    Fault("empty-body", twist=_without_body),
    Fault("half-body", twist=_half),
    Fault("other-bucket", twist=_other_bucket),
    Fault("wrong-sums", twist=_wrong_sums),
    Fault("error-inside-200", twist=_error_inside),
)

TROUBLE = (
    Fault("500", say=refusal(500, "InternalError")),
    Fault("503", say=refusal(503, "SlowDown", Retry_After="3")),
    Fault("429", say=refusal(429, "TooManyRequests")),
    Fault("408", say=refusal(400, "RequestTimeout")),
    Fault("digest", say=refusal(400, "BadDigest")),
    Fault("409", say=refusal(409, "OperationAborted")),
    Fault("501", say=refusal(501, "NotImplemented")),
    Fault("401", say=refusal(403, "InvalidAccessKeyId")),
    Fault("garbage", say=Answer(200, b"\x00\xff<<<", {"Content-Type": "application/xml"})),
)
