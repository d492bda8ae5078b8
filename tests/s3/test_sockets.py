"""The sockets of connections to S3: a window that may grow, and what the kernel tells of them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from robot import until

from petal_s3.core.settings import MIB
from petal_s3.s3.checksums import digest
from petal_s3.s3.request_body import ByteCounter, FilePart
from petal_s3.s3.tcp import Sockets, new_socket, tcp_info, unsent
from tests.support.authority import Authority

ANY = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
READ = 600_000
SIZE = 16 * MIB  # more than all buffers on the way


def option(made: socket.socket, level: int, name: int) -> int:
    return made.getsockopt(level, name)


def test_the_kernel_may_grow_the_window_of_a_long_link() -> None:
    with socket.socket() as plain, new_socket(ANY) as made:
        theirs, ours = (option(one, socket.SOL_SOCKET, socket.SO_SNDBUF) for one in (plain, made))

        assert ours == theirs  # set at all, it would not grow any more


def test_little_waits_in_the_kernel_unsent() -> None:
    with new_socket(ANY) as made:
        assert 0 < option(made, socket.IPPROTO_TCP, 25) <= MIB  # TCP_NOTSENT_LOWAT


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket, Sockets]]:
    """A connection: our end, its peer's, and what made ours."""
    sockets = Sockets()
    with socket.create_server(("127.0.0.1", 0)) as wire:
        ours = sockets.make(ANY)
        ours.setblocking(True)
        ours.connect(wire.getsockname())
        peer, _ = wire.accept()
        with ours, peer:
            yield ours, peer, sockets


def test_what_the_peer_has_is_counted_by_the_kernel(
    pair: tuple[socket.socket, socket.socket, Sockets],
) -> None:
    ours, peer, _ = pair
    before = tcp_info(ours)
    ours.sendall(b"x" * 5000)
    peer.recv(5000, socket.MSG_WAITALL)

    after = tcp_info(ours)
    assert before is not None
    assert after is not None
    assert after.acked - before.acked == 5000


def test_a_round_trip_is_known_while_a_connection_is_open(
    pair: tuple[socket.socket, socket.socket, Sockets],
) -> None:
    ours, _, sockets = pair
    known = sockets.round_trip_s()
    ours.close()

    assert known is not None
    assert 0 < known < 5.0
    assert sockets.round_trip_s() is None


def test_what_a_full_window_holds_back_is_unsent(
    pair: tuple[socket.socket, socket.socket, Sockets],
) -> None:
    ours, _, _ = pair
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 65536)

    assert unsent(ours) > 0


# -- how far a body has come


class Reader(threading.Thread):
    """A server that reads ``READ`` bytes and no more."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._wire = socket.create_server(("127.0.0.1", 0))
        self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._context = context
        self._end = threading.Event()
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._wire.getsockname()[1]}"
        self.came = 0
        """What came to its machine, read or not."""

    def run(self) -> None:
        with self._wire, self._wire.accept()[0] as plain:
            context = self._context
            peer = context.wrap_socket(plain, server_side=True) if context else plain
            with peer:
                left = READ
                while left:
                    left -= len(peer.recv(min(left, 16 * 1024)))
                while not self._end.wait(0.01):
                    waits = fcntl.ioctl(peer.fileno(), termios.FIONREAD, bytes(4))
                    self.came = READ + struct.unpack("i", waits)[0]

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_body_is_as_far_as_its_peer_has_acknowledged(tmp_path: Path, tls: bool) -> None:
    authority = Authority(tmp_path)
    trusted = ssl.create_default_context(cafile=str(authority.file))
    path = tmp_path / "log"
    path.write_bytes(bytes(SIZE))
    fd, counter = os.open(path, os.O_RDONLY), ByteCounter()
    part = FilePart(fd, 0, digest(fd, 0, SIZE), counter=counter)
    connector = aiohttp.TCPConnector(socket_factory=new_socket, ssl=trusted)
    with Reader(authority.server("127.0.0.1") if tls else None) as reader:
        async with aiohttp.ClientSession(connector=connector) as session:
            sending = asyncio.ensure_future(session.put(reader.url, data=part))
            await until(lambda: part.look() > READ // 2)
            seen: list[int] = []

            def rests() -> bool:
                seen.append(part.look())
                return seen[-100:] == [seen[-1]] * 100

            await until(rests)

            heads = 32 * 1024  # of the request, and of each record of TLS
            assert reader.came - heads <= part.look() <= reader.came + heads
            assert counter.acknowledged == part.look() < SIZE
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    os.close(fd)
