"""What is computed here is what S3 computes."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.core import crc32
from petal_s3.errors import SourceChanged
from petal_s3.s3.checksums import (
    Digest,
    combine_crc32,
    crc32_base64,
    digest,
    etag_parts,
    file_etag,
    joined_etag,
    multipart_etag,
    whole_crc32,
)

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (10 * MIB // 256) + b"a log does not end at a block"


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "a.ulg"
    path.write_bytes(CONTENT)
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, len(CONTENT)),
        (0, 0),
        (0, 1),
        (5 * MIB, 5 * MIB),
        (MIB - 1, MIB + 2),
        (len(CONTENT) - 3, 3),
        (len(CONTENT), 0),
    ],
)
def test_a_stretch_is_digested_as_the_libraries_do(fd: int, offset: int, size: int) -> None:
    stretch = CONTENT[offset : offset + size]
    found = digest(fd, offset, size, sha256=True)
    assert found.size == size
    assert found.crc32 == zlib.crc32(stretch)
    assert found.md5 == hashlib.md5(stretch).digest()
    assert found.etag == hashlib.md5(stretch).hexdigest()
    assert found.sha256 == hashlib.sha256(stretch).hexdigest()


def test_the_digest_that_only_plain_http_needs_is_left_out_elsewhere(fd: int) -> None:
    assert digest(fd, 0, 10).sha256 == ""


def test_reading_leaves_the_position_of_the_descriptor_alone(fd: int) -> None:
    os.lseek(fd, 7, os.SEEK_SET)
    digest(fd, 0, 2 * MIB)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 7


@pytest.mark.parametrize(("offset", "size"), [(0, len(CONTENT) + 1), (len(CONTENT), 1)])
def test_a_file_that_became_shorter_is_a_changed_file(fd: int, offset: int, size: int) -> None:
    with pytest.raises(SourceChanged):
        digest(fd, offset, size)


def test_a_descriptor_that_cannot_be_read_is_an_error_of_the_file(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="directory"):
        digest(directory, 0, 1)
    os.close(directory)


# -- the whole from its parts


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_the_checksum_of_a_whole_follows_from_its_halves(first: bytes, second: bytes) -> None:
    combined = combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


@given(st.lists(st.binary(max_size=300), max_size=12))
def test_the_checksum_of_a_whole_follows_from_any_parts(parts: list[bytes]) -> None:
    digests = [Digest(len(part), zlib.crc32(part), b"") for part in parts]
    assert whole_crc32(digests) == zlib.crc32(b"".join(parts))


CRCS = st.integers(0, 0xFFFFFFFF)
SIZES = st.integers(0, 5 << 40)


@given(CRCS, CRCS, CRCS, SIZES, SIZES)
def test_huge_parts_may_be_combined_in_any_grouping(
    first: int, second: int, third: int, second_size: int, third_size: int
) -> None:
    from_the_left = combine_crc32(combine_crc32(first, second, second_size), third, third_size)
    tail = combine_crc32(second, third, third_size)
    if second_size:  # of nothing the checksum is 0, whatever was drawn
        assert from_the_left == combine_crc32(first, tail, second_size + third_size)


def test_the_parts_of_a_file_give_the_checksum_of_the_file(fd: int) -> None:
    parts = [
        digest(fd, at, min(5 * MIB, len(CONTENT) - at)) for at in range(0, len(CONTENT), 5 * MIB)
    ]
    assert len(parts) == 3
    assert whole_crc32(parts) == zlib.crc32(CONTENT)


@given(st.integers(0, 0xFFFFFFFF))
def test_a_checksum_travels_as_base64_of_four_bytes(crc: int) -> None:
    text = crc32_base64(crc)
    assert len(text) == 8
    assert int.from_bytes(base64.b64decode(text), "big") == crc
    assert Digest(1, crc, b"").crc32_base64 == text


def test_the_checksum_of_a_known_text_is_the_known_one() -> None:
    assert crc32_base64(zlib.crc32(b"123456789")) == "y/Q5Jg=="


# -- ETags


def test_a_multipart_etag_is_the_md5_of_the_md5s_and_their_number(fd: int) -> None:
    size = 4 * MIB
    md5s = [hashlib.md5(CONTENT[at : at + size]).digest() for at in range(0, len(CONTENT), size)]
    expected = f"{hashlib.md5(b''.join(md5s)).hexdigest()}-3"
    assert multipart_etag(md5s) == expected
    assert file_etag(fd, len(CONTENT), size) == expected


def test_a_multipart_upload_of_one_part_is_not_a_plain_object(fd: int) -> None:
    plain = hashlib.md5(CONTENT).hexdigest()
    assert file_etag(fd, len(CONTENT), None) == plain
    alone = file_etag(fd, len(CONTENT), len(CONTENT))
    assert alone == f"{hashlib.md5(bytes.fromhex(plain)).hexdigest()}-1"


def test_the_part_size_decides_the_etag(fd: int) -> None:
    etags = {file_etag(fd, len(CONTENT), size * MIB) for size in (2, 4, 5, 8, 16)}
    assert len(etags) == 5


@pytest.mark.parametrize(
    ("etag", "parts"),
    [
        ("a" * 32, 0),
        ("0123456789abcdef" * 2 + "-1", 1),
        ("0123456789abcdef" * 2 + "-10000", 10000),
        ("a" * 31, None),
        ("A" * 32, None),
        ("a" * 32 + "-", None),
        ("a" * 32 + "-100000", None),
        ('"' + "a" * 32 + '"', None),
        ("a" * 32 + "\n", None),
        ("", None),
        ("CJ7x6sOY3fYCEAE=", None),
    ],
)
def test_an_etag_tells_how_it_was_made_or_that_it_is_no_md5(etag: str, parts: int | None) -> None:
    assert etag_parts(etag) == parts


def test_a_crc32_is_the_same_with_and_without_the_fast_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = crc32.fastest()
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    without = crc32.fastest()

    assert without is zlib.crc32
    for cut in (0, 1, 100_000):
        first, then = memoryview(CONTENT)[:cut], memoryview(CONTENT)[cut:]
        assert installed(then, installed(first, 0)) == zlib.crc32(CONTENT)


def test_what_is_not_asked_for_is_not_computed(fd: int) -> None:
    found = digest(fd, 0, 1000, md5=False)

    assert (found.md5, found.etag, found.sha256) == (b"", "", "")
    assert found.crc32 == zlib.crc32(CONTENT[:1000])
    assert joined_etag([found, digest(fd, 0, 10)]) == ""
