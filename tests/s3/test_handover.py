"""Files handed over by key: put to a URL, looked at, read once, and gone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from robot import DROP, HOME, LOSE_ANSWER, Robot, refusal
from wired import Wired

from petal_s3.errors import S3IntegrationError
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.objects.readers import MOST_READERS
from petal_s3.service import sessions
from petal_s3.service import temporary_files as handover
from petal_s3.service.temporary_files import INLINE_BYTES
from petal_s3.service.views.objects import PresignUploadView
from petal_s3.service.views.sessions import FileUploadMetadata

BODY = b"%PDF-1.7 a report\n" * 10_000
DENIED = refusal(403, "AccessDenied")


def sent(
    url: str, body: bytes | None, headers: Mapping[str, str], method: str = "PUT"
) -> tuple[int, str]:
    """Use a URL as anybody would who was given it: the status and what S3 says."""
    named = {"Content-Type": "application/x-unasked", **headers}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def put(made: PresignUploadView, body: bytes = BODY, **headers: str) -> tuple[int, str]:
    return await asyncio.to_thread(sent, made.url, body, {**made.headers, **headers})


async def begun(
    world: Robot | Wired, session: str = "s1", name: str = "Bericht (ä).PDF", body: bytes = BODY
) -> PresignUploadView:
    return await handover.begin(world.service, session, name, len(body))


async def handed(world: Robot | Wired, session: str = "s1", name: str = "r.pdf") -> str:
    """The key of a file that stands there."""
    made = await begun(world, session, name)
    assert (await put(made))[0] == 200
    return str(made.s3_key)


async def inline(robot: Robot, body: bytes, session: str = "s1", **more: Any) -> FileUploadMetadata:
    content = base64.b64encode(body).decode()
    return await handover.take_inline(robot.service, session, "a.bin", content, **more)


def nothing_stays(robot: Robot) -> None:
    assert (robot.stored(), robot.open_uploads()) == ([], [])
    assert robot.sql("SELECT count(*) FROM log") == [(0,)]


# -- a file that is handed over


async def test_what_is_put_to_its_url_is_told(robot: Robot) -> None:
    made = await begun(robot)
    assert (await put(made))[0] == 200

    told = await handover.complete(robot.service, "s1", made.s3_key, index=2, page_count=7)

    assert made.s3_key == f"{HOME}tmp/s1/{made.file_id}_Bericht.PDF"
    assert told == FileUploadMetadata(
        name="Bericht (ä).PDF",
        type="application/pdf",
        extension=".pdf",
        size=len(BODY),
        index=2,
        file_id=made.file_id,
        page_count=7,
        s3Key=made.s3_key,
        s3Url=told.s3Url,
    )
    assert robot.body(told.s3Key) == BODY
    assert told.s3Url.endswith(f"/logs/{told.s3Key}")
    assert robot.head(told.s3Key)["ServerSideEncryption"] == "AES256"


@pytest.mark.guarantee(
    "attack",
    "who was given a URL to hand a file over sends another size, type or name, or sends twice",
    "S3 refuses: the URL takes the file that was announced, once",
)
@pytest.mark.threat("wifi")
async def test_a_url_takes_what_was_announced_and_nothing_else(wired: Wired) -> None:
    made = await begun(wired)
    others: list[tuple[bytes, dict[str, str], dict[str, str]]] = [
        (BODY + b"x", made.headers, {}),
        (BODY[:-1], made.headers, {}),
        (BODY, {}, {}),
        (BODY, made.headers, {"Content-Type": "text/html"}),
        (BODY, made.headers, {"x-amz-meta-original-filename": "evil.exe"}),
        (BODY, made.headers, {"x-amz-meta-declared-size": "1"}),
        (BODY, made.headers, {"If-None-Match": "abc"}),
        (BODY, made.headers, {"x-amz-server-side-encryption": "aws:kms"}),
    ]
    for name in made.headers:
        others.append((BODY, {n: v for n, v in made.headers.items() if n != name}, {}))
    for body, headers, more in others:
        status, text = await asyncio.to_thread(sent, made.url, body, {**headers, **more})
        assert (status, "SignatureDoesNotMatch" in text) == (403, True), (headers, more)
    elsewhere = made.url.replace("/tmp/s1/", "/tmp/s2/")
    assert (await asyncio.to_thread(sent, elsewhere, BODY, made.headers))[0] == 403
    assert (await asyncio.to_thread(sent, made.url, None, made.headers, "GET"))[0] == 403
    assert wired.things == {}

    first, second = await put(made), await put(made, BODY[::-1])

    assert (first[0], second[0]) == (200, 412)
    assert wired.things[made.s3_key].body == BODY


async def test_the_url_signs_how_much_may_come(robot: Robot) -> None:
    url = (await begun(robot)).url

    signed = url.partition("X-Amz-SignedHeaders=")[2].partition("&")[0].lower()

    for name in ("content-length", "content-type", "if-none-match", "x-amz-meta-declared-size"):
        assert name in signed


async def test_two_files_of_one_name_are_two(robot: Robot) -> None:
    assert len({await handed(robot) for _ in range(3)}) == len(robot.stored()) == 3


# -- completing


async def test_completed_twice_is_told_twice(robot: Robot) -> None:
    key = await handed(robot)

    told = [await handover.complete(robot.service, "s1", key) for _ in range(2)]

    assert told[0] == told[1]
    assert await handover.complete(robot.service, "s1", f"s3://logs/{key}") == told[0]


async def test_before_it_was_put_there_is_nothing_to_complete(robot: Robot) -> None:
    made = await begun(robot)

    with pytest.raises(S3IntegrationError) as told:
        await handover.complete(robot.service, "s1", made.s3_key)

    assert (told.value.code, told.value.status) == ("not_uploaded", 404)
    assert (await put(made))[0] == 200
    assert (await handover.complete(robot.service, "s1", made.s3_key)).size == len(BODY)


@pytest.mark.guarantee(
    "attack",
    "the key of another session, of a log or of another machine is completed or processed",
    "403; nothing is told of it, nothing is deleted",
)
@pytest.mark.threat("sibling")
async def test_only_what_was_handed_over_in_this_session_is_completed(robot: Robot) -> None:
    mine, theirs = await handed(robot, "s1"), await handed(robot, "s10")
    others = [
        theirs,
        f"{HOME}20250727_143022_flight.ulg",
        f"{HOME}sessions/s1/logs/a.log",
        "flight_logs/drone-002/tmp/s1/a.pdf",
        "flight_logs/drone-0011/tmp/s1/a.pdf",
        f"{HOME}tmp/s1/../s10/a.pdf",
        f"{HOME}tmp/s1/%2e%2e/s10/a.pdf",
        f"{HOME}tmp/s1//a.pdf",
        f"{HOME}tmp/s1",
        f"{HOME}tmp/s1/",
        f"s3://other/{mine}",
        f"deleted/{mine}",
        "drone-001/tmp/s1/a.pdf",
        f"{HOME}xtmp/s1/a.pdf",
    ]
    for key in others:
        with contextlib.suppress(Exception):
            robot.put(key, b"theirs")
    before = sorted(robot.stored())
    for key in others:
        with pytest.raises(S3IntegrationError) as told:
            await handover.complete(robot.service, "s1", key)
        assert told.value.status == 403, key
        if not key.startswith(f"{HOME}tmp/s1") and key != theirs:
            with pytest.raises(S3IntegrationError) as told:
                async with handover.processing(robot.service, key):
                    pass
            assert told.value.status == 403, key

    assert sorted(robot.stored()) == before


async def test_other_bytes_than_announced_are_deleted(robot: Robot) -> None:
    """A server that does not check the signature of a length (moto) takes them."""
    made = await begun(robot)
    assert (await put(made, b"cut"))[0] == 200

    with pytest.raises(S3IntegrationError) as told:
        await handover.complete(robot.service, "s1", made.s3_key)

    assert (told.value.code, told.value.status) == ("incomplete", 409)
    assert told.value.message.startswith(f"3 bytes came instead of the {len(BODY)} announced")
    nothing_stays(robot)


# -- inline


async def test_a_file_below_100_kb_comes_with_the_request(robot: Robot) -> None:
    body = bytes(range(256)) * 399 + b"x" * 255
    assert len(body) == INLINE_BYTES - 1

    told = await inline(robot, body, index=1, page_count=0, media_type="image/png")

    assert (told.name, told.type, told.size, told.page_count) == ("a.bin", "image/png", 102399, 0)
    assert robot.body(told.s3Key) == body


@pytest.mark.parametrize(
    ("content", "code", "status"),
    [
        (base64.b64encode(b"x" * INLINE_BYTES).decode(), "too_large", 413),
        ("A" * 250_000, "too_large", 413),
        ("", "empty", 400),
        ("not base64!", "bad_input", 400),
        ("QUJD\n", "bad_input", 400),
        ("QUI", "bad_input", 400),
        ("ÄÖÜ=", "bad_input", 400),
        ("\ud800", "bad_input", 400),
    ],
)
async def test_what_cannot_come_with_the_request_is_refused(
    robot: Robot, content: str, code: str, status: int
) -> None:
    with pytest.raises(S3IntegrationError) as told:
        await handover.take_inline(robot.service, "s1", "a.bin", content)

    assert (told.value.code, told.value.status) == (code, status)
    nothing_stays(robot)


@pytest.mark.parametrize(
    ("op", "fault"),
    [
        ("PutObject", LOSE_ANSWER),
        ("PutObject", DENIED),
        ("HeadObject", DROP),
        ("HeadObject", refusal(500, "InternalError")),
    ],
)
async def test_an_inline_file_that_fails_leaves_nothing(robot: Robot, op: str, fault: Any) -> None:
    robot.always(op, fault)

    with pytest.raises(S3IntegrationError):
        await inline(robot, b"small")

    nothing_stays(robot)


async def test_an_inline_file_that_is_cancelled_leaves_nothing(robot: Robot) -> None:
    began = asyncio.Event()

    async def wait(_: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    robot.fault("HeadObject", wait)
    work = asyncio.create_task(inline(robot, b"small"))
    await began.wait()
    there = robot.stored()
    work.cancel()
    await asyncio.sleep(0)
    work.cancel()  # somebody is in a hurry
    with pytest.raises(asyncio.CancelledError):
        await work

    assert len(there) == 1
    nothing_stays(robot)


# -- what is refused at once


@pytest.mark.parametrize(
    ("name", "size", "kind", "code", "status"),
    [
        ("", 1, None, "bad_name", 400),
        (" ", 1, None, "bad_name", 400),
        ("a/b", 1, None, "bad_name", 400),
        ("..", 1, None, "bad_name", 400),
        (".", 1, None, "bad_name", 400),
        ("a\nb", 1, None, "bad_name", 400),
        ("a\0", 1, None, "bad_name", 400),
        ("\ud800", 1, None, "bad_name", 400),
        ("ä" * 200, 1, None, "bad_name", 400),
        ("a", 0, None, "empty", 400),
        ("a", -1, None, "empty", 400),
        ("a", 6 * 1024**3, None, "too_large", 413),
        ("a", 1, "text", "bad_type", 400),
        ("a", 1, "a/b\r\nX: y", "bad_type", 400),
        ("a", 1, "text/plain; charset=utf-8", "bad_type", 400),
    ],
)
async def test_what_can_be_no_file_gets_no_url(
    robot: Robot, name: str, size: int, kind: str | None, code: str, status: int
) -> None:
    with pytest.raises(S3IntegrationError) as told:
        await handover.begin(robot.service, "s1", name, size, kind)

    assert (told.value.code, told.value.status) == (code, status)
    assert robot.count("PutObject") == 0


async def test_the_longest_name_is_told_whole(robot: Robot) -> None:
    name = "ä" * 125 + ".pdf"
    made = await begun(robot, name=name)
    await put(made)

    told = await handover.complete(robot.service, "s1", made.s3_key)

    assert (told.name, told.extension) == (name, ".pdf")


@pytest.mark.parametrize("session", ["", "..", "a/b", "../s2", "x" * 129, "a b"])
async def test_what_cannot_name_a_session_is_refused(robot: Robot, session: str) -> None:
    for work in (
        begun(robot, session),
        handover.complete(robot.service, session, f"{HOME}tmp/s1/a"),
        inline(robot, b"x", session),
        handover.end(robot.service, session),
    ):
        with pytest.raises(S3IntegrationError) as told:
            await work
        assert (told.value.code, told.value.status) == ("bad_session", 400)
    nothing_stays(robot)


async def test_without_credentials_there_is_no_url(robot: Robot) -> None:
    robot.tokens.fail_with(403, "no")

    with pytest.raises(S3IntegrationError) as told:
        await begun(robot)

    assert told.value.status == 503
    nothing_stays(robot)


# -- reading it once


async def read(blocks: AsyncIterator[bytes]) -> bytes:
    return b"".join([block async for block in blocks])


async def test_what_was_read_is_deleted(robot: Robot) -> None:
    key = await handed(robot)

    async with handover.processing(robot.service, f"s3://logs/{key}") as (info, blocks):
        assert (info.size, await read(blocks)) == (len(BODY), BODY)
        assert robot.stored() == [key]

    nothing_stays(robot)


async def test_what_could_not_be_processed_is_deleted(robot: Robot) -> None:
    key = await handed(robot)

    with pytest.raises(ZeroDivisionError):
        async with handover.processing(robot.service, key):
            1 / 0  # noqa: B018

    nothing_stays(robot)


async def test_a_caller_that_is_cancelled_while_processing_leaves_nothing(robot: Robot) -> None:
    key = await handed(robot)
    inside = asyncio.Event()

    async def process() -> None:
        async with handover.processing(robot.service, key):
            inside.set()
            await asyncio.Event().wait()

    work = asyncio.create_task(process())
    await inside.wait()
    work.cancel()
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    nothing_stays(robot)


@pytest.mark.guarantee(
    "refusals",
    "S3 refuses to delete a file that was handed over and processed",
    "the log names the key, the processing goes on, and the daily look deletes it",
)
async def test_a_refused_deletion_is_said_and_made_a_day_later(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    key = await handed(robot)
    robot.always("DeleteObject", DENIED)

    async with handover.processing(robot.service, key) as (_, blocks):
        assert await read(blocks) == BODY

    robot.heal()
    assert f"temporary object stays key={key}" in caplog.text
    assert robot.stored() == [key]
    await robot.service.orphans.collect()
    assert robot.stored() == [key], "a day has not gone by"
    robot.service.orphans.age_s = -60
    await robot.service.orphans.collect()
    nothing_stays(robot)


@pytest.mark.parametrize("why", ["link", "readers"])
async def test_what_could_not_be_opened_stays_to_be_asked_for_again(robot: Robot, why: str) -> None:
    key = await handed(robot)
    objects = robot.service.objects
    objects.readers.patience_s = 0.01
    async with contextlib.AsyncExitStack() as stack:
        if why == "readers":
            for _ in range(MOST_READERS):
                await stack.enter_async_context(objects.readers.one())
        else:
            robot.always("GetObject", DENIED)
        with pytest.raises(S3IntegrationError):
            async with handover.processing(robot.service, key):
                raise AssertionError("it was not opened")
    robot.heal()

    async with handover.processing(robot.service, key) as (_, blocks):
        assert await read(blocks) == BODY
    nothing_stays(robot)


async def test_a_proxy_that_was_not_started_processes_too(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    key = await handed(robot)
    await robot.service.stop()
    proxy = S3BucketProxy(service=robot.build())

    async with proxy.sessions.processing(key) as blocks:
        assert await read(blocks) == BODY

    nothing_stays(robot)
    assert "stays" not in caplog.text
    await proxy.stop()


# -- the end of a session


@pytest.mark.guarantee(
    "attack",
    "a session ends whose id is the beginning of another's",
    "what was handed over in it is deleted; other sessions, logs and results stay",
)
@pytest.mark.threat("sibling")
async def test_the_end_of_a_session_deletes_what_was_handed_over_in_it(robot: Robot) -> None:
    keys = {name: await handed(robot, name) for name in ("s1", "s10", "s", "s1.", "s1-x", "S1")}
    for name in ("s1", "s10"):
        log = robot.tmp / "app.log"
        log.write_text("line\n")
        await robot.finish(await sessions.enter_log(robot.service, log, name))
    await robot.finish(await sessions.enter_result(robot.service, "s1", {"a": 1}))
    await handed(robot)
    others = {*robot.stored()} - {k for k in robot.stored() if k.startswith(f"{HOME}tmp/s1/")}

    assert await handover.end(robot.service, "s1") == 2
    assert await handover.end(robot.service, "s1") == 0

    assert {*robot.stored()} == others
    assert others > {key for name, key in keys.items() if name != "s1"}
    assert len(await sessions.list_logs(robot.service, "s1")) == 1


async def test_an_end_that_s3_refuses_is_told_and_made_again(robot: Robot) -> None:
    await handed(robot)
    robot.always("DeleteObject", DENIED)

    with pytest.raises(S3IntegrationError):
        await handover.end(robot.service, "s1")
    robot.heal()

    assert await handover.end(robot.service, "s1") == 1


# -- and proves no log


async def test_what_is_handed_over_proves_no_log(robot: Robot) -> None:
    path = robot.write()
    made = await handover.begin(robot.service, "s1", "flight.ulg", path.stat().st_size)
    assert (await put(made, path.read_bytes()))[0] == 200

    done = await robot.finish(await robot.service.enqueue(path))
    await handover.end(robot.service, "s1")

    robot.assert_sent_once(done, path)
    assert done.same_as is None


@pytest.mark.threat(
    "sibling",
    "it brings a log below tmp/, where things are deleted after a day",
    "403; nothing lasting comes there",
)
async def test_nothing_lasting_is_brought_below_tmp(robot: Robot) -> None:
    done = await robot.finish(await robot.land())
    for key in (f"{HOME}tmp/a.ulg", f"{HOME}tmp/s1/a.ulg"):
        with pytest.raises(S3IntegrationError) as told:
            await robot.service.enqueue(robot.write("b.ulg", seed=1), key=key)
        assert told.value.status == 403
        with pytest.raises(S3IntegrationError) as told:
            await robot.service.objects.move(done.key, key)
        assert told.value.status == 403

    assert robot.stored() == [done.key]


@pytest.mark.threat(
    "sibling", "it reads the log for URLs that others were given", "no signed URL is in it"
)
async def test_no_secret_and_no_url_is_logged(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "petal_s3"):
        made = await begun(robot)
        await put(made)
        await handover.complete(robot.service, "s1", made.s3_key)
        await handover.end(robot.service, "s1")

    assert "X-Amz-Signature" not in caplog.text
    assert "Signature" in made.url
