"""Tell from the disk alone whether a file holds the bytes that a receipt stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from petal_s3.core.settings import MIB
from petal_s3.outbox.rows import Receipt
from petal_s3.s3.checksums import (
    Digest,
    crc32_base64,
    digest,
    etag_parts,
    multipart_etag,
    whole_crc32,
)

# In MiB, as uploaders choose them by themselves: petal-s3, the AWS tools and SDKs, rclone, MinIO.
_USUAL_MIB = (5, 8, 10, 15, 16, 20, 25, 32, 48, 50, 64, 100, 128, 250, 256, 500, 512, 1024)


def part_sizes(size: int, parts: int, known: Iterable[int | None] = ()) -> tuple[int, ...]:
    """The part sizes by which ``size`` bytes make ``parts`` parts: ``known`` ones, usual ones.

    In bytes, the likeliest first; one part is made by any size, so the whole stands for all.
    """
    if parts == 1:
        return (size,)
    likely = [one for one in known if one] + [usual * MIB for usual in _USUAL_MIB]
    return tuple(dict.fromkeys(one for one in likely if -(-size // one) == parts))


def holds(fd: int, receipt: Receipt, known: Iterable[int | None] = ()) -> bool:
    """Whether the file has the size and the CRC32 of ``receipt``, and its ETag; blocking.

    An ETag that was no part of the proof may be anything: there the CRC32 decides, as it did.
    ``known``: part sizes that may have made the ETag. False also where that cannot be told.
    Usually the file is read once. Raises :class:`SourceChanged` and ``OSError``.
    """
    if not receipt.size:
        return False
    if "etag" not in receipt.proof.split("+"):
        read = digest(fd, 0, receipt.size, md5=False)
        return f"crc32:{read.crc32_base64}" == receipt.checksum
    parts = etag_parts(receipt.etag)
    if parts is None:
        return False
    for part_size in part_sizes(receipt.size, parts, known) if parts else (receipt.size,):
        cut = list(_digests(fd, receipt.size, part_size))
        if f"crc32:{crc32_base64(whole_crc32(cut))}" != receipt.checksum:
            return False
        etag = multipart_etag([part.md5 for part in cut]) if parts else cut[0].etag
        if etag == receipt.etag:
            return True
    return False


def _digests(fd: int, size: int, part_size: int) -> Iterator[Digest]:
    for offset in range(0, size, part_size):
        yield digest(fd, offset, min(part_size, size - offset))
