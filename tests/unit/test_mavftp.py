"""The client of MAVFTP, a card as PX4 serves it, lines of every kind; all in virtual time."""

from __future__ import annotations

import asyncio
import os
import random
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal_s3.autopilot import mavftp
from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.ftp_client import (
    Changed,
    Entry,
    FtpError,
    Held,
    NotFound,
    Shorter,
    Silence,
)
from petal_s3.autopilot.mavftp import Nak, Opcode, Request
from petal_s3.demo.card_server import CardServer
from tests.support.card_line import Line, World
from tests.support.virtual_time import in_virtual_time

T = TypeVar("T")
LOG, OTHER = "/fs/microsd/log/2026-11-30/10_00_00.ulg", "/fs/microsd/log/other.ulg"
SIZE = 200_000
SLOW, FAST = 5_760.0, 92_160.0
"""Bytes per second of 57600 and 921600 baud."""


@dataclass
class Played:
    """A world and a client in it; ``got``: what was handed out."""

    world: World
    card: MavftpCard
    got: bytearray

    async def sink(self, block: bytes) -> None:
        self.got += block

    async def fetch(self, start: int = 0, end: int = SIZE, path: str = LOG) -> bytes:
        """Read; returns what was handed out."""
        await self.card.read(path, start, end, self.sink)
        return bytes(self.got)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card with two logs."""
    root = tmp_path_factory.mktemp("card")
    for path, seed, size in ((LOG, 1, SIZE), (OTHER, 2, SIZE)):
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(random.Random(seed).randbytes(size))
    (root / "fs/microsd/log/empty.ulg").touch()
    return root


@pytest.fixture(scope="module")
def content(root: Path) -> bytes:
    return (root / LOG.lstrip("/")).read_bytes()


Play = Callable[[Callable[[Played], Awaitable[T]]], T]


@pytest.fixture
def play(root: Path, request: pytest.FixtureRequest) -> Play[T]:
    """Plays a scene in virtual time; its line is a parameter of the test."""
    line = getattr(request, "param", Line())

    def played(scene: Callable[[Played], Awaitable[T]], **more: object) -> T:
        return play_on(CardServer(root), line, scene, **more)

    return played


def play_on(
    server: CardServer,
    line: Line,
    scene: Callable[[Played], Awaitable[T]],
    *,
    seed: int = 1,
    may_reset: bool = False,
    max_rate: int = 0,
) -> T:
    async def run() -> T:
        world = World(server, line, seed)
        played = Played(world, world.card(may_reset=may_reset, max_rate=max_rate), bytearray())
        try:
            return await scene(played)
        finally:
            await played.card.close()
            server.close()

    return in_virtual_time(run)


# -- bytes


def test_what_is_no_reply_is_not_understood() -> None:
    request = Request(Opcode.OPEN, b"/a").payload(7)
    assert len(request) == 251
    assert mavftp.parse(request) is None
    assert mavftp.parse(b"") is None
    too_long = bytearray(request)
    too_long[3:5] = bytes([128, 240])
    assert mavftp.parse(bytes(too_long)) is None


def test_zeros_that_mavlink_leaves_out_are_put_back() -> None:
    reply = mavftp.parse(bytes([8, 0, 3, 128, 4, 4]))
    assert reply is not None
    assert (reply.answers, reply.session, reply.opcode) == (7, 3, 4)
    assert mavftp.number(reply) == 0


@pytest.mark.parametrize(
    ("data", "nak", "errno"),
    [
        (b"\x0a", Nak.NOT_FOUND, None),
        (b"\x02\x02", Nak.NOT_FOUND, 2),
        (b"\x02\x05", Nak.ERRNO, 5),
        (b"\x02", Nak.ERRNO, None),
        (b"", Nak.FAIL, None),
        (b"\x00", Nak.FAIL, None),
    ],
)
def test_a_refusal_says_why(data: bytes, nak: int, errno: int | None) -> None:
    reply = mavftp.parse(bytes([1, 0, 0, 129, len(data), 4, 0, 0, 0, 0, 0, 0]) + data)
    assert reply is not None
    assert (reply.nak, reply.errno) == (nak, errno)


def test_a_listing_is_read_whatever_is_in_it() -> None:
    lines = [b"Fa.ulg\t12", b"Db", b"S", b"D.", b"D..", b"F\t5", b"Fno size", b"Fx\tq\t7", b"Z\xff"]
    lines += [b"F\xff\t1\t1790000000", b"F9\t" + b"9" * 30]
    data = b"\0".join(lines) + b"\0"
    reply = mavftp.Reply(1, 0, Opcode.LIST, 0, data, 0)
    count, entries = mavftp.entries(reply)
    assert count == len(lines)
    assert entries == [
        Entry("a.ulg", is_directory=False, size=12, modified=None),
        Entry("b", is_directory=True, size=0, modified=None),
        Entry("no size", is_directory=False, size=0, modified=None),
        Entry("x", is_directory=False, size=0, modified=7),
        Entry("\udcff", is_directory=False, size=1, modified=1790000000),
        Entry("9", is_directory=False, size=0, modified=None),
    ]
    assert mavftp.path_bytes("\udcff") == b"\xff"


# -- listing and opening


@pytest.mark.parametrize("with_times", [True, False])
def test_a_directory_is_listed_with_times_where_the_autopilot_tells_them(
    tmp_path: Path, with_times: bool
) -> None:
    names = [f"{number:02}_00_00.ulg" for number in range(60)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 7)
    os.utime(tmp_path / names[0], (0, 1_790_000_000))
    (tmp_path / "sess001").mkdir()

    async def scene(played: Played) -> list[Entry]:
        found = await played.card.list_directory("/")
        assert await played.card.list_directory("/") == found
        return found

    found = play_on(CardServer(tmp_path, lists_times=with_times), Line(loss=0.05), scene)
    assert [one.name for one in found] == [*names, "sess001"]
    assert found[0].size == 7
    assert found[0].modified == (1_790_000_000 if with_times else None)
    assert found[-1].is_directory


def test_a_card_with_500_logs_is_listed_in_3_seconds_at_921600_baud(tmp_path: Path) -> None:
    for number in range(500):
        day = tmp_path / f"2026-{number // 200 + 1:02}-{number // 10 % 20 + 1:02}"
        day.mkdir(exist_ok=True)
        (day / f"10_{number % 60:02}_{number % 10:02}.ulg").write_bytes(b"x" * number)

    async def scene(played: Played) -> tuple[int, float]:
        began, found = played.world.now, 0
        for day in await played.card.list_directory("/"):
            found += len(await played.card.list_directory(f"/{day.name}"))
        return found, played.world.now - began

    found, took_s = play_on(CardServer(tmp_path), Line(late_s=0.005), scene)
    assert found == 500
    assert took_s <= 3.0


def test_what_is_not_there_is_said_to_be_missing(play: Play[None]) -> None:
    async def scene(played: Played) -> None:
        for asked in (
            played.card.list_directory("/nowhere"),
            played.card.open_size("/nowhere.ulg"),
            played.card.crc32("/nowhere.ulg"),
            played.fetch(path="/nowhere.ulg"),
            played.card.open_size("/" + "x" * 300),
        ):
            with pytest.raises(NotFound):
                await asked

    play(scene)


def test_an_empty_directory_and_an_empty_file_are_no_failures(tmp_path: Path) -> None:
    (tmp_path / "empty.ulg").touch()
    (tmp_path / "none").mkdir()

    async def scene(played: Played) -> None:
        assert await played.card.list_directory("/none") == []
        assert await played.card.open_size("/empty.ulg") == 0
        assert await played.card.crc32("/empty.ulg") == 0
        assert await played.fetch(0, 0, "/empty.ulg") == b""

    play_on(CardServer(tmp_path), Line(), scene)


def test_a_listing_without_an_end_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "a.ulg").write_bytes(b"x")
    server = CardServer(tmp_path)
    answer = server.answer

    def endless(payload: bytes, now: float) -> bytes | None:
        return answer(payload[:8] + bytes(4) + payload[12:], now)

    server.answer = endless  # type: ignore[method-assign]

    async def scene(played: Played) -> None:
        with pytest.raises(FtpError, match="more than"):
            await played.card.list_directory("/")

    play_on(server, Line(bytes_s=1e9, late_s=0), scene)


def test_the_checksum_is_the_one_that_zlib_computes(play: Play[int | None], content: bytes) -> None:
    async def scene(played: Played) -> int | None:
        return await played.card.crc32(LOG)

    assert play(scene) == zlib.crc32(content)


def test_an_autopilot_that_computes_no_checksum_tells_none(root: Path) -> None:
    server = CardServer(root)
    del server._work[14]

    async def scene(played: Played) -> int | None:
        return await played.card.crc32(LOG)

    assert play_on(server, Line(), scene) is None


# -- reading


LINES = {
    "921600 baud": Line(FAST),
    "57600 baud": Line(SLOW),
    "921600 baud, 1 % loss": Line(FAST, loss=0.01),
    "57600 baud, 1 % loss": Line(SLOW, loss=0.01),
    "no more than two wait": Line(FAST, most_waiting=2),
    "a radio": Line(SLOW, late_s=0.1, jitter_s=0.05),
    "out of order": Line(FAST, jitter_s=0.02),
    "twice": Line(FAST, duplicates=0.2),
    "20 % loss": Line(FAST, loss=0.2),
}


@pytest.mark.parametrize("play", LINES.values(), ids=LINES.keys(), indirect=True)
def test_a_file_is_read_whole_and_in_order(play: Play[bytes], content: bytes) -> None:
    assert play(Played.fetch) == content


@pytest.mark.parametrize(
    ("line", "least"),
    [
        (Line(FAST), 0.95),
        (Line(SLOW), 0.95),
        (Line(FAST, loss=0.01), 0.90),
        (Line(SLOW, loss=0.01), 0.90),
        (Line(FAST, late_s=0.02, loss=0.01), 0.75),
        (Line(FAST, most_waiting=2), 0.95),
    ],
)
def test_the_line_is_filled(tmp_path: Path, line: Line, least: float) -> None:
    content = random.Random(3).randbytes(400_000)
    (tmp_path / "a.ulg").write_bytes(content)

    async def scene(played: Played) -> float:
        began = played.world.now
        assert await played.fetch(0, len(content), "/a.ulg") == content
        return len(content) / line.fits(played.world.now - began)

    assert play_on(CardServer(tmp_path), line, scene) >= least


def test_a_range_is_read_and_nothing_else(play: Play[None], content: bytes) -> None:
    async def scene(played: Played) -> None:
        for start, end in ((0, 1), (239, 478), (1000, 1000), (SIZE - 1, SIZE), (5, SIZE - 5)):
            played.got.clear()
            assert await played.fetch(start, end) == content[start:end]
            played.world.sent.clear()

    play(scene)


def test_a_limit_of_the_rate_is_kept(play: Play[float]) -> None:
    async def scene(played: Played) -> float:
        began = played.world.now
        await played.fetch(0, 50_000)
        return 50_000 / (played.world.now - began)

    assert 8_000 <= play(scene, max_rate=10_000) <= 10_500  # type: ignore[call-arg]


@pytest.mark.guarantee(
    "card",
    "heartbeats do not get through while a log is read",
    "reading slows down until they come as often as before",
)
@pytest.mark.parametrize("every_s", [0.02, 0.2, 1.0])
def test_others_keep_their_share_of_the_line(tmp_path: Path, every_s: float) -> None:
    """An autopilot drops what does not fit into its queue: heartbeats, too."""
    content, line = random.Random(3).randbytes(1_500_000), Line(FAST)
    (tmp_path / "a.ulg").write_bytes(content)

    async def scene(played: Played) -> tuple[float, float]:
        world = played.world
        world.let_others_send(every_s, played.card.heard_others, queue_s=0.025)
        await asyncio.sleep(20)
        await played.card.read("/a.ulg", 0, len(content) // 2, played.sink)
        began, heard = world.now, world.others_heard
        assert await played.fetch(len(content) // 2, len(content), "/a.ulg") == content
        took_s = world.now - began
        share = (world.others_heard - heard) * every_s / took_s
        return share, len(content) / 2 / line.fits(took_s)

    share, goodput = play_on(CardServer(tmp_path), line, scene)
    assert share >= 0.7
    assert goodput >= 0.6 * (1 - 0.0029 / every_s)


def test_a_window_is_never_larger_than_32_nor_sent_at_once(play: Play[None]) -> None:
    async def scene(played: Played) -> None:
        await played.fetch()
        times = [at for at, _ in played.world.sent]
        together = max(times.count(at) for at in set(times))
        assert together <= 3
        assert len(played.world.sent) - played.world.received <= 32

    play(scene)


def test_sessions_are_given_back(root: Path) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        await played.card.open_size(LOG)
        assert not server.session_is_open
        await played.fetch()
        assert not server.session_is_open

    play_on(server, Line(loss=0.05), scene)
    assert server.resets == 0


@pytest.mark.guarantee(
    "card",
    "a session is ended while a log is read",
    "the file is opened anew at the offset; at most a window and 64 KiB are read again",
)
def test_a_session_that_was_killed_is_opened_anew_at_the_offset(root: Path, content: bytes) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        def kill(payload: bytes) -> None:
            if len(played.world.sent) in {100, 300, 500}:
                server.close()

        played.world.before_answer = kill
        assert await played.fetch() == content
        reads = played.world.opcodes().count(Opcode.READ)
        again = 239 * reads - SIZE
        assert again <= 3 * (32 * 239 + 64 * 1024)

    play_on(server, Line(), scene)
    assert server.opened == 4


@pytest.mark.guarantee(
    "card",
    "another client of the autopilot ends our session and opens a file, under the same number",
    "its bytes are noticed by the end of the file, never handed on; reading goes on at the offset",
)
@pytest.mark.parametrize("size", [SIZE, SIZE - 1000, SIZE + 1000, 100])
def test_bytes_of_a_file_that_another_client_has_opened_are_never_handed_out(
    tmp_path: Path, size: int
) -> None:
    content = random.Random(1).randbytes(SIZE)
    (tmp_path / "a.ulg").write_bytes(content)
    (tmp_path / "b.ulg").write_bytes(random.Random(2).randbytes(size))
    server = CardServer(tmp_path)

    async def scene(played: Played) -> None:
        def take_over(payload: bytes) -> None:
            if len(played.world.sent) == 300 and payload[3] == Opcode.READ and server.opened == 1:
                server.close()
                server.answer(Request(Opcode.OPEN, b"/b.ulg").payload(9), played.world.now)
                loop_later(played, 4.0, server.close)

        played.world.before_answer = take_over
        assert await played.fetch(path="/a.ulg") == content
        assert server.resets == 0

    play_on(server, Line(), scene)
    assert server.opened == 3


@pytest.mark.guarantee(
    "card",
    "an autopilot reads no byte beyond the end, or once refused to, and another client opens a"
    " longer file before our first byte came",
    "its bytes are never handed on: before ours are, it is asked whether the file ends there",
)
def test_a_longer_file_that_was_opened_before_our_first_byte_came_is_noticed(
    tmp_path: Path,
) -> None:
    content = random.Random(1).randbytes(SIZE)
    (tmp_path / "a.ulg").write_bytes(content)
    (tmp_path / "b.ulg").write_bytes(random.Random(2).randbytes(SIZE + 1000))
    server = CardServer(tmp_path)

    async def scene(played: Played) -> None:
        refused = False

        def refuse_once(reply: bytes) -> bytes:
            nonlocal refused
            if reply[5] != Opcode.READ or refused:
                return reply
            refused = True
            return (reply[:3] + bytes([129, 1]) + reply[5:12] + b"\x01").ljust(len(reply), b"\0")

        def take_over(payload: bytes) -> None:
            if payload[3] == Opcode.READ and server.opened == 2:
                server.close()
                server.answer(Request(Opcode.OPEN, b"/b.ulg").payload(9), played.world.now)
                loop_later(played, 4.0, server.close)

        played.world.change_reply = refuse_once
        assert await played.fetch(path="/a.ulg") == content
        played.got.clear()
        played.world.before_answer = take_over
        assert await played.fetch(path="/a.ulg") == content

    play_on(server, Line(), scene)


def loop_later(played: Played, seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


def test_a_session_that_is_always_lost_is_no_endless_loop(root: Path) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        def kill(payload: bytes) -> None:
            if payload[3] == Opcode.READ:
                server.close()

        played.world.before_answer = kill
        with pytest.raises(FtpError, match="lost 5 times"):
            await played.fetch()

    play_on(server, Line(), scene)


def test_a_file_that_is_shorter_than_asked_for_is_not_read(play: Play[None]) -> None:
    async def scene(played: Played) -> None:
        with pytest.raises(Shorter):
            await played.fetch(0, SIZE + 1)
        assert not played.got

    play(scene)


def _grow(place: Path) -> None:
    with place.open("ab") as file:
        file.write(b"more")


def _shrink(place: Path) -> None:
    os.truncate(place, SIZE // 2)


@pytest.mark.guarantee(
    "card",
    "a log of the card grows or shrinks while it is read",
    "it is noticed, and the two are never mixed",
)
@pytest.mark.parametrize(("act", "raised"), [(_grow, Changed), (_shrink, Shorter)])
def test_a_file_that_changes_while_it_is_read_is_not_mixed(
    tmp_path: Path, content: bytes, act: Callable[[Path], None], raised: type[FtpError]
) -> None:
    place = tmp_path / "a.ulg"
    place.write_bytes(content)

    async def scene(played: Played) -> None:
        def change(_: bytes) -> None:
            if len(played.world.sent) == 300:
                act(place)

        played.world.before_answer = change
        with pytest.raises(raised):
            await played.fetch(path="/a.ulg")
        assert content.startswith(played.got)

    play_on(CardServer(tmp_path), Line(), scene)


def test_a_read_that_fails_is_tried_again_and_then_given_up(root: Path, content: bytes) -> None:
    left = 3

    def fail(reply: bytes) -> bytes:
        nonlocal left
        if reply[5] == Opcode.READ and left:
            left -= 1
            return reply[:3] + bytes([129, 1]) + reply[5:12] + b"\x01" + bytes(238)
        return reply

    async def scene(played: Played) -> bytes:
        played.world.change_reply = fail
        return await played.fetch()

    assert play_on(CardServer(root), Line(), scene) == content
    left = 1000
    with pytest.raises(FtpError, match="MAVFTP 1"):
        play_on(CardServer(root), Line(), scene)


def test_an_autopilot_that_reads_nothing_beyond_the_end_is_read_all_the_same(
    root: Path, content: bytes
) -> None:
    """MAVSDK 4.1.0 refuses a read that is longer than the rest of the file."""
    server = CardServer(root)
    answer = server.answer

    def strict(payload: bytes, now: float) -> bytes | None:
        size, offset = payload[4], int.from_bytes(payload[8:12], "little")
        reply = answer(payload, now)
        if reply is None or payload[3] != Opcode.READ or reply[3] != 128:
            return reply
        if offset + size > SIZE:
            return reply[:3] + bytes([129, 1]) + reply[5:12] + b"\x01" + bytes(238)
        return reply[:4] + bytes([size]) + reply[5 : 12 + size] + bytes(239 - size)

    server.answer = strict  # type: ignore[method-assign]
    assert play_on(server, Line(), Played.fetch) == content


def test_half_a_reply_is_completed(root: Path, content: bytes) -> None:
    draw = random.Random(5)

    def halve(reply: bytes) -> bytes:
        if reply[5] == Opcode.READ and reply[4] == 239 and draw.random() < 0.3:
            return reply[:4] + bytes([draw.randrange(1, 239)]) + reply[5:]
        return reply

    async def scene(played: Played) -> bytes:
        played.world.change_reply = halve
        return await played.fetch()

    assert play_on(CardServer(root), Line(loss=0.02), scene) == content


# -- what is answered by others, late or not at all


@pytest.mark.guarantee(
    "card",
    "the autopilot answers a request with what it had answered another client",
    "it is taken for no answer; the request is sent under another number",
)
def test_an_answer_that_was_kept_for_another_client_is_not_taken(root: Path) -> None:
    """PX4 answers a number that it answered last with the same reply, whoever asks."""
    server = CardServer(root)

    async def scene(played: Played) -> int:
        number = (played.card._peer.numbers.last + 1) % mavftp.SEQUENCES
        kept = server.answer(Request(Opcode.TERMINATE).payload(number), played.world.now)
        assert kept is not None
        return await played.card.open_size(LOG)

    assert play_on(server, Line(), scene) == SIZE


def test_a_silent_autopilot_is_said_to_be_silent(root: Path) -> None:
    async def scene(played: Played) -> float:
        played.world.line.loss = 1.0
        began = played.world.now
        with pytest.raises(Silence):
            await played.card.list_directory("/")
        with pytest.raises(Silence):
            await played.card.open_size(LOG)
        return played.world.now - began

    assert play_on(CardServer(root), Line(), scene) < 20


def test_a_line_that_is_cut_while_reading_is_noticed_and_what_came_is_kept(
    root: Path, content: bytes
) -> None:
    async def scene(played: Played) -> None:
        def cut(_: bytes) -> None:
            if len(played.world.sent) == 400:
                played.world.line.loss = 1.0

        played.world.before_answer = cut
        with pytest.raises(Silence):
            await played.fetch()
        here = len(played.got)
        assert here > 300 * 239 - 33_000
        played.world.line.loss = 0.0
        assert await played.fetch(here) == content

    play_on(CardServer(root), Line(), scene)


def test_a_line_that_comes_back_within_seconds_is_no_failure(root: Path, content: bytes) -> None:
    async def scene(played: Played) -> bytes:
        def cut(_: bytes) -> None:
            if len(played.world.sent) == 400:
                played.world.line.loss = 1.0
                loop_later(played, 3.0, lambda: setattr(played.world.line, "loss", 0.0))

        played.world.before_answer = cut
        return await played.fetch()

    assert play_on(CardServer(root), Line(), scene) == content


# -- sessions of others


def test_a_session_that_another_client_uses_is_waited_for(root: Path) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> float:
        server.answer(Request(Opcode.OPEN, OTHER.encode()).payload(9), played.world.now)
        loop_later(played, 8.0, server.close)
        began = played.world.now
        await played.card.open_size(LOG)
        return played.world.now - began

    assert 8 <= play_on(server, Line(), scene) <= 12
    assert server.resets == 0


@pytest.mark.parametrize(("idle_s", "most_s"), [(10, 12), (30, 43)])
def test_the_session_of_a_killed_client_ends_by_itself(
    root: Path, idle_s: float, most_s: float
) -> None:
    """PX4 counts the time in which nobody asks anything."""
    server = CardServer(root, idle_s=idle_s)

    async def scene(played: Played) -> float:
        server.answer(Request(Opcode.OPEN, OTHER.encode()).payload(9), played.world.now)
        began = played.world.now
        await played.card.open_size(LOG)
        return played.world.now - began

    assert play_on(server, Line(), scene, may_reset=True) <= most_s
    assert server.resets == 0


@pytest.mark.guarantee(
    "card",
    "another client uses the only session of the autopilot",
    "it is waited for in silence; sessions are reset only on a connection of our own, after 42 s",
)
@pytest.mark.parametrize("may_reset", [True, False])
def test_sessions_are_reset_only_on_a_connection_of_our_own(root: Path, may_reset: bool) -> None:
    server = CardServer(root, idle_s=1e9)

    async def scene(played: Played) -> None:
        server.answer(Request(Opcode.OPEN, OTHER.encode()).payload(9), played.world.now)
        began = played.world.now
        if may_reset:
            assert await played.card.open_size(LOG) == SIZE
        else:
            with pytest.raises(FtpError, match="another client"):
                await played.card.open_size(LOG)
        assert played.world.now - began >= 20

    play_on(server, Line(), scene, may_reset=may_reset)
    assert server.resets == (1 if may_reset else 0)


# -- when nothing may be asked


def test_nothing_is_asked_when_nothing_may_be(root: Path) -> None:
    async def scene(played: Played) -> None:
        played.world.hold = lambda: Held("The vehicle is armed.", reason="armed")
        for asked in (played.card.list_directory("/"), played.card.open_size(LOG), played.fetch()):
            with pytest.raises(Held):
                await asked
        assert played.world.sent == []

    play_on(CardServer(root), Line(), scene)


@pytest.mark.guarantee(
    "card",
    "the vehicle arms while a log is read",
    "no request leaves after that; what was proven by then is kept",
)
def test_nothing_leaves_from_the_moment_on_in_which_nothing_may(root: Path, content: bytes) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        held: list[float] = []

        def arm(_: bytes) -> None:
            if len(played.world.sent) == 500 and not held:
                held.append(played.world.now)

        played.world.before_answer = arm
        played.world.hold = lambda: Held("armed", reason="armed") if held else None
        with pytest.raises(Held):
            await played.fetch()
        assert max(at for at, _ in played.world.sent) <= held[0]
        here = len(played.got)
        assert here > 400 * 239 - 64 * 1024
        held.clear()
        assert server.session_is_open
        assert await played.fetch(here) == content

    play_on(server, Line(), scene)
    assert server.opened == 2
    assert server.resets == 0


def test_a_session_that_is_open_is_given_back_as_soon_as_it_may_be(root: Path) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        until = [0.0]

        def lend(_: bytes) -> None:
            if len(played.world.sent) == 300 and not until[0]:
                until[0] = played.world.now + 2.0

        played.world.before_answer = lend
        played.world.hold = lambda: (
            Held("lent", reason="deaf") if played.world.now < until[0] else None
        )
        with pytest.raises(Held):
            await played.fetch()
        assert server.session_is_open
        await asyncio.sleep(2.5)
        assert not server.session_is_open

    play_on(server, Line(), scene)


def test_two_who_ask_at_once_take_turns(root: Path, content: bytes) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        other = Played(played.world, played.card, bytearray())
        await asyncio.gather(played.fetch(), other.fetch(100, 5000), played.card.open_size(OTHER))
        assert (bytes(played.got), bytes(other.got)) == (content, content[100:5000])

    play_on(server, Line(), scene)


def test_a_read_that_is_cancelled_gives_its_session_back(root: Path) -> None:
    server = CardServer(root)

    async def scene(played: Played) -> None:
        task = asyncio.ensure_future(played.fetch())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.5)
        assert not server.session_is_open

    play_on(server, Line(), scene)


def test_a_sink_that_fails_ends_the_reading(root: Path) -> None:
    async def scene(played: Played) -> None:
        async def full(_: bytes) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            await played.card.read(LOG, 0, SIZE, full)
        assert await played.card.open_size(LOG) == SIZE

    play_on(CardServer(root), Line(), scene)


def test_a_slow_sink_slows_the_reading_down(root: Path) -> None:
    async def scene(played: Played) -> None:
        async def slow(block: bytes) -> None:
            await asyncio.sleep(5)
            played.got.extend(block)
            offsets = [int.from_bytes(one[8:12], "little") for _, one in played.world.sent[-300:]]
            ahead = max(one for one in offsets if one < SIZE - 500) - len(played.got)
            assert ahead <= 160 * 1024

        await played.card.read(LOG, 0, SIZE, slow)

    play_on(CardServer(root), Line(), scene)


# -- killed


@pytest.mark.guarantee(
    "card",
    "this process is killed at any request while a log is read",
    "the next one goes on at the offset, in a session of its own once the old one has ended",
)
def test_whoever_is_killed_at_any_request_is_followed_by_one_who_goes_on(
    root: Path, content: bytes
) -> None:
    size = 12_000

    async def scene(server: CardServer, kill_at: int) -> bool:
        world, got = World(server), bytearray()

        async def sink(block: bytes) -> None:
            got.extend(block)

        def kill(_: bytes) -> None:
            if len(world.sent) >= kill_at:
                world.line.loss = 1.0
                reading.cancel()

        world.before_answer = kill
        card = world.card()
        reading = asyncio.ensure_future(card.read(LOG, 0, size, sink))
        await asyncio.wait([reading])
        killed = reading.cancelled()
        await card.close()
        following = World(server)
        await following.card().read(LOG, len(got), size, sink)
        assert bytes(got) == content[:size]
        assert Opcode.RESET not in following.opcodes()
        return killed

    kill_at, killed = 0, True
    while killed:
        kill_at += 1
        server = CardServer(root)
        killed = in_virtual_time(lambda server=server, at=kill_at: scene(server, at))
        server.close()
    assert kill_at > size // 239


# -- everything at once


@pytest.mark.guarantee(
    "card",
    "a line that loses, delays, doubles and mixes up, and sessions that are killed and taken",
    "no wrong byte is handed on",
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_happens_no_wrong_byte_is_handed_out(
    root: Path, content: bytes, data: st.DataObject
) -> None:
    line = Line(
        bytes_s=data.draw(st.sampled_from([SLOW, FAST, 1e6])),
        late_s=data.draw(st.floats(0, 0.1)),
        jitter_s=data.draw(st.sampled_from([0.0, 0.01, 0.1])),
        loss=data.draw(st.sampled_from([0.0, 0.01, 0.1, 0.3])),
        most_waiting=data.draw(st.sampled_from([2, 3, 1000])),
        duplicates=data.draw(st.sampled_from([0.0, 0.1])),
    )
    start = data.draw(st.integers(0, SIZE))
    end = data.draw(st.integers(start, min(SIZE, start + 60_000)))
    faults = data.draw(st.dictionaries(st.integers(1, 400), st.sampled_from("krth"), max_size=5))
    server = CardServer(root)

    async def scene(played: Played) -> None:
        def act(_: bytes) -> None:
            fault = faults.pop(len(played.world.sent), "")
            if fault:
                server.close()
            if fault in {"t", "h"}:
                other = (OTHER if fault == "t" else LOG).encode()
                server.answer(Request(Opcode.OPEN, other).payload(9), played.world.now)
                loop_later(played, 1.0, server.close)

        played.world.before_answer = act
        at = start
        for _ in range(30):
            try:
                await played.fetch(at, end)
            except (Silence, FtpError):
                at = start + len(played.got)
                continue
            finally:
                assert content[start:end].startswith(played.got)
            break
        assert bytes(played.got) == content[start:end]

    play_on(server, line, scene, seed=data.draw(st.integers(0, 1000)))
