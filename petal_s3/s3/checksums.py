"""Compute what S3 computes: CRC32 of a whole from its parts, and the multipart ETag."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petal_s3.core.crc32 import crc32 as crc32_of
from petal_s3.errors import SourceChanged

_CRC32_POLYNOMIAL = 0xEDB88320
_TOP_BIT = 1 << 31
_BLOCK_BYTES = 256 * 1024
_MD5_ETAG = re.compile(r"[0-9a-f]{32}(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class Digest:
    """What one read of a part of a file yields.

    ``md5`` is empty where it is not needed: it costs several times what the rest does.
    ``sha256`` is empty unless asked for: only plain http has to sign the body.
    """

    size: int
    crc32: int
    md5: bytes = b""
    sha256: str = ""

    @property
    def etag(self) -> str:
        """The ETag S3 gives to these bytes as one part or one object; empty where it is unknown."""
        return self.md5.hex()

    @property
    def crc32_base64(self) -> str:
        """The CRC32 as ``x-amz-checksum-crc32`` writes it: base64 of four bytes, big endian."""
        return crc32_base64(self.crc32)


def digest(fd: int, offset: int, size: int, *, md5: bool = True, sha256: bool = False) -> Digest:
    """Read ``size`` bytes at ``offset`` and digest them in blocks; blocking, memory flat.

    Raises :class:`SourceChanged` when the file ends early, ``OSError`` when it cannot be read.
    """
    crc, hashes = 0, {"md5": hashlib.md5(usedforsecurity=False)} if md5 else {}
    if sha256:
        hashes["sha256"] = hashlib.sha256()
    buffer = memoryview(bytearray(min(_BLOCK_BYTES, size)))
    done = 0
    while done < size:
        read = os.preadv(fd, [buffer[: size - done]], offset + done)
        if not read:
            raise SourceChanged("The file became shorter while it was read.")
        block = buffer[:read]
        crc = crc32_of(block, crc)
        for one in hashes.values():
            one.update(block)
        done += read
    told = {name: one.digest() for name, one in hashes.items()}
    return Digest(size, crc, told.get("md5", b""), told.get("sha256", b"").hex())


def digest_of(body: bytes) -> Digest:
    """The digest of a few bytes that are in memory."""
    return Digest(len(body), crc32_of(body), hashlib.md5(body, usedforsecurity=False).digest())


def crc32_base64(crc32: int) -> str:
    """Write a CRC32 as S3's headers do."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def whole_crc32(parts: Iterable[Digest]) -> int:
    """Combine the CRC32 of consecutive parts into that of the whole (as zlib does)."""
    crc = 0
    for part in parts:
        crc = combine_crc32(crc, part.crc32, part.size)
    return crc


def multipart_etag(parts: Sequence[bytes]) -> str:
    """The ETag of a multipart object: md5 over the parts' raw md5 digests, ``-``, their number."""
    whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(parts)}"


def joined_etag(parts: Sequence[Digest]) -> str:
    """The ETag of an object made of these parts; empty where the md5 of one is unknown."""
    if not all(part.md5 for part in parts):
        return ""
    return multipart_etag([part.md5 for part in parts])


def etag_parts(etag: str) -> int | None:
    """How an ETag was made: 0 for a plain md5, N for N parts, None when it is no md5 at all.

    With SSE-KMS, SSE-C and some servers the ETag is not an md5 though it looks like one;
    a comparison must treat inequality as "unknown" there.
    """
    match = _MD5_ETAG.fullmatch(etag)
    if match is None:
        return None
    return int(match[1]) if match[1] else 0


def file_etag(fd: int, size: int, part_size: int | None) -> str:
    """Recompute the ETag of a whole file, as one object or in parts of ``part_size`` bytes."""
    if part_size is None:
        return digest(fd, 0, size).etag
    return multipart_etag(
        [digest(fd, at, min(part_size, size - at)).md5 for at in range(0, size, part_size)]
    )


def combine_crc32(first: int, second: int, second_size: int) -> int:
    """CRC32 of A followed by B, from those of A and B and the size of B in bytes.

    The CRC of A is multiplied by x**(8*size) modulo the polynomial, which is what appending
    that many zero bytes does, and added to the CRC of B.
    """
    if not second_size:
        return first
    return _multiply(_power_of_x(8 * second_size), first) ^ second


def _multiply(a: int, b: int) -> int:
    product, bit = 0, _TOP_BIT
    while True:
        if a & bit:
            product ^= b
            if not a & (bit - 1):
                return product
        bit >>= 1
        if not bit:
            return product
        b = (b >> 1) ^ (_CRC32_POLYNOMIAL if b & 1 else 0)


@functools.lru_cache(maxsize=8)  # all parts of a file but one have the same size
def _power_of_x(n: int) -> int:
    product, square = _TOP_BIT, _TOP_BIT >> 1
    while n:
        if n & 1:
            product = _multiply(square, product)
        square = _multiply(square, square)
        n >>= 1
    return product
