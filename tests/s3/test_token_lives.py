"""Session tokens end, are refused, are late or are nonsense; the logs arrive all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from robot import HOME, PART, PORTAL_PAGE, THREE_PARTS, Robot, refusal
from timed import HOUR_S, Hand, jitter, passing, timed

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.service.service import Service

DENIED = refusal(403, "AccessDenied")
EXPIRED = refusal(400, "ExpiredToken")
TOKEN = "x-amz-security-token"
Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def life_left_s(service: Service, now: Hand) -> float:
    assert service.tokens is not None
    held = service.tokens.current
    assert held is not None
    return held.expires_at - now.at


# -- how long they live


@pytest.mark.guarantee(
    "credentials",
    "the token ends while a part travels",
    "that part travels again with a new token, no other does",
)
async def test_a_token_that_ends_while_a_part_travels_costs_that_part_once(robot: Robot) -> None:
    robot.tokens.life_s = 60
    _, now = await timed(robot, concurrency=1)

    async def end_on_the_way(_: Request) -> Fault:
        now.at += 61
        return EXPIRED

    robot.fault("UploadPart", end_on_the_way, part=2)
    row = await robot.land(size=THREE_PARTS)

    done = await robot.attempt(row)

    sent = robot.ledger.requests("UploadPart")
    assert [request.part for request in sent] == [1, 2, 2, 3]
    assert sent[1].headers[TOKEN] != sent[2].headers[TOKEN]
    assert done.attempts == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "tokens live a minute, the upload takes several",
    "each part is signed with a token that lives; nothing is sent twice",
)
async def test_tokens_of_a_minute_carry_a_longer_upload(robot: Robot) -> None:
    robot.tokens.life_s = 60
    _, now = await timed(robot, concurrency=1)
    born: dict[str, float] = {}

    async def travel_long(request: Request) -> Fault | None:
        token = request.headers[TOKEN]
        if now.at - born.setdefault(token, now.at) >= 60:
            return EXPIRED
        now.at += 50
        return None

    robot.always("UploadPart", travel_long)
    row = await robot.land(size=4 * PART)

    done = await robot.attempt(row)

    assert (done.attempts, robot.count("UploadPart")) == (1, 4)
    assert len(born) >= 3
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("year", [1970, 2031])
@pytest.mark.guarantee(
    "credentials",
    "the device believes it is 1970, or 2031",
    "a token lives as long as its service said, and is renewed in time",
)
async def test_the_life_of_a_token_does_not_hang_on_the_date_of_the_device(
    robot: Robot, year: int
) -> None:
    service, now = await timed(robot, wall=lambda: (year - 1970) * 31_556_952.0)
    await robot.attempt(await robot.land("one.ulg"))
    first_s = life_left_s(service, now)
    now.at += 3400
    await robot.attempt(await robot.land("two.ulg", seed=1))
    still = robot.tokens.fetches
    now.at += 100
    await robot.attempt(await robot.land("three.ulg", seed=2))

    assert first_s == pytest.approx(3600, abs=5)
    assert (still, robot.tokens.fetches) == (1, 2)


# -- how often they are asked for


@pytest.mark.parametrize("refused", [EXPIRED, says(403)], ids=["with words", "without"])
@pytest.mark.guarantee(
    "credentials",
    "a hundred calls at once on one dead token",
    "one new token is fetched, and every call succeeds",
)
async def test_a_dead_token_of_a_hundred_calls_costs_one_fetch(
    robot: Robot, refused: Fault
) -> None:
    """The answer to a HEAD has no words: it may be a missing permission as well."""
    robot.put(f"{HOME}x.ulg", b"x")
    await robot.service.s3.head(f"{HOME}x.ulg")
    dead = robot.tokens.issued[-1]["sessionToken"]

    async def refuse_the_dead(request: Request) -> Fault | None:
        return refused if request.headers[TOKEN] == dead else None

    worded = refused.say is not None and refused.say.body
    op = "ListObjectsV2" if worded else "HeadObject"
    robot.always(op, refuse_the_dead)
    s3 = robot.service.s3
    robot.ledger.clear()
    calls = [s3.page(HOME) if worded else s3.head(f"{HOME}x.ulg") for _ in range(100)]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert robot.tokens.fetches == 2
    assert set(robot.ops()) == {op}  # no other way around the refusal was needed


@pytest.mark.parametrize("life_s", [3600.0, 900.0, 60.0])
@pytest.mark.guarantee(
    "credentials",
    "hours pass with nothing to send",
    "nobody asks for tokens: at most two requests in an hour",
)
async def test_an_idle_hour_costs_at_most_two_tokens(robot: Robot, life_s: float) -> None:
    robot.tokens.life_s = life_s
    service, now = await timed(robot, spread=jitter())
    await robot.attempt(await robot.land())
    per_hour = []

    for _ in range(5):
        before = robot.tokens.fetches
        await passing(service, now, HOUR_S)
        await service.status()
        per_hour.append(robot.tokens.fetches - before)

    assert max(per_hour) <= 2


@pytest.mark.guarantee(
    "credentials",
    "the token service is down for an hour",
    "it is asked again with growing pauses; S3 is left alone; the log arrives by itself after",
)
async def test_a_token_service_that_is_down_for_hours_is_not_hammered(robot: Robot) -> None:
    service, now = await timed(robot, spread=jitter())
    robot.tokens.fail_with(503, "later")
    row = await robot.land()

    await passing(service, now, HOUR_S)
    asked = robot.tokens.fetches
    told = await robot.row(row)
    talked = robot.ops()
    robot.tokens.heal()
    await passing(service, now, 60)

    assert (told.state, told.code) == ("queued", "token_service_down")
    assert asked < 150
    assert talked == []
    robot.assert_sent_once(await robot.row(row), robot.logs / "flight.ulg")


# -- a permission is taken away


@pytest.mark.guarantee(
    "credentials",
    "the permission is revoked for hours",
    "the drain says so and asks a few times an hour, for a new token too; restored, it goes on",
)
async def test_a_revoked_permission_is_not_hammered_and_resumes_by_itself(robot: Robot) -> None:
    service, now = await timed(robot, spread=jitter(), concurrency=1)
    robot.fault("UploadPart", DENIED, part=2, times=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    for op in ("UploadPart", "PutObject", "CreateMultipartUpload"):
        robot.always(op, DENIED)
    waiting = [await robot.land(f"{n}.ulg", seed=n) for n in range(1, 3)]
    await passing(service, now, HOUR_S)  # the pauses grow
    before = len(robot.ledger.requests()), robot.tokens.fetches, robot.ledger.body_bytes

    await passing(service, now, 4 * HOUR_S)
    requests, tokens, body_bytes = (
        after - earlier
        for after, earlier in zip(
            (len(robot.ledger.requests()), robot.tokens.fetches, robot.ledger.body_bytes),
            before,
            strict=True,
        )
    )
    block, told = service.drainer.block, await robot.row(row)
    robot.heal()
    await passing(service, now, HOUR_S)

    assert block is not None
    assert (block.code, "permissions" in block.reason) == ("forbidden", True)
    assert (told.state, told.code, told.sent_bytes) == ("queued", "forbidden", PART)
    assert requests < 4 * 30
    assert tokens < 4 * 5
    assert body_bytes < 4 * 10 * PART
    robot.assert_sent_once(await robot.row(row), robot.logs / "flight.ulg")
    assert {(await robot.row(other)).state for other in waiting} == {"verified"}


# -- whoever answers in place of the token service


def said(body: bytes, content_type: str = "application/json", **more: str) -> Says:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        head = [
            "HTTP/1.1 200 OK",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *lines,
        ]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return say


async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Each byte comes in time, the last never."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xffSSH-2.0-nonsense\r\n\r\n")


GOOD = {"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": "t"}
SAYS: dict[str, tuple[Says, str]] = {
    "a dribble": (dribble, "token_service_down"),
    "an answer without end": (pour, "token_service_nonsense"),
    "no HTTP": (babble, "token_service_down"),
    "nothing": (said(b""), "token_service_nonsense"),
    "a page": (said(PORTAL_PAGE, "text/html"), "token_service_nonsense"),
    "other fields": (said(b'{"access_key": "A", "token": "t"}'), "token_service_nonsense"),
    "fields of a wrong kind": (
        said(json.dumps({**GOOD, "sessionToken": ["t"]}).encode()),
        "token_service_nonsense",
    ),
    "an end long ago": (
        said(
            json.dumps({**GOOD, "expiration": "2001-01-01T00:00:00Z"}).encode(),
            Date="Thu, 20 Nov 2025 10:00:00 GMT",
        ),
        "token_service_nonsense",
    ),
    "rubbish said to be gzip": (
        said(b"\x1f\x8b\x08rubbish", Content_Encoding="gzip"),
        "token_service_down",
    ),
}


@contextlib.asynccontextmanager
async def in_its_place(says: Says) -> AsyncIterator[str]:
    """A token service that says only this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            await says(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/session-token"
    server.close()


@pytest.mark.guarantee(
    "credentials",
    "the token service is slow, endless, no HTTP, a page or nonsense",
    "the drain says which and waits; S3 is not asked; the log arrives when the service is itself",
)
@pytest.mark.threat("tokens")
async def test_nonsense_in_place_of_tokens_is_not_taken_for_them(robot: Robot) -> None:
    told = {}
    row = await robot.land()
    for name, (answer, _) in SAYS.items():
        async with in_its_place(answer) as url:
            await robot.restart(session_token_url=url, request_timeout=0.3)
            told[name] = (await robot.attempt(row)).code
            await robot.service.stop()
    asked = robot.ops()
    await robot.restart(request_timeout=30)

    done = await robot.finish(row)

    assert told == {name: code for name, (_, code) in SAYS.items()}
    assert asked == []
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
