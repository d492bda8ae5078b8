"""Whether a file holds the bytes of a receipt is told by size, CRC32 and ETag together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.core.settings import MIB
from petal_s3.objects.local_bytes import holds, part_sizes
from petal_s3.outbox.rows import Receipt
from petal_s3.s3.checksums import crc32_base64, digest, file_etag

SIZE = 11 * MIB + 123


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "flight.ulg"
    path.write_bytes(os.urandom(SIZE))
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def proven(fd: int, part_size: int | None, **other: str) -> Receipt:
    told = {
        "etag": file_etag(fd, SIZE, part_size),
        "checksum": f"crc32:{crc32_base64(digest(fd, 0, SIZE).crc32)}",
        **other,
    }
    return Receipt(key="k", size=SIZE, proof="crc32+etag", verified_at=1, **told)


@pytest.mark.parametrize("part_size", [None, 5 * MIB, 8 * MIB, 10 * MIB, SIZE, 64 * MIB])
def test_the_same_bytes_are_known_in_one_piece_and_in_usual_parts(
    fd: int, part_size: int | None
) -> None:
    assert holds(fd, proven(fd, part_size))


def test_an_unusual_part_size_has_to_be_known(fd: int) -> None:
    receipt = proven(fd, 7 * MIB)
    assert not holds(fd, receipt)
    assert holds(fd, receipt, (None, 7 * MIB))


@pytest.mark.parametrize(
    "other",
    [
        {"etag": hashlib.md5(b"other", usedforsecurity=False).hexdigest()},
        {"etag": hashlib.md5(b"other", usedforsecurity=False).hexdigest() + "-3"},
        {"checksum": "crc32:AAAAAA=="},
        {"etag": "an opaque token"},
    ],
)
def test_what_agrees_only_in_part_is_not_the_same(fd: int, other: dict[str, str]) -> None:
    assert not holds(fd, proven(fd, None, **other))


@pytest.mark.parametrize(
    ("size", "parts", "known", "expected"),
    [
        (SIZE, 1, (), (SIZE,)),
        (SIZE, 3, (), (5 * MIB,)),
        (SIZE, 2, (), (8 * MIB, 10 * MIB)),
        (SIZE, 2, (10 * MIB, None), (10 * MIB, 8 * MIB)),
        (SIZE, 2, (5 * MIB, 6 * MIB), (6 * MIB, 8 * MIB, 10 * MIB)),
        (SIZE, 12, (), ()),
    ],
)
def test_part_sizes_fit_the_number_of_parts(
    size: int, parts: int, known: tuple[int | None, ...], expected: tuple[int, ...]
) -> None:
    assert part_sizes(size, parts, known) == expected
