"""A personality changes exactly the answers that its oddity is about."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp
import pytest

from tests.support.personality import Personality
from tests.support.server import FaultServer

KEY = "/logs/flight_logs/drone-1/a.ulg"
BODY = b"flight"
SUM = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()}
FALSE_SUM = {"x-amz-checksum-crc32": "AAAAAA=="}
MODE = {"x-amz-checksum-mode": "ENABLED"}

Told = tuple[int, Mapping[str, str], bytes]
Ask = Callable[..., Awaitable[Told]]


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(keep=True, min_part=1) as made:
        made.tokens.strict = False
        yield made


@pytest.fixture
async def ask(server: FaultServer) -> AsyncIterator[Ask]:
    """Ask as one of a personality is asked: ``await ask("a=b", "PUT", body, **headers)``."""
    async with aiohttp.ClientSession() as session:

        async def request(
            odd: str, method: str, body: bytes = b"", path: str = KEY, **headers: str
        ) -> Told:
            server.mind.personality = Personality.of(odd)
            url = server.url + path
            async with session.request(method, url, data=body or None, headers=headers) as answer:
                return answer.status, dict(answer.headers), await answer.read()

        yield request


async def test_what_is_refused_is_refused_only_where_it_is_used(ask: Ask) -> None:
    status, _, body = await ask("body-checksum=400 InvalidArgument", "PUT", BODY, **SUM)
    assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True)
    status, _, body = await ask("body-checksum=400", "PUT", BODY, **SUM)
    assert (status, body) == (400, b"")
    assert (await ask("body-checksum=400", "PUT", BODY))[0] == 200
    assert (await ask("put-condition=412 PreconditionFailed", "PUT", BODY))[0] == 200
    assert (await ask("head-checksum=400", "HEAD", **MODE))[0] == 400
    assert (await ask("head-checksum=400", "HEAD"))[0] == 200


async def test_a_false_checksum_is_refused_taken_or_never_seen(ask: Ask) -> None:
    assert (await ask("good", "PUT", BODY, **FALSE_SUM))[0] == 400
    _, told, _ = await ask("body-checksum=unchecked", "PUT", BODY, **FALSE_SUM)
    assert told["x-amz-checksum-crc32"] == "AAAAAA=="
    assert (await ask("good", "HEAD", **MODE))[1]["x-amz-checksum-crc32"] == "AAAAAA=="
    _, told, _ = await ask("body-checksum=ignored", "PUT", BODY, **FALSE_SUM)
    assert "x-amz-checksum-crc32" not in told
    assert "x-amz-checksum-crc32" not in (await ask("good", "HEAD", **MODE))[1]


async def test_encryption_is_confirmed_or_ignored(ask: Ask) -> None:
    wanted = {"x-amz-server-side-encryption": "AES256"}
    assert wanted.items() <= (await ask("good", "PUT", BODY, **wanted))[1].items()
    assert wanted.items() <= (await ask("good", "HEAD"))[1].items()
    assert not wanted.items() <= (await ask("encryption=ignored", "PUT", BODY, **wanted))[1].items()
    assert not wanted.items() <= (await ask("good", "HEAD"))[1].items()


async def test_a_head_without_a_length_has_none_on_the_wire(ask: Ask) -> None:
    await ask("good", "PUT", BODY)
    assert (await ask("good", "HEAD"))[1]["Content-Length"] == str(len(BODY))
    status, told, _ = await ask("head-length=absent", "HEAD")
    assert (status, "Content-Length" in told) == (200, False)


async def test_what_was_just_stored_is_not_seen_at_once(ask: Ask) -> None:
    await ask("good", "PUT", BODY)
    assert (await ask("prompt-reads=HEAD 3600", "HEAD"))[0] == 404
    assert (await ask("prompt-reads=HEAD 3600", "GET"))[0] == 200
    assert (await ask("prompt-reads=all 3600", "GET"))[0] == 404
    assert (await ask("prompt-reads=HEAD 0", "HEAD"))[0] == 200


async def test_the_bucket_may_have_to_stand_in_the_host_name(ask: Ask, server: FaultServer) -> None:
    odd = "address=403 SecondLevelDomainForbidden"
    assert (await ask(odd, "PUT", BODY))[0] == 403
    path = KEY.removeprefix("/logs")
    assert (await ask(odd, "PUT", BODY, path, host="logs.s3.example"))[0] == 200
    assert set(server.mind.things) == {path[1:]}


async def test_a_sub_resource_that_is_not_known_is_a_listing(ask: Ask) -> None:
    await ask("good", "PUT", BODY)
    for odd in ("sub-resources=listing", "list-uploads=listing"):
        what = "/logs?encryption" if odd.startswith("sub") else "/logs?uploads"
        status, _, body = await ask(odd, "GET", path=what)
        assert (status, b"<ListBucketResult>" in body) == (200, True)
    status, _, body = await ask("list-uploads=404 NoSuchUpload", "GET", path="/logs?uploads")
    assert (status, b"NoSuchUpload" in body) == (404, True)
