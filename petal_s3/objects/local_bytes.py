"""Tell from the disk alone whether a file holds the bytes that an ETag stands for."""

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
    """Whether the file has the size, the CRC32 and the ETag of ``receipt``; blocking.

    ``known``: part sizes that may have made the ETag. False also where that cannot be told: for
    an ETag that is no md5 of the bytes, since a CRC32 alone makes no two files equal. Usually the
    file is read once. Raises :class:`SourceChanged` and ``OSError``.
    """
    parts = etag_parts(receipt.etag)
    if parts is None or not receipt.size:
        return False
    for part_size in part_sizes(receipt.size, parts, known) if parts else (receipt.size,):
        read = list(_digests(fd, receipt.size, part_size))
        if f"crc32:{crc32_base64(whole_crc32(read))}" != receipt.checksum:
            return False
        etag = multipart_etag([part.md5 for part in read]) if parts else read[0].etag
        if etag == receipt.etag:
            return True
    return False


def _digests(fd: int, size: int, part_size: int) -> Iterator[Digest]:
    for offset in range(0, size, part_size):
        yield digest(fd, offset, min(part_size, size - offset))
