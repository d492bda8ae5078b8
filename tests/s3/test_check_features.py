"""The doctor tries what an upload uses, names what a server lacks, and leaves nothing there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from itertools import chain

import pytest

from petal_s3.admin.finding import Finding
from petal_s3.admin.permission_checks import CHECKS, try_all
from petal_s3.demo.faults import Fault, refusal
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3.capabilities import LACKS
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.s3_settings import S3Settings
from tests.matrix.sentences import Said, unfounded
from tests.support.personality import ODDITIES, Personality
from tests.support.server import FaultServer

TERRITORY = KeyOwnership("flight_logs/", ("drone-001",), "logs")
EVERY = [f"{feature}={how}" for feature, hows in ODDITIES.items() for how in hows]
# What each oddity is called, where it is one that uploads can do without; the rest is not seen.
NAMED = {
    "head-checksum": {"told checksums", "full checksums"},
    "body-checksum": {"body checksums", "checked checksums"},
    "part-checksum": {"body checksums", "checked checksums"},
    "full-checksum": {"full checksums"},
    "complete-checksum": {"full checksums", "checked checksums"},
    "put-condition": {"put condition"},
    "complete-condition": {"complete condition"},
    "copy-condition": {"copy condition"},
    "copy-metadata": {"copy metadata"},
    "get-condition": {"read condition"},
    "put-etag": {"md5 etags"},
    "part-etag": {"part etags", "joined etags"},
    "joined-etag": {"joined etags"},
    "list-uploads": {"list uploads"},
    "list-parts": {"list parts"},
    "prompt-reads": {"prompt reads", "s3:GetObject"},
    "archive": {"s3:GetObject"},
    "address": {"path addresses"},
    "deletion": {"s3:DeleteObject", "s3:GetObject"},
}
# That is a permission, and without it no upload goes on.
NOT_PERMITTED = "list-parts=403 AccessDenied"


@contextlib.asynccontextmanager
async def checking(server: FaultServer, sse: str = "AES256") -> AsyncIterator[S3]:
    tokens = TokenService(server.token_url, timeout_s=30)
    url = server.url.replace("127.0.0.1", "localhost")
    s3 = S3(S3Settings("logs", endpoint_url=url, sse=sse), tokens)
    try:
        yield s3
    finally:
        await s3.close()
        await tokens.close()


async def checked(server: FaultServer, sse: str = "AES256") -> dict[str, Finding]:
    async with checking(server, sse) as s3:
        found = [one async for one in try_all(s3, TERRITORY, region="us-east-1", sse=sse)]
    assert len({one.check for one in found}) == len(found), "each has one line of its own"
    assert {one.check for one in found} >= set(CHECKS)
    return {one.check: one for one in found}


def states(found: dict[str, Finding], state: str) -> set[str]:
    return {name for name, one in found.items() if one.state == state}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below ``localhost`` are this host, also where no resolver knows."""
    import socket

    resolve = socket.getaddrinfo

    def find(host: object, *args: object, **more: object) -> object:
        ours = isinstance(host, str) and host.endswith("localhost")
        return resolve("127.0.0.1" if ours else host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", find)


async def test_a_server_that_lists_no_parts_has_no_other_fault() -> None:
    """Some say of an upload without parts that there is none: it is asked once it has one."""
    async with FaultServer(keep=True) as server:
        server.always("ListParts", Fault(say=refusal(404, "NoSuchKey")))
        found = await checked(server)
    assert states(found, "failed") == set()
    assert "404 NoSuchKey" in found["list parts"].found
    assert [one.op for one in server.ledger.requests()].index("UploadPart") < [
        one.op for one in server.ledger.requests()
    ].index("ListParts")


async def test_of_a_good_server_nothing_is_missing() -> None:
    async with FaultServer(keep=True) as server:
        found = await checked(server)
    assert states(found, "failed") | states(found, "warning") <= {"stale uploads"}
    asked = {"stale uploads", "public access"}  # settings that this server does not know
    assert states(found, "ok") >= {*CHECKS} - asked
    assert "offers neither" in found["public access"].found
    assert (server.mind.things, server.mind.uploads) == ({}, {})


@pytest.mark.parametrize(
    "odd",
    [one for one in EVERY if not one.startswith(("encr", "cred")) and one != NOT_PERMITTED],
)
async def test_a_feature_that_uploads_can_do_without_is_named_and_nothing_is_left(
    odd: str,
) -> None:
    async with FaultServer(keep=True, personality=Personality.of(odd)) as server:
        found = await checked(server)
    feature = odd.partition("=")[0]
    assert states(found, "failed") == set(), found
    assert states(found, "warning") <= {"stale uploads", *NAMED.get(feature, ())}, found
    assert (server.mind.things, server.mind.uploads) == ({}, {})
    sentences = chain.from_iterable((one.found, one.advice) for one in found.values())
    said = [Said("check", sentence) for sentence in sentences]
    assert list(unfounded(Personality.of(odd), said)) == []


@pytest.mark.parametrize(
    ("odd", "name", "answer"),
    [
        ("head-checksum=400", "told checksums", "HeadObject with x-amz-checksum-mode was answered"),
        ("part-checksum=400 InvalidRequest", "body checksums", "was answered 400 InvalidRequest"),
        ("full-checksum=501 NotImplemented", "full checksums", "501 NotImplemented"),
        ("put-condition=501", "put condition", "If-None-Match"),
        ("put-condition=ignored", "put condition", "was accepted where an object stood"),
        ("copy-condition=412 PreconditionFailed", "copy condition", "412 PreconditionFailed"),
        ("copy-metadata=ignored", "copy metadata", "kept the metadata"),
        ("list-parts=501 NotImplemented", "list parts", "ListParts was answered 501"),
        ("list-uploads=405 MethodNotAllowed", "list uploads", "was answered 405"),
        ("joined-etag=whole", "joined etags", "one joined part got the ETag"),
        ("get-condition=501 NotImplemented", "read condition", "501 NotImplemented"),
    ],
)
async def test_a_lack_is_told_with_its_cost_and_the_answer_that_showed_it(
    odd: str, name: str, answer: str
) -> None:
    async with FaultServer(keep=True, personality=Personality.of(odd)) as server:
        found = await checked(server)
    lack = found[name]
    assert lack.state == "warning"
    assert lack.found.startswith(f"the server {LACKS[name.replace(' ', '_')]} (")  # type: ignore[index]
    assert answer in lack.found


async def test_a_permission_that_uploads_need_fails() -> None:
    async with FaultServer(keep=True, personality=Personality.of(NOT_PERMITTED)) as server:
        found = await checked(server)
    assert states(found, "failed") == {"s3:ListMultipartUploadParts"}
    assert found["s3:ListMultipartUploadParts"].advice.startswith("Allow s3:ListMulti")


@pytest.mark.parametrize("how", ODDITIES["encryption"])
async def test_an_encryption_that_is_refused_or_not_confirmed_fails_and_names_the_setting(
    how: str,
) -> None:
    async with FaultServer(keep=True, personality=Personality.of(f"encryption={how}")) as server:
        found = await checked(server)
        assert states(found, "failed") == {"encryption"}, found
        assert "set PETAL_S3_SSE" in found["encryption"].found
        assert not found["encryption"].not_now
        assert (server.mind.things, server.mind.uploads) == ({}, {})
        without = await checked(server, "none")
    assert states(without, "failed") == set()
    assert without["encryption"].found == "PETAL_S3_SSE is none, and none is asked for"


@pytest.mark.parametrize("how", ODDITIES["credentials"])
async def test_keys_that_s3_does_not_take_end_it_and_no_permission_is_blamed(how: str) -> None:
    odd = f"credentials={how}"
    async with FaultServer(keep=True, personality=Personality.of(odd)) as server:
        found = await checked(server)
    assert states(found, "failed") == {"bucket"}
    assert "PETAL_S3_SESSION_TOKEN_URL" in found["bucket"].found
    assert not found["bucket"].not_now
    assert "permission" not in f"{found['bucket'].found} {found['bucket'].advice}"
