"""A file's part leaves without botocore's call machinery, and nothing of it is otherwise."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from robot import BUCKET, HOME

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.errors import Refused, S3IntegrationError
from petal_s3.s3 import multipart
from petal_s3.s3.capabilities import Capabilities
from petal_s3.s3.checksums import digest
from petal_s3.s3.client import S3
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock
from tests.support.server import FaultServer

KEY = HOME + "2025/a b+c~(1)=ü'%41.ulg"
WHOLE = bytes(range(251)) * 3000
ERROR = b"<Error><Code>%s</Code><Message>No.</Message><Region>eu-central-1</Region></Error>"
# Of each request, or of the device's clock.
_VARY = {"authorization", "x-amz-date"}
# What botocore says of its own tries.
_OF_TRIES = {"amz-sdk-invocation-id", "amz-sdk-request"}


class Noting(FaultServer):
    """Keeps request targets as they came."""

    target = ""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.target = request.raw_path
        return await super()._handle(request)


@pytest.fixture
async def server() -> AsyncIterator[Noting]:
    async with Noting(BUCKET) as made:
        yield made


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "log"
    path.write_bytes(WHOLE)
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


class Ways:
    """One bucket, asked by botocore or directly."""

    def __init__(self, server: Noting, fd: int, **settings: Any) -> None:
        server.mind._accepts = lambda _: ""
        given = {"endpoint_url": server.url, **settings}
        self.s3 = S3(S3Settings(BUCKET, **given), None, server_clock=ServerClock())
        self.server = server
        self.fd = fd

    def body(self) -> FilePart:
        told = digest(self.fd, 0, len(WHOLE), sha256=self.s3.server.signs_bodies)
        return self.s3.file_part(self.fd, 0, told)

    async def put(self, key: str = KEY) -> str:
        about = {"original-filename": "a%20b", "log-kind": "ulog"}
        return await self.s3.put(
            key, self.body(), content_type="application/x-ulog", metadata=about
        )

    async def part(self, upload_id: str) -> object:
        return await multipart.upload_part(self.s3, KEY, upload_id, 3, self.body())

    async def by_botocore(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """As long as no request about an object was signed, nothing is known of the way."""
        connection = self.s3.server.calls.connection
        connection.routes.clear()
        return await call()

    async def directly(self, call: Callable[[], Awaitable[Any]]) -> Any:
        client = await self.s3.server.calls.connection.open()
        await self.s3.head(KEY)
        sent: list[str] = []

        def look(request: Any, **_: object) -> None:
            sent.append(request.method)

        client.meta.events.register("before-send.s3", look)
        try:
            return await call()
        finally:
            client.meta.events.unregister("before-send.s3", look)
            assert "PUT" not in sent  # botocore has sent none

    def last(self, op: str) -> Request:
        return self.server.ledger.requests(op)[-1]


def told(request: Request) -> dict[str, str]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return {name: value for name, value in headers.items() if name not in _VARY | _OF_TRIES}


@pytest.mark.parametrize("sse", ["AES256", "aws:kms:a-key", "none"])
async def test_a_body_is_asked_to_be_stored_in_the_same_words(
    server: Noting, fd: int, sse: str
) -> None:
    ways = Ways(server, fd, sse=sse)
    upload_id, _ = await multipart.begin(ways.s3, KEY, content_type="x", metadata={})
    for op, call in (
        ("PutObject", ways.put),
        ("UploadPart", lambda: ways.part(upload_id)),
    ):
        server.plan(op, says(200, headers={"ETag": f'"{ways.body().digest.etag}"'}), times=2)
        await ways.by_botocore(call)
        theirs, target = ways.last(op), server.target
        await ways.directly(call)

        assert told(ways.last(op)) == told(theirs)
        assert server.target == target
    await ways.s3.close()


async def test_what_is_signed_holds(server: Noting, fd: int) -> None:
    """Each header is in the signature, by either way, and so is the body's hash over http."""
    ways = Ways(server, fd)
    await ways.by_botocore(lambda: ways.put(HOME + "one.ulg"))
    theirs = ways.last("PutObject").headers
    await ways.directly(lambda: ways.put(HOME + "two.ulg"))
    ours = ways.last("PutObject").headers

    signed = [
        dict(part.split("=", 1) for part in head["authorization"].partition(" ")[2].split(", "))
        for head in (
            {name.lower(): value for name, value in told.items()} for told in (theirs, ours)
        )
    ]
    assert signed[0]["Credential"] == signed[1]["Credential"]
    names = [set(one["SignedHeaders"].split(";")) - _OF_TRIES for one in signed]
    assert names[0] == names[1]
    assert {"x-amz-security-token", "x-amz-content-sha256", "x-amz-checksum-crc32"} <= names[1]
    await ways.s3.close()


ANSWERS: dict[str, Fault] = {
    "stored": says(200, headers={"ETag": '"d41d8cd98f00b204e9800998ecf8427e-3"'}),
    "another checksum": says(200, headers={"ETag": '"x"', "x-amz-checksum-crc32": "AAAAAA=="}),
    "an error in a 200": says(200, ERROR % b"InternalError"),
    "half of an answer": says(200, b"<?xml version='1.0'?><Result><Bucket>lo"),
    "a page": says(200, b"<html><body>Log in</body></html>", {"Content-Type": "text/html"}),
    "nothing": says(204),
    "old": says(200, headers={"ETag": '"x"', "Age": "60"}),
    "denied": says(403, ERROR % b"AccessDenied", {"x-amz-request-id": "1"}),
    "a wordless 403": says(403),
    "expired": says(400, ERROR % b"ExpiredToken"),
    "a false checksum": says(400, ERROR % b"BadDigest", {"x-amz-request-id": "1"}),
    "taken": says(412, ERROR % b"PreconditionFailed"),
    "another region": says(400, ERROR % b"AuthorizationHeaderMalformed"),
    "moved for good": says(301, ERROR % b"PermanentRedirect", {"x-amz-request-id": "1"}),
    "moved": says(307, ERROR % b"TemporaryRedirect", {"x-amz-request-id": "1"}),
    "a redirect elsewhere": says(302, headers={"Location": "http://login.example/"}),
    "gone": says(404, ERROR % b"NoSuchUpload"),
    "slow down": says(503, ERROR % b"SlowDown", {"Retry-After": "7"}),
    "unwell": says(500, b"oops", {"Content-Type": "text/plain"}),
    "skewed": says(403, ERROR % b"RequestTimeTooSkewed", {"Date": "Thu, 01 Jan 2099 00:00:00 GMT"}),
    "no encryption": says(501, ERROR % b"NotImplemented"),
    "dropped": Fault("drop", drop=True),
    "cut": Fault("cut", cut_at=1000),
    "deaf": Fault("deaf", deaf=True),
}


async def outcome(call: Callable[[], Awaitable[Any]]) -> tuple[object, ...]:
    try:
        return ("answered", await call())
    except S3IntegrationError as error:
        page = getattr(error, "page", None)
        after_s = error.retry_after_s
        return (type(error), error.code, error.message, error.told, after_s, page)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("op", ["PutObject", "UploadPart"])
async def test_an_answer_means_the_same_by_either_way(
    server: Noting, fd: int, op: str, name: str
) -> None:
    ways = Ways(server, fd)
    upload_id, _ = await multipart.begin(ways.s3, KEY, content_type="x", metadata={})
    calls = {"PutObject": ways.put, "UploadPart": lambda: ways.part(upload_id)}
    server.always(op, ANSWERS[name])

    theirs = await outcome(lambda: ways.by_botocore(calls[op]))
    clock = ways.s3.clock.offset_s
    await ways.s3.head(KEY)
    ours = await outcome(calls[op])

    assert ours == theirs
    assert clock is not None
    await ways.s3.close()


_OBJECT = {
    "ETag": '"d41d8cd98f00b204e9800998ecf8427e"',
    "Content-Length": "1000",
    "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT",
}
HEADS: dict[str, Fault] = {
    "an object": says(
        200,
        headers={
            **_OBJECT,
            "Content-Type": "application/x-ulog",
            "x-amz-checksum-crc32": "AAAAAA==",
            "x-amz-checksum-type": "FULL_OBJECT",
            "x-amz-meta-part-size": "5242880",
            "X-Amz-Meta-Original-Filename": "a%20b",
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-storage-class": "GLACIER",
            "x-amz-version-id": "v1",
        },
    ),
    "the checksum of parts": says(
        200,
        headers={
            **_OBJECT,
            "x-amz-checksum-crc32": "AAAAAA==-3",
            "x-amz-checksum-type": "COMPOSITE",
        },
    ),
    "another form of date": says(200, headers={**_OBJECT, "Last-Modified": "2026-11-30T10:00:00Z"}),
    "no date": says(200, headers={**_OBJECT, "Expires": "0"}),
    "no etag": says(200, headers={"x-amz-request-id": "1"}),
    "a page": says(200, headers={**_OBJECT, "Content-Type": "text/html"}),
    "old": says(200, headers={**_OBJECT, "Age": "60"}),
    "nothing there": says(404, headers={"x-amz-request-id": "1"}),
    "denied": says(403, headers={"x-amz-request-id": "1"}),
    "refused": says(400, headers={"x-amz-request-id": "1"}),
    "not allowed": says(405),
    "another region": says(400, headers={"x-amz-bucket-region": "eu-central-1"}),
    "moved for good": says(301, headers={"x-amz-request-id": "1"}),
    "a redirect elsewhere": says(302, headers={"Location": "http://login.example/"}),
    "unwell": says(500),
    "slow down": says(503, headers={"Retry-After": "7"}),
    "no such option": says(501),
    "dropped": Fault("drop", drop=True),
}


@pytest.mark.parametrize("name", HEADS)
async def test_what_is_said_of_an_object_means_the_same_by_either_way(
    server: Noting, fd: int, name: str
) -> None:
    ways = Ways(server, fd)
    server.always("HeadObject", HEADS[name])

    theirs = await outcome(lambda: ways.by_botocore(lambda: ways.s3.head(KEY)))
    words, target = told(server.ledger.requests("HeadObject")[0]), server.target
    known = ways.s3.capabilities
    ways.s3.server.capabilities = Capabilities()
    before = len(server.ledger.requests("HeadObject"))
    ours = await outcome(lambda: ways.s3.head(KEY))

    assert ours == theirs
    assert told(server.ledger.requests("HeadObject")[before]) == words
    assert server.target == target
    assert ways.s3.capabilities.known.keys() == known.known.keys()
    await ways.s3.close()


async def test_an_object_is_asked_about_without_call_machinery(server: Noting, fd: int) -> None:
    ways = Ways(server, fd)
    await ways.s3.head(KEY)
    sent: list[str] = []
    client = await ways.s3.server.calls.connection.open()
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request.method))

    await ways.s3.head(KEY)

    assert len(server.ledger.requests("HeadObject")) == 2
    assert sent == []
    await ways.s3.close()


async def test_metadata_that_no_header_carries_is_refused_before_anything_is_sent(
    server: Noting, fd: int
) -> None:
    ways = Ways(server, fd)
    await ways.s3.head(KEY)

    with pytest.raises(Refused):
        await ways.s3.put(KEY, ways.body(), content_type="x", metadata={"name": "Flügel"})

    assert server.ledger.requests("PutObject") == []
    await ways.s3.close()


async def test_the_bucket_in_the_host_name_is_asked_there(
    server: Noting, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *more, **named: resolve("127.0.0.1", *more, **named)
    )
    url = server.url.replace("127.0.0.1", "localhost")
    ways = Ways(server, fd, endpoint_url=url, address_style="virtual")
    await ways.s3.head(KEY)
    await ways.directly(ways.put)

    assert told(ways.last("PutObject"))["host"].startswith(f"{BUCKET}.")
    assert not server.target.startswith(f"/{BUCKET}")
    await ways.s3.close()


async def test_new_keys_are_signed_with(
    server: Noting, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of AWS's files may change while we live: what was learnt of the way goes with them."""
    ways = Ways(server, fd)
    await ways.directly(ways.put)
    connection = ways.s3.server.calls.connection
    connection.forget_clients()  # as where the files name others
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")

    await ways.put(HOME + "next.ulg")
    await ways.directly(lambda: ways.put(HOME + "last.ulg"))

    signed = [request.headers for request in server.ledger.requests("PutObject")[1:]]
    assert all("Credential=another/" in str(dict(one)) for one in signed)
    await ways.s3.close()
