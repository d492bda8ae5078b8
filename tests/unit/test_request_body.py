"""A part of a file as the body of a request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.errors import SourceChanged
from petal_s3.s3.checksums import digest
from petal_s3.s3.request_body import ByteCounter, FilePart

WHOLE = bytes(range(200))


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "log"
    path.write_bytes(WHOLE)
    opened = os.open(path, os.O_RDWR)
    yield opened
    os.close(opened)


def test_a_part_reads_its_own_bytes_alone(fd: int) -> None:
    part = FilePart(fd, 50, digest(fd, 50, 100))

    assert part.read() == WHOLE[50:150]
    assert part.read() == b""


def test_bytes_that_are_sent_again_are_counted_once(fd: int) -> None:
    counter = ByteCounter()
    part = FilePart(fd, 0, digest(fd, 0, 200), counter=counter)

    part.read(120)
    part.seek(0)
    part.read()

    assert counter.total == 200


def test_a_file_that_ends_early_has_changed(fd: int) -> None:
    part = FilePart(fd, 0, digest(fd, 0, 200))
    os.ftruncate(fd, 10)

    with pytest.raises(SourceChanged):
        part.readall()


def test_a_part_says_when_it_was_read_last(fd: int) -> None:
    times = iter([1.0, 2.0])
    part = FilePart(fd, 0, digest(fd, 0, 200), now=lambda: next(times))
    begun = part.moved_at

    part.read(1)

    assert (begun, part.moved_at) == (1.0, 2.0)


def test_nothing_is_known_of_what_a_peer_has_before_it_is_sent(fd: int) -> None:
    assert FilePart(fd, 0, digest(fd, 0, 200)).unacknowledged() is None
