"""A part of a file as the body of a request."""

from __future__ import annotations

import os
import socket
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


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection that waits for nothing."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def test_what_lies_in_memory_is_read_without_waiting(fd: int) -> None:
    part = FilePart(fd, 50, digest(fd, 50, 100))
    buffer = bytearray(60)

    assert [part.read_at_hand(buffer) for _ in range(3)] in ([60, 40, 0], [0, 0, 0])
    assert part.position in {100, 0}  # not every file system tells


def test_the_kernel_sends_a_part_by_itself(fd: int, ends: tuple[socket.socket, ...]) -> None:
    near, far = ends
    part = FilePart(fd, 50, digest(fd, 50, 100))

    sent = part.hand_over(near.fileno())

    assert sent in {100, 0}  # not every file system tells what is in memory
    assert part.position == sent
    assert far.recv(200) == WHOLE[50:150] if sent else part.read() == WHOLE[50:150]


def test_a_file_that_ends_early_is_left_to_who_says_so(
    fd: int, ends: tuple[socket.socket, ...]
) -> None:
    part = FilePart(fd, 0, digest(fd, 0, 200))
    os.ftruncate(fd, 10)
    part.seek(10)

    assert part.hand_over(ends[0].fileno()) == 0
    assert part.read_at_hand(bytearray(200)) == 0


def test_a_socket_that_is_full_or_broken_takes_nothing(
    fd: int, ends: tuple[socket.socket, ...]
) -> None:
    near, far = ends
    part = FilePart(fd, 0, digest(fd, 0, 200))
    far.close()

    assert part.hand_over(near.fileno()) == 0
    assert part.position == 0


def test_an_md5_can_be_had_later_of_the_same_bytes_alone(fd: int) -> None:
    part = FilePart(fd, 50, digest(fd, 50, 100, md5=False))

    assert part.with_md5() == digest(fd, 50, 100)
    os.pwrite(fd, b"x", 60)
    with pytest.raises(SourceChanged):
        part.with_md5()
