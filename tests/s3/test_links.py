"""Bad links: cut after any byte, silent, slow, dying, changing; what was confirmed stays so."""

from __future__ import annotations

import functools
import random
import socket

import pytest
from robot import DROP, HOME, PART, SMALL, THREE_PARTS, TWO_PARTS, Robot

from petal_s3.demo.ledger import Request
from petal_s3.demo.link import Link, Shape
from petal_s3.s3 import multipart
from petal_s3.s3 import tcp as wire
from petal_s3.s3.connection import reachable
from petal_s3.s3.stalls import Patience
from petal_s3.upload import inventory, pause

SLOWEST = 8_000  # bytes per second: 64 kbit/s


def hasty(
    robot: Robot, *, stall_s: float = 0.5, answer_s: float = 120.0, probe_s: float = 0.2
) -> None:
    """Give up soon, as a test must; the same guards as ever decide."""
    robot.service.s3.server.calls.patience = Patience(stall_s, answer_s)
    robot.service.drainer.timing.probe = functools.partial(reachable, timeout_s=probe_s)


def most_in_flight(robot: Robot, requests: list[Request]) -> int:
    """How many of these were on their way at one time."""

    def flew(at: float) -> int:
        return sum(r.started <= at < (r.finished or at + 1) for r in requests)

    return max(flew(request.started) for request in requests)


# -- cut


@pytest.mark.guarantee(
    "links",
    "cut after any byte, of a head, a body or an answer",
    "the next attempt asks what arrived; the bytes are stored once",
)
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_cut_after_any_byte_of_a_small_log_stores_it_once(
    robot: Robot, chaos: Link, way: str, reset: bool
) -> None:
    dice = random.Random(f"{way} {reset}")
    await robot.attempt(await robot.land("first.ulg"))
    passed = {"up": chaos.up_bytes, "down": chaos.down_bytes}[way]
    heads = min(passed, 4_000)

    for seed in range(1, 7):
        name = f"{seed}.ulg"
        row = await robot.land(name, seed=seed)
        at = dice.choice([dice.randrange(passed), dice.randrange(heads), passed - heads // 2])
        chaos.cut_after(**{way: at}, reset=reset)
        cut = await robot.attempt(row)
        chaos.heal()
        done = await robot.finish(row)

        puts = [r.status for r in robot.ledger.requests("PutObject", row.key)]
        assert (cut.state, cut.code) in {("queued", "offline"), ("verified", "")}, at
        assert puts.count(200) == 1, at
        assert len(puts) <= 2, at
        robot.assert_sent_once(done, robot.logs / name)


@pytest.mark.guarantee(
    "links",
    "cut after any byte of a large log, again and again",
    "each attempt goes on from the parts that S3 holds",
)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_large_log_cut_again_and_again_goes_on_where_it_was(
    robot: Robot, chaos: Link, seed: int
) -> None:
    dice = random.Random(seed)
    row = await robot.land(size=4 * PART + 1, seed=seed)
    held = [0]

    while len(set(held)) < 3 and len(held) < 12:
        chaos.cut_after(up=dice.randrange(2 * PART), down=dice.randrange(12_000))
        held.append((await robot.attempt(row)).sent_bytes)
        chaos.heal()
    done = await robot.finish(row)

    assert held == sorted(held)
    assert len(set(held)) == 3
    assert robot.ledger.parts(row.key).confirmed == 5
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "closed politely in the middle of a part",
    "the part travels again, nothing confirmed does",
)
async def test_a_link_that_hangs_up_in_a_part_resumes_there(robot: Robot, chaos: Link) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    chaos.cut_after(up=PART + 2_000_000, reset=False)

    cut = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (cut.state, cut.code, cut.sent_bytes) == ("queued", "offline", PART)
    assert [request.part for request in robot.ledger.requests("UploadPart")] == [1, 2, 2, 3]
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a kept connection that ends in the moment it is used again",
    "one try fails and says so; no library sends the body twice behind our back",
)
async def test_no_library_sends_a_body_again_when_a_kept_connection_breaks(
    robot: Robot, chaos: Link
) -> None:
    await robot.attempt(await robot.land("first.ulg"))
    passed = 0

    async def cut_the_next(_: Request) -> None:
        nonlocal passed
        chaos.cut_after(up=1)
        passed = chaos.up_bytes

    robot.fault("HeadObject", cut_the_next)  # then the body follows, over the same connection
    row = await robot.land("second.ulg", seed=1)
    cut = await robot.attempt(row)
    after_cut = chaos.up_bytes
    done = await robot.attempt(row)

    assert (cut.state, cut.code) == ("queued", "offline")
    assert after_cut == passed + 1  # the first byte of the body's request was the last of all
    assert robot.ops().count("PutObject") == 2
    robot.assert_sent_once(done, robot.logs / "second.ulg")


@pytest.mark.guarantee(
    "links",
    "kept connections are half-open after a silent cut",
    "each costs one try at most, then a new connection is made; nothing is doubled",
)
async def test_half_open_connections_cost_one_try_each_and_nothing_twice(
    robot: Robot, chaos: Link
) -> None:
    await robot.restart(concurrency=2, request_timeout=1)
    hasty(robot)
    await robot.attempt(await robot.land("first.ulg", THREE_PARTS))
    half_open = len(chaos.open)
    chaos.silence()  # as a router that forgot them: new connections pass, these never do

    row = await robot.land("second.ulg", seed=1)
    done = await robot.finish(row, attempts=half_open + 1)

    assert half_open >= 2
    assert 2 <= done.attempts <= half_open + 1
    assert len(robot.ledger.requests("PutObject", row.key)) == 1
    robot.assert_sent_once(done, robot.logs / "second.ulg")


# -- silent


@pytest.mark.guarantee(
    "links",
    "stalled in the middle of a part",
    "given up after a minute without movement, with the reason; then it goes on from there",
)
async def test_a_stall_in_a_part_is_given_up_and_goes_on_from_there(
    robot: Robot, chaos: Link
) -> None:
    await robot.restart(concurrency=1)
    hasty(robot)
    row = await robot.land(size=THREE_PARTS)
    chaos.stall_after(up=PART + 2_000_000)

    stalled = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (stalled.state, stalled.code, stalled.sent_bytes) == ("queued", "offline", PART)
    assert "stalled after" in stalled.reason
    assert [request.part for request in robot.ledger.requests("UploadPart")] == [1, 2, 2, 3]
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "silent when all of a body was taken, before the answer",
    "given up; S3 is asked whether it arrived before a byte is sent again",
)
async def test_a_body_without_an_answer_is_asked_for_before_it_is_sent_again(
    robot: Robot, chaos: Link
) -> None:
    hasty(robot, stall_s=0.3, answer_s=0.2)
    row = await robot.land()

    async def answer_is_lost(_: Request) -> None:
        chaos.stall_after(down=0)

    robot.fault("PutObject", answer_is_lost)
    silent = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (silent.state, silent.code) == ("queued", "offline")
    assert f"of {SMALL} bytes" in silent.reason
    assert robot.count("PutObject") == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a black hole: the SYN is lost, or the connection taken and never answered",
    "given up in time, with the reason; sent when the link is back",
)
@pytest.mark.parametrize("vanish", [Link.lose, Link.black_hole])
async def test_a_black_hole_is_given_up_in_time(robot: Robot, chaos: Link, vanish) -> None:
    await robot.restart(request_timeout=0.5)
    hasty(robot)
    vanish(chaos)
    row = await robot.land()

    lost = await robot.attempt(row)
    chaos.heal()
    done = await robot.attempt(row)

    assert (lost.state, lost.code) == ("queued", "offline")
    assert lost.reason == "No answer from 127.0.0.1 in time."
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a peer that never says 100 Continue",
    "nobody waits for it: no request asks for it",
)
async def test_no_request_waits_for_100_continue(robot: Robot) -> None:
    await robot.attempt(await robot.land("small.ulg"))
    await robot.attempt(await robot.land("large.ulg", TWO_PARTS, seed=1))

    sent = robot.ledger.requests("PutObject") + robot.ledger.requests("UploadPart")
    assert len(sent) == 3
    assert [r.op for r in robot.ledger.requests() if "Expect" in r.headers] == []


# -- slow


@pytest.mark.guarantee(
    "links",
    "64 kbit/s: a body takes longer than every deadline",
    "it arrives at the first attempt: what moves is not given up",
)
async def test_a_slow_link_that_moves_is_never_given_up(robot: Robot) -> None:
    slow = Shape(up_bytes_s=SLOWEST, down_bytes_s=SLOWEST)
    async with Link(robot.link.url, buffer_bytes=4 * 1024, shape=slow) as chaos:
        await robot.restart(endpoint_url=chaos.url, request_timeout=2)
        hasty(robot, stall_s=3, answer_s=0.0)
        row = await robot.land(size=120_000)

        done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert done.attempts == 1
    put = robot.ledger.requests("PutObject")[0]
    assert put.finished is not None
    assert put.finished - put.started > 4 * 3


async def test_no_option_of_the_kernel_ends_a_slow_upload() -> None:
    """With TCP_USER_TIMEOUT Linux ends one that moves, when the peer's window opens in steps."""
    made = wire.new_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)))
    with made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.guarantee(
    "links",
    "a list of confirmed parts too long for one deadline of a slow link",
    "it is asked for in short pages; every confirmed part is found",
)
async def test_confirmed_parts_are_listed_in_short_pages(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "PARTS_PAGE", 1)
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))

    done = await robot.attempt(row)

    assert robot.count("ListParts") == 2
    assert [request.part for request in robot.ledger.requests("UploadPart")] == [1, 2, 3, 3]
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a limit of our own (PETAL_S3_MAX_RATE) far below what a buffer holds",
    "waiting for one's own limit is no stall",
)
async def test_waiting_for_our_own_limit_is_no_stall(robot: Robot) -> None:
    await robot.restart(max_rate=110_000)
    hasty(robot, stall_s=1.2)
    row = await robot.land(size=300_000)

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert done.attempts == 1


# -- dying and changing


@pytest.mark.guarantee(
    "links",
    "each life of the link too short to list the whole bucket, and the outbox was lost",
    "the listing goes on from the page it had; what is there is not sent again",
)
async def test_a_listing_goes_on_over_a_link_that_dies(
    robot: Robot, chaos: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "PAGE", 5)
    path = robot.write()
    robot.put(f"{HOME}20200101_000000_before.ulg", path.read_bytes())
    for number in range(29):
        robot.put(f"{HOME}{number:02}.ulg", b"x")
    row = await robot.service.enqueue(path)
    lives = 0
    while not (await robot.row(row)).settled and lives < 8:
        chaos.cut_after(down=6_000)  # two pages
        await robot.attempt(row)
        lives += 1
    chaos.heal()

    done = await robot.row(row)
    assert lives > 1
    assert done.state == "verified"
    assert robot.count("PutObject") == 0


@pytest.mark.guarantee(
    "links",
    "dies again and again before two parts have passed",
    "one part at a time gets through in each life",
)
async def test_a_link_that_lives_for_one_part_brings_one_part_each_time(
    robot: Robot, chaos: Link
) -> None:
    row = await robot.land(size=THREE_PARTS)
    chaos.shape(Shape(up_bytes_s=40e6))
    lives = 0
    while not (await robot.row(row)).settled and lives < 6:
        chaos.cut_after(up=7_000_000)
        await robot.attempt(row)
        lives += 1
    chaos.heal()

    done = await robot.row(row)
    parts = robot.ledger.requests("UploadPart")
    first_life = [request for request in parts if request.started < parts[0].finished]
    assert most_in_flight(robot, first_life) == 2
    assert most_in_flight(robot, parts[len(first_life) :]) == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "up for a second, down for a moment, over and over",
    "the drain finds the link each time and arrives",
)
async def test_a_link_that_comes_and_goes_is_used_each_time(
    robot: Robot, chaos: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POLL_S", "PROBE_FIRST_S", "PROBE_S"):
        monkeypatch.setattr(pause, name, 0.05)  # to the scale of the other times
    chaos.shape(Shape(up_bytes_s=8e6))  # one part in 0.65 s, two in 1.3 s
    chaos.schedule(up_s=1.2, down_s=0.1)
    await robot.run(spread=1.0)

    row = await robot.land(size=THREE_PARTS)
    done = await robot.until_state(row, "verified")
    chaos.heal()

    assert done.attempts > 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "two links take turns, one fast and short, one slow and steady",
    "it arrives over both; a switch costs what was on its way",
)
async def test_two_links_that_take_turns_both_carry_it(robot: Robot, chaos: Link) -> None:
    chaos.alternate([(Shape(up_bytes_s=30e6), 0.3), (Shape(up_bytes_s=6e6), 2.0)])
    await robot.run(spread=0.02)

    row = await robot.land(size=THREE_PARTS)
    done = await robot.until_state(row, "verified")
    chaos.heal()

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
