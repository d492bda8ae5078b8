"""Compare what S3 holds with the disk, asking S3 itself, past the link and the host."""

from __future__ import annotations

import base64
import contextlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.session import Session

from petal_s3.demo.ledger import Ledger

if TYPE_CHECKING:
    from botocore.client import BaseClient

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One log after the show; ``trouble`` is empty when all is well."""

    key: str
    size: int
    checksum: str
    proof: str
    parts: int
    cut_off: int
    """Parts that were on their way when the link was cut: S3 never confirmed them."""
    resent: int
    trouble: str


class Bucket:
    """A plain S3 client that goes straight to the server; a context manager."""

    def __init__(self, url: str, name: str) -> None:
        # A profile that the caller's environment names need not exist here.
        session = Session(session_vars={"profile": (None, None, None, None)})
        self.name = name
        self._client: Any = _client(session, url)

    def held(self, key: str) -> list[int]:
        """Sizes of the parts that open uploads of ``key`` hold."""
        return [
            part["Size"]
            for upload in self.open_uploads()
            if upload["Key"] == key
            for page in self._pages("list_parts", Key=key, UploadId=upload["UploadId"])
            for part in page.get("Parts", [])
        ]

    def open_uploads(self) -> list[dict[str, str]]:
        """Multipart uploads that are neither complete nor aborted."""
        return [
            upload
            for page in self._pages("list_multipart_uploads")
            for upload in page.get("Uploads", [])
        ]

    def differs(self, key: str, path: Path) -> tuple[str, str]:
        """Read object and file side by side; how they differ, and the CRC32 of the object."""
        body = self._client.get_object(Bucket=self.name, Key=key)["Body"]
        crc, difference = 0, ""
        with contextlib.closing(body), path.open("rb") as file:
            while theirs := body.read(_BLOCK_BYTES):
                crc = zlib.crc32(theirs, crc)
                if theirs != file.read(len(theirs)):
                    difference = "S3 holds other bytes than the disk"
            if file.read(1):
                difference = difference or "S3 holds fewer bytes than the disk"
        return difference, f"crc32:{base64.b64encode(crc.to_bytes(4, 'big')).decode()}"

    def _pages(self, operation: str, **arguments: str) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator(operation)
        yield from paginator.paginate(Bucket=self.name, **arguments)

    def __enter__(self) -> Bucket:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _client(session: Session, url: str) -> BaseClient:
    return session.create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo-opens-nothing",  # noqa: S106 - it opens nothing
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def find(bucket: Bucket, ledger: Ledger, row: Mapping[str, Any], path: Path) -> Finding:
    """Examine one verified row: its object, its checksum, and how its bytes travelled.

    ``path``: of the log as it was recorded.
    """
    key, receipt = row["key"], row["receipt"]
    trouble, crc32 = bucket.differs(key, path)
    if not trouble and receipt["checksum"] != crc32:
        trouble = f"the receipt says {receipt['checksum']}, the object has {crc32}"
    counted = ledger.parts(key)
    whole = len(ledger.requests("PutObject", key))  # a small log travels in one piece
    if not trouble and counted.resent:
        trouble = f"{counted.resent} confirmed parts were sent again"
    if not trouble and not counted.sent and whole != 1:
        trouble = f"it was sent {whole} times"
    return Finding(
        key=key,
        size=receipt["size"],
        checksum=receipt["checksum"],
        proof=receipt["proof"],
        parts=counted.confirmed or min(whole, 1),
        cut_off=counted.sent - counted.confirmed - counted.resent,
        resent=counted.resent if counted.sent else max(0, whole - 1),
        trouble=trouble,
    )
