"""A bad link: a TCP proxy that knows no HTTP and misbehaves as it is told, at any moment.

Two things are told apart. The listener decides about new connections (``forward``, ``refuse``,
``lose``, ``black_hole``); those that are open go on until they are ended (``reset``, ``hang_up``)
or fall silent (``silence``, ``go_on``). ``cut`` is both: refused and reset.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from petal_s3.demo.carry import Carrier, Connection, Plan, Shape, Way
from petal_s3.demo.listener import Listener
from petal_s3.demo.programmes import alive_and_dead, in_turn

__all__ = ["Connection", "Link", "Shape"]


class Link:
    """The proxy. Its verbs are plain calls from its own loop and take effect at once."""

    def __init__(
        self,
        target: str = "",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        shape: Shape | None = None,
        buffer_bytes: int = 64 * 1024,
    ) -> None:
        """``target``: see `lead_to`. ``buffer_bytes``: what the kernel may hold for a
        connection, each way; small, it keeps a sender from running far ahead of a slow link.
        """
        self.lead_to(target)
        self.connections: list[Connection] = []
        """All there ever were, in the order of their arrival."""
        self._listener = Listener(host, port, buffer_bytes)
        self._carrier = Carrier(shape or Shape(), buffer_bytes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._programme: asyncio.Task[None] | None = None
        self._swallows = False

    def lead_to(self, target: str) -> None:
        """From the next connection on; ``target``: ``host:port`` or a URL."""
        where = urlsplit(target if "//" in target else f"tcp://{target}")
        self.target = (str(where.hostname), int(where.port or 0))
        self._scheme = where.scheme

    @property
    def url(self) -> str:
        """What to use instead of the target."""
        return f"{self._scheme}://{self._listener.host}:{self.port}"

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def accepted(self) -> int:
        return len(self.connections)

    @property
    def up_bytes(self) -> int:
        return sum(one.up_bytes for one in self.connections)

    @property
    def down_bytes(self) -> int:
        return sum(one.down_bytes for one in self.connections)

    @property
    def open(self) -> list[Connection]:
        return [one for one in self.connections if one.is_open]

    async def start(self) -> str:
        """Listen and forward; returns the URL to use instead of the target."""
        self._listener.take_port()
        self.forward()
        return self.url

    async def stop(self) -> None:
        """End everything; nothing is left running."""
        self._stop_programme()
        self.reset()
        self._listener.give_port()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Link:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- the listener: what happens to new connections

    def forward(self) -> None:
        """New connections reach the target. What is silent or swallowed stays so."""
        self._swallows = False
        self._listener.listen(self._arrived)

    def refuse(self) -> None:
        """New connections are refused."""
        self._listener.shut()

    def lose(self) -> None:
        """The SYN of a new connection is lost: neither accepted nor refused (Linux)."""
        self._listener.lose()

    def black_hole(self) -> None:
        """All connections, new and open, take everything and never answer."""
        for one in self.open:
            one.swallows = True
        self._swallows = True
        self._listener.listen(self._arrived)

    # -- the connections that are open

    def silence(self) -> None:
        """Nothing passes any more, neither way, and neither side is told."""
        for one in self.open:
            one.going.clear()

    def go_on(self) -> None:
        """What was silent or stalled goes on where it stopped."""
        for one in self.open:
            one.going.set()

    def reset(self) -> None:
        """End all connections with RST."""
        for one in self.open:
            one.end(reset=True)

    def hang_up(self) -> None:
        """End all connections with FIN."""
        for one in self.open:
            one.end(reset=False)

    def cut(self) -> None:
        """The link is gone: refuse, and reset."""
        self._listener.shut()
        self.reset()

    # -- what happens later

    def cut_after(
        self,
        *,
        up: int | None = None,
        down: int | None = None,
        each: bool = False,
        reset: bool = True,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Reset when exactly so many more bytes have passed, in all or on ``each`` connection.

        In all: every connection ends, once. ``reset=False``: politely. ``then``: what the link
        does from there on, as ``link.refuse``; by itself it forwards again.
        """

        def act(connection: Connection) -> None:
            for one in [connection] if each else self.open:
                one.end(reset=reset)
            then()

        self._plan(up, down, each, act)

    def stall_after(
        self, *, up: int | None = None, down: int | None = None, each: bool = False
    ) -> None:
        """As :meth:`cut_after`, but fall silent: nothing is read, the sender's window fills.
        It ends with :meth:`go_on`; on ``each`` only with :meth:`heal`."""

        def act(connection: Connection) -> None:
            for one in [connection] if each else self.open:
                one.going.clear()

        self._plan(up, down, each, act)

    @property
    def shaped(self) -> Shape:
        return self._carrier.shape

    def shape(self, shape: Shape) -> None:
        """Carry bytes like this from now on."""
        self._carrier.shape = shape

    @property
    def rate_bytes_s(self) -> float:
        """Bytes per second towards the target; 0 is no limit. May be set from any thread."""
        return self.shaped.up_bytes_s

    @rate_bytes_s.setter
    def rate_bytes_s(self, rate: float) -> None:
        self.shape(replace(self.shaped, up_bytes_s=rate))

    def schedule(
        self, *, up_s: float, down_s: float, down: Callable[[], object] | None = None
    ) -> None:
        """Alive for ``up_s``, then dead for ``down_s``, over and over; ``down``: how it dies."""
        self._run(alive_and_dead(self.forward, up_s, down or self.cut, down_s))

    def alternate(self, turns: Sequence[tuple[Shape, float]]) -> None:
        """Several links in turn, each for its seconds; a switch resets what the old one had."""
        self._run(in_turn(turns, self.shape, self.reset))

    def heal(self) -> None:
        """Forget every plan, programme and shape; forward. What is open and silent goes on."""
        self._stop_programme()
        self._carrier.plans.clear()
        self.shape(Shape())
        self.go_on()
        self.forward()

    # -- how it is done

    def _arrived(self, client: socket.socket, server: socket.socket) -> None:
        connection = Connection(client, server, self._swallows)
        connection.going.set()
        self.connections.append(connection)
        connection.task = self._keep(self._carrier.carry(connection, self.target))

    def _plan(
        self, up: int | None, down: int | None, each: bool, act: Callable[[Connection], None]
    ) -> None:
        wanted: list[tuple[Way, int | None]] = [("up", up), ("down", down)]
        self._carrier.plans += [Plan(way, n, each, act) for way, n in wanted if n is not None]

    def _run(self, programme: Coroutine[object, object, None]) -> None:
        self._stop_programme()
        self._programme = self._keep(programme)

    def _stop_programme(self) -> None:
        if self._programme is not None:
            self._programme.cancel()
            self._programme = None

    def _keep(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
