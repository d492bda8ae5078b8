"""Write down what went over the wire to S3: each request, and what was sent twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

# The first line that fits names the operation, so the most telling mark comes first.
_OBJECT_OPS = (
    ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("PUT", "partNumber", "UploadPart"),
    ("GET", "uploadId", "ListParts"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
    ("PUT", "", "PutObject"),
    ("HEAD", "", "HeadObject"),
    ("GET", "", "GetObject"),
    ("DELETE", "", "DeleteObject"),
)
_BUCKET_OPS = (
    ("GET", "list-type", "ListObjectsV2"),
    ("GET", "uploads", "ListMultipartUploads"),
    ("POST", "delete", "DeleteObjects"),
    ("PUT", "", "CreateBucket"),
    ("HEAD", "", "HeadBucket"),
)


def operation(method: str, key: str, query: Mapping[str, list[str]], *, copy: bool = False) -> str:
    """Name the S3 operation of a request, "Other" for those that no test asks about."""
    if copy:
        return "UploadPartCopy" if "partNumber" in query else "CopyObject"
    bare = any(values == [""] for values in query.values())  # ?tagging, ?versioning, ...
    for verb, mark, name in _OBJECT_OPS if key else _BUCKET_OPS:
        if verb == method and (mark in query if mark else not bare):
            return name
    return "Other"


class Target(NamedTuple):
    """What a request line asks for."""

    op: str
    bucket: str
    key: str
    query: Mapping[str, list[str]]
    hosted: bool
    """The bucket stood in the host name, not in the path."""


def target(method: str, raw_path: str, headers: Mapping[str, str], *, bucket: str = "") -> Target:
    """Read a request line; header names are in lower case, or in any.

    ``bucket``: taken out of the host name where it stands there (``{bucket}.s3.example``).
    """
    url = urlsplit(raw_path)
    path = unquote(url.path).lstrip("/")
    query = parse_qs(url.query, keep_blank_values=True)
    hosted = bool(bucket) and headers.get("host", "").startswith(f"{bucket}.")
    key = path
    if not hosted:
        bucket, _, key = path.partition("/")
    op = operation(method, key, query, copy="x-amz-copy-source" in headers)
    return Target(op, bucket, key, query, hosted)


@dataclass
class Request:
    """One request as a server or a proxy saw it; times are monotonic seconds."""

    method: str
    op: str
    bucket: str
    key: str
    upload_id: str
    part: int
    """0 when the request is not about a part."""
    headers: Mapping[str, str] = field(repr=False)
    started: float
    first_byte: float | None = None
    finished: float | None = None
    body_bytes: int = 0
    status: int | None = None
    """What S3 answered, heard by the client or not; None when S3 was never asked or fell silent."""
    query: str = field(default="", repr=False)
    """It may hold a signature."""
    answered: bool = False
    """The whole answer was handed to the client's connection."""
    refusal: bytes = field(default=b"", repr=False)
    """The body of an answer other than 2xx."""
    fault: str = ""
    """The name of the fault that it met."""
    crc32: int = 0
    """Of the body, where the server has read it."""

    @property
    def range(self) -> str:
        """The range of bytes that was asked for, as the header has it."""
        return self.headers.get("range", "")


class Parts(NamedTuple):
    """How often part bodies travelled; `resent` counts those already confirmed."""

    sent: int
    confirmed: int
    resent: int


class Ledger:
    """What went over the wire; safe to read from any thread."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, also which parts are confirmed."""
        self._requests: list[Request] = []
        self._resent: Counter[str] = Counter()
        self.confirmed: Counter[tuple[str, str, int]] = Counter()
        """(key, upload id, part number) -> times S3 answered 200 to that part."""

    def requests(self, op: str | None = None, key: str | None = None) -> list[Request]:
        """The requests in the order of their arrival."""
        return [
            request
            for request in list(self._requests)
            if op in (None, request.op) and key in (None, request.key)
        ]

    def parts(self, key: str) -> Parts:
        """Parts of this key over all its uploads: arrived, confirmed, arrived though confirmed."""
        confirmed = sum(1 for part in list(self.confirmed) if part[0] == key)
        return Parts(len(self.requests("UploadPart", key)), confirmed, self._resent[key])

    def count(self, op: str) -> int:
        """How many requests of this operation have arrived."""
        return len(self.requests(op))

    @property
    def resent_confirmed_parts(self) -> int:
        return sum(self._resent.values())

    @property
    def body_bytes(self) -> int:
        return sum(request.body_bytes for request in self.requests())

    def arrived(
        self,
        method: str,
        raw_path: str,
        headers: Mapping[str, str],
        *,
        bucket: str = "",
        at: float | None = None,
    ) -> Request:
        """Write down a request whose head has just been read; ``at``: when, if not now."""
        asked = target(method, raw_path, headers, bucket=bucket)
        record = Request(
            method=method,
            op=asked.op,
            bucket=asked.bucket,
            key=asked.key,
            upload_id=asked.query.get("uploadId", [""])[0],
            part=_number(asked.query.get("partNumber", [""])[0]),
            headers=headers,
            started=time.monotonic() if at is None else at,
            query=urlsplit(raw_path).query,
        )
        self._requests.append(record)
        if record.op == "UploadPart" and self.confirmed[record.key, record.upload_id, record.part]:
            self._resent[record.key] += 1
        return record

    def told(self, record: Request, status: int, *, confirms: bool = True) -> None:
        """Write down what was answered; ``confirms``: S3 itself has said so."""
        record.status = status
        if status == HTTPStatus.OK and record.op == "UploadPart" and confirms:
            self.confirmed[record.key, record.upload_id, record.part] += 1


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
