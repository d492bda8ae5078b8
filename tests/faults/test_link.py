"""The bad link itself: each fault is what it says, to the byte, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from petal_s3.demo.link import Link, Shape
from petal_s3.demo.recorded_link import LinkThread

DEADLINE_S = 20.0
MIB = 1024 * 1024


@dataclass
class Target:
    """A server that keeps what it gets and gives back the same."""

    url: str = ""
    got: list[bytearray] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = bytearray()
        self.got.append(mine)
        try:
            while block := await reader.read(MIB):
                mine += block
                writer.write(block)
                await writer.drain()
            self.ends.append("fin")
        except ConnectionError:
            self.ends.append("rst")
        finally:
            writer.transport.abort()


class Caller:
    """One connection through the bad link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), DEADLINE_S)

    async def end(self) -> str:
        """How the other side ended it."""
        try:
            while await asyncio.wait_for(self.reader.read(MIB), DEADLINE_S):
                pass
        except ConnectionError:
            return "rst"
        return "fin"

    async def hears_nothing(self) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.reader.read(1), 0.1)
            return False
        return True


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    made = Target()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.fixture
async def chaos(target: Target) -> AsyncIterator[Link]:
    async with Link(target.url, buffer_bytes=16 * 1024) as made:
        yield made


@pytest.fixture
async def call(chaos: Link) -> AsyncIterator[Callable[[], Caller]]:
    made: list[Caller] = []

    async def dial() -> Caller:
        made.append(Caller(*await asyncio.open_connection("127.0.0.1", chaos.port)))
        return made[-1]

    yield dial
    for caller in made:
        caller.writer.transport.abort()


Call = Callable[[], "asyncio.Future[Caller]"]


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


async def test_bytes_pass_unchanged_and_are_counted(
    chaos: Link, target: Target, call: Call
) -> None:
    data = bytes(range(256)) * 4096
    one, other = await call(), await call()

    one.say(data)
    other.say(b"more")
    heard = await one.hear(len(data)), await other.hear(4)

    assert heard == (data, b"more")
    assert chaos.accepted == 2
    assert sorted(each.up_bytes for each in chaos.connections) == [4, len(data)]
    assert (chaos.up_bytes, chaos.down_bytes) == (len(data) + 4, len(data) + 4)


async def test_an_end_is_passed_on(chaos: Link, target: Target, call: Call) -> None:
    caller = await call()
    caller.say(b"all")
    caller.writer.write_eof()

    assert await caller.hear(3) == b"all"
    assert await caller.end() == "fin"
    await until(lambda: target.ends == ["fin"])
    await until(lambda: not chaos.open)


async def test_a_refusal_is_a_refusal_and_the_port_stays(chaos: Link, call: Call) -> None:
    before = await call()
    chaos.refuse()
    with pytest.raises(ConnectionRefusedError):
        await call()
    before.say(b"still")
    assert await before.hear(5) == b"still"

    chaos.forward()
    after = await call()
    after.say(b"here")
    assert await after.hear(4) == b"here"


async def test_a_lost_syn_is_neither_accepted_nor_refused(chaos: Link, call: Call) -> None:
    chaos.lose()
    for _ in range(3):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call(), 0.1)

    chaos.forward()
    caller = await call()
    caller.say(b"here")
    assert await caller.hear(4) == b"here"


async def test_a_black_hole_takes_everything_and_says_nothing(
    chaos: Link, target: Target, call: Call
) -> None:
    before = await call()
    before.say(b"one")
    await before.hear(3)
    chaos.black_hole()
    after = await call()
    for caller in (before, after):
        caller.say(b"x" * MIB)

    await until(lambda: chaos.up_bytes == 3 + 2 * MIB)
    assert await before.hears_nothing()
    assert await after.hears_nothing()
    assert target.got == [b"one"]


async def test_silence_tells_neither_side_and_may_end(
    chaos: Link, target: Target, call: Call
) -> None:
    caller = await call()
    caller.say(b"a")
    await caller.hear(1)
    chaos.silence()
    caller.say(b"b")
    silent = await caller.hears_nothing()
    other = await call()
    other.say(b"c")

    assert await other.hear(1) == b"c"
    assert silent
    assert target.got == [b"a", b"c"]
    chaos.go_on()
    assert await caller.hear(1) == b"b"


@pytest.mark.parametrize(("verb", "told"), [(Link.reset, "rst"), (Link.hang_up, "fin")])
async def test_all_connections_end_now_as_they_are_told(
    chaos: Link, target: Target, call: Call, verb: Callable[[Link], None], told: str
) -> None:
    callers = [await call(), await call()]
    for caller in callers:
        caller.say(b"a")
        await caller.hear(1)

    verb(chaos)

    assert chaos.open == []
    assert [await caller.end() for caller in callers] == [told, told]
    await until(lambda: target.ends == [told, told])
    again = await call()
    again.say(b"b")
    assert await again.hear(1) == b"b"


async def test_a_cut_refuses_too(chaos: Link, call: Call) -> None:
    caller = await call()
    await until(lambda: chaos.open)
    chaos.cut()

    assert await caller.end() == "rst"
    with pytest.raises(ConnectionRefusedError):
        await call()


@pytest.mark.parametrize("size", [0, 1, 4095, 100_000])
async def test_a_cut_comes_after_exactly_so_many_bytes(
    chaos: Link, target: Target, call: Call, size: int
) -> None:
    caller, idle = await call(), await call()
    idle.say(b"x")
    await idle.hear(1)
    chaos.cut_after(up=size, then=chaos.refuse)
    caller.say(b"y" * MIB)

    assert await caller.end() == "rst"
    assert await idle.end() == "rst"
    await until(lambda: len(target.ends) == 2)
    assert chaos.up_bytes == size + 1
    assert sorted(map(len, target.got)) == sorted([1, size])
    with pytest.raises(ConnectionRefusedError):
        await call()


async def test_a_cut_may_count_each_connection_by_itself(
    chaos: Link, target: Target, call: Call
) -> None:
    chaos.cut_after(up=1000, each=True)
    first, second = await call(), await call()
    second.say(b"x" * 999)
    await second.hear(999)
    for caller in (first, await call()):
        caller.say(b"y" * 2000)
        assert await caller.end() == "rst"

    second.say(b"x")
    await until(lambda: sorted(map(len, target.got)) == [1000, 1000, 1000])
    second.say(b"x")
    assert await second.end() == "rst"


async def test_an_answer_may_be_cut_to_the_byte(chaos: Link, call: Call) -> None:
    chaos.cut_after(down=5)
    caller = await call()
    caller.say(b"0123456789")

    assert await caller.hear(5) == b"01234"
    assert await caller.end() == "rst"


async def test_a_stall_stops_the_sender_and_may_end(
    chaos: Link, target: Target, call: Call
) -> None:
    chaos.stall_after(up=50_000)
    caller = await call()
    caller.say(b"x" * (8 * MIB))
    await until(lambda: chaos.open and not chaos.open[0].going.is_set())
    held_back = caller.writer.transport.get_write_buffer_size()

    assert chaos.up_bytes == 50_000
    chaos.go_on()
    assert await caller.hear(8 * MIB)
    assert held_back > 0
    assert len(target.got[0]) == 8 * MIB


@pytest.mark.parametrize("slow", [Shape(up_bytes_s=100_000), Shape(down_bytes_s=100_000)])
async def test_a_slow_link_is_slow_and_holds_the_sender_back(
    chaos: Link, call: Call, slow: Shape
) -> None:
    chaos.shape(slow)
    caller = await call()
    caller.say(b"x" * 60_000)
    began = time.monotonic()
    await caller.hear(60_000)

    assert time.monotonic() - began > 0.3  # a sleep never ends early

    chaos.shape(Shape())
    caller.say(b"x" * MIB)
    assert len(await caller.hear(MIB)) == MIB


async def test_all_connections_share_one_rate(chaos: Link, call: Call) -> None:
    chaos.shape(Shape(up_bytes_s=100_000))
    callers = [await call() for _ in range(4)]
    began = time.monotonic()
    for caller in callers:
        caller.say(b"x" * 15_000)
    for caller in callers:
        await caller.hear(15_000)

    assert time.monotonic() - began > 0.3


async def test_a_slow_link_does_not_swallow_megabytes_ahead(target: Target) -> None:
    async with Link(target.url, buffer_bytes=8 * 1024, shape=Shape(up_bytes_s=1)) as chaos:
        with socket.socket() as sender:
            sender.setblocking(False)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * 1024)
            await asyncio.get_running_loop().sock_connect(sender, ("127.0.0.1", chaos.port))
            await until(lambda: chaos.open)
            taken = 0
            for _ in range(50):
                with contextlib.suppress(BlockingIOError):
                    taken += sender.send(bytes(64 * 1024))
                await asyncio.sleep(0)

    assert taken < 256 * 1024


async def test_latency_delays_and_does_not_slow(chaos: Link, call: Call) -> None:
    chaos.shape(Shape(latency_s=0.1))
    caller = await call()
    began = time.monotonic()
    caller.say(b"x" * 300_000)
    await caller.hear(1)
    first_s = time.monotonic() - began
    await caller.hear(299_999)
    last_s = time.monotonic() - began

    assert first_s > 0.19  # there and back
    assert last_s < 2.0  # one block after the other would take 4 s


async def test_a_schedule_lives_and_dies_by_itself(chaos: Link, call: Call) -> None:
    chaos.schedule(up_s=0.05, down_s=0.05)
    ends = []
    for _ in range(3):
        caller = None
        while caller is None:
            with contextlib.suppress(OSError):
                caller = await call()
            await asyncio.sleep(0.002)
        ends.append(await caller.end())
    chaos.heal()
    caller = await call()
    caller.say(b"well")

    assert ends == ["rst"] * 3
    assert await caller.hear(4) == b"well"


async def test_two_links_take_turns_and_a_switch_ends_what_the_old_one_had(
    chaos: Link, call: Call
) -> None:
    fast, slow = Shape(up_bytes_s=1e6), Shape(up_bytes_s=1e5)
    seen = set()
    chaos.alternate([(fast, 0.05), (slow, 0.05)])
    for _ in range(4):
        caller = await call()
        await until(lambda: chaos.open)
        seen.add(chaos.shaped)
        assert await caller.end() == "rst"

    assert seen == {fast, slow}


async def test_a_target_that_is_away_resets_its_callers(target: Target) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with Link(f"127.0.0.1:{nobody.getsockname()[1]}") as chaos:
            reader, writer = await asyncio.open_connection("127.0.0.1", chaos.port)
            caller = Caller(reader, writer)
            assert await caller.end() == "rst"
            writer.transport.abort()


async def test_nothing_is_left_running(target: Target) -> None:
    before = asyncio.all_tasks()
    chaos = Link(target.url)
    await chaos.start()
    chaos.alternate([(Shape(), 60)])
    chaos.black_hole()
    reader, writer = await asyncio.open_connection("127.0.0.1", chaos.port)
    await until(lambda: chaos.open)

    await chaos.stop()

    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", chaos.port)
    assert await Caller(reader, writer).end() == "rst"
    writer.transport.abort()


def test_code_without_a_loop_has_it_in_a_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with LinkThread(f"http://127.0.0.1:{port}") as far:
            near = socket.create_connection(("127.0.0.1", far.link.port), DEADLINE_S)
            near.sendall(b"GET / HTTP/1.1\r\nHost: there\r\n\r\n")
            with near, server.accept()[0] as there:
                assert there.recv(5) == b"GET /"
                far.cut()
                with pytest.raises(ConnectionResetError):
                    near.recv(1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", far.link.port), DEADLINE_S)
