"""Carry the bytes of a connection both ways: how fast, how late, how far, and when no more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["up", "down"]
Block = tuple[float, bytes]

WAYS: tuple[Way, Way] = ("up", "down")
_RESET = struct.pack("ii", 1, 0)
_END = b""
_LATE_S = 0.1


@dataclass(frozen=True)
class Shape:
    """How a link carries bytes, all connections together; 0 is no limit, no delay."""

    up_bytes_s: float = 0
    down_bytes_s: float = 0
    latency_s: float = 0
    """One way."""

    def rate(self, way: Way) -> float:
        return self.up_bytes_s if way == "up" else self.down_bytes_s


@dataclass(eq=False)
class Connection:
    """One connection as the proxy sees it; bytes are counted when they come in."""

    client: socket.socket
    server: socket.socket
    swallows: bool
    bytes: dict[Way, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    is_open: bool = True
    going: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def up_bytes(self) -> int:
        return self.bytes["up"]

    @property
    def down_bytes(self) -> int:
        return self.bytes["down"]

    def end(self, *, reset: bool) -> None:
        """Close both sides, now: with RST, or politely."""
        self.is_open = False
        loop = asyncio.get_running_loop()
        for side in (self.client, self.server):
            if side.fileno() < 0:
                continue
            # Before the descriptor is free for another socket.
            loop.remove_reader(side)
            loop.remove_writer(side)
            if reset:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.close()
        if self.task is not None:
            self.task.cancel()


@dataclass(eq=False)
class Plan:
    """What happens when so many more bytes have come this way, in all or on each connection."""

    way: Way
    bytes: int
    each: bool
    act: Callable[[Connection], None]
    passed: dict[Connection | None, int] = field(default_factory=dict)

    def left(self, connection: Connection) -> int:
        return self.bytes - self.passed.get(connection if self.each else None, 0)

    def count(self, connection: Connection, size: int) -> None:
        whose = connection if self.each else None
        self.passed[whose] = self.passed.get(whose, 0) + size


class Carrier:
    """What all connections of a link share: its shape, and what is planned."""

    def __init__(self, shape: Shape, buffer_bytes: int) -> None:
        self.shape = shape
        self.plans: list[Plan] = []
        self._buffer_bytes = buffer_bytes
        self._free_at: dict[Way, float] = {"up": 0.0, "down": 0.0}

    async def carry(self, connection: Connection, target: tuple[str, int]) -> None:
        """Everything about one connection, until both sides have ended."""
        work: list[asyncio.Future[None]] = []
        try:
            if not connection.swallows:
                await asyncio.get_running_loop().sock_connect(connection.server, target)
            for way in WAYS:
                on: asyncio.Queue[Block] = asyncio.Queue(64)
                work.append(asyncio.ensure_future(self._take(connection, way, on)))
                work.append(asyncio.ensure_future(self._give(connection, way, on)))
            await asyncio.gather(*work)
            connection.end(reset=False)
        except OSError:
            connection.end(reset=True)
        finally:
            for task in work:
                task.cancel()

    async def _take(self, connection: Connection, way: Way, on: asyncio.Queue[Block]) -> None:
        source = connection.client if way == "up" else connection.server
        loop = asyncio.get_running_loop()
        block = b"-"
        while block != _END and connection.is_open:
            if connection.swallows and way == "down":
                return  # nobody will ever hear it
            await _readable(source)
            await connection.going.wait()
            if size := self._mouthful(connection, way):
                block = source.recv(size)
                self._count(connection, way, len(block))
                await self._pace(way, len(block))
                if not connection.swallows:
                    await on.put((loop.time() + self.shape.latency_s, block))
                elif block == _END:
                    connection.end(reset=False)
            if self._mouthful(connection, way) == 0:
                await on.join()  # what is planned happens after the last byte, not before
                self._meet(connection, way)

    async def _give(self, connection: Connection, way: Way, on: asyncio.Queue[Block]) -> None:
        target = connection.server if way == "up" else connection.client
        loop = asyncio.get_running_loop()
        while True:
            due_at, block = await on.get()
            if due_at > loop.time():
                await asyncio.sleep(due_at - loop.time())
            await connection.going.wait()
            if block == _END:
                target.shutdown(socket.SHUT_WR)
                on.task_done()
                return
            if not connection.swallows:
                await loop.sock_sendall(target, block)
            on.task_done()

    def _mouthful(self, connection: Connection, way: Way) -> int:
        """Bytes to take at once: about 50 ms' worth, and no further than to what is planned."""
        rate = self.shape.rate(way)
        size = max(1, min(self._buffer_bytes, int(rate / 20))) if rate else self._buffer_bytes
        return min([size, *(plan.left(connection) for plan in self.plans if plan.way == way)])

    async def _pace(self, way: Way, size: int) -> None:
        if rate := self.shape.rate(way):
            now = asyncio.get_running_loop().time()
            # A sleep ends late; what it took too long may be made up for.
            self._free_at[way] = max(self._free_at[way], now - _LATE_S) + size / rate
            await asyncio.sleep(self._free_at[way] - now)

    def _count(self, connection: Connection, way: Way, size: int) -> None:
        connection.bytes[way] += size
        for plan in self.plans:
            if plan.way == way:
                plan.count(connection, size)

    def _meet(self, connection: Connection, way: Way) -> None:
        for plan in tuple(self.plans):
            if plan.way == way and plan.left(connection) <= 0:
                if not plan.each:
                    self.plans.remove(plan)
                plan.act(connection)


async def _readable(sock: socket.socket) -> None:
    """Wait until there is something to read, without taking any of it."""
    loop, number = asyncio.get_running_loop(), sock.fileno()
    ready = asyncio.Event()
    # By its number: a socket that is new to the loop is described in full, each time.
    loop.add_reader(number, ready.set)
    try:
        await ready.wait()
    finally:
        if sock.fileno() >= 0:
            loop.remove_reader(number)
