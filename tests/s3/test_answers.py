"""No answer is believed for its looks: for each operation, what only S3 can know decides."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from liar import REQUEST_ID, Heard, Liar, Lie, between, raw, xml
from robot import BUCKET, DROP, HOME, PORTAL_PAGE, SMALL, TWO_PARTS, Robot

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.errors import NotS3, S3IntegrationError
from petal_s3.outbox import remote_objects
from petal_s3.outbox.rows import Row
from petal_s3.s3 import multipart

ERROR = "<Error><Code>InternalError</Code><Message>no</Message></Error>"
HTML = {"Content_Type": "text/html"}
XML = {"Content_Type": "application/xml"}
TEXT_XML = {"Content-Type": "application/xml"}
GZIP = {"Content_Encoding": "gzip", **XML}
S3_LIKE = {**REQUEST_ID, "Server": "AmazonS3"}


def always(answer: bytes) -> Lie:
    return lambda _: answer


def listing(name: str = BUCKET, more: str = "") -> str:
    return f"<ListBucketResult><Name>{name}</Name>{more}</ListBucketResult>"


LIES: dict[str, Lie] = {
    "an empty 200": always(raw(200)),
    "an empty 200 with S3's headers": always(raw(200, **S3_LIKE)),
    "a page": always(raw(200, PORTAL_PAGE, **HTML)),
    "a page in XML": always(raw(200, b"<html><body/></html>", **XML)),
    "an error in a 200": always(xml(ERROR)),
    "whitespace, then an error": always(raw(200, b" \n" * 500 + ERROR.encode(), **XML)),
    "whitespace and nothing else": always(raw(200, b"\n" * 500, **XML)),
    "half of an answer": always(raw(200, b"<?xml version='1.0'?><Result><Bucket>lo", **XML)),
    "rubbish said to be gzip": always(raw(200, b"\x1f\x8b\x08" + bytes(range(200)), **GZIP)),
    "a page said to be gzip": always(raw(200, PORTAL_PAGE, **GZIP)),
    "rubbish said to be chunked": always(raw(200, b"zz\r\nab", Transfer_Encoding="chunked")),
    "a body longer than the sea": always(raw(200, PORTAL_PAGE, length=10**15, **HTML)),
    "a length beyond numbers": always(raw(200, length="9" * 400)),
    "a length that is none": always(raw(200, PORTAL_PAGE, length="banana", **HTML)),
    "a negative length": always(raw(200, length=-5)),
    "two lengths": always(raw(200, PORTAL_PAGE, content_length=3, **HTML)),
    "only early hints": always(raw(100) + raw(102) + raw(103, Link="</a>")),
    "another protocol": always(raw(101, Upgrade="websocket", Connection="Upgrade")),
    "accepted": always(raw(202)),
    "somebody else's words": always(raw(203, PORTAL_PAGE, **HTML)),
    "no content": always(raw(204)),
    "reset content": always(raw(205)),
    "a part of the content": always(raw(206, b"<", Content_Range="bytes 0-0/999", **XML)),
    "several answers": always(raw(207, b"<multistatus/>", **XML)),
    "not modified": always(raw(304)),
    "no HTTP": always(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "nothing": always(b""),
    "headers that are no text": always(raw(200, x_amz_version_id="\xff\xfe", x_amz_meta_a="\x01")),
    "a date that is none": always(raw(200, Last_Modified="soon", ETag='"0"', **XML)),
    "the answer to another question": always(
        xml("<LocationConstraint>eu-central-1</LocationConstraint>")
    ),
}


def md5_of(heard: Heard) -> str:
    return hashlib.md5(heard.body).hexdigest()


def crc_of(heard: Heard, wrong: int = 0) -> str:
    return base64.b64encode((zlib.crc32(heard.body) ^ wrong).to_bytes(4, "big")).decode()


def created(heard: Heard, bucket: str = "", key: str = "") -> bytes:
    return xml(
        f"<InitiateMultipartUploadResult><Bucket>{bucket or heard.bucket}</Bucket>"
        f"<Key>{key or heard.key}</Key><UploadId>x</UploadId></InitiateMultipartUploadResult>"
    )


def parts(heard: Heard, bucket: str = "", upload_id: str = "", more: str = "") -> bytes:
    return xml(
        f"<ListPartsResult><Bucket>{bucket or heard.bucket}</Bucket><Key>{heard.key}</Key>"
        f"<UploadId>{upload_id or heard.upload_id}</UploadId>{more}</ListPartsResult>"
    )


def completed(bucket: str = BUCKET, key: str = "x", etag: str = '"0-2"') -> Lie:
    return always(
        xml(
            f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>"
            f"<ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        )
    )


def copied(etag: str) -> Lie:
    return always(xml(f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>"))


OTHER = '"' + "0" * 32 + '"'
TRUNCATED = "<IsTruncated>true</IsTruncated>"
PREFIX = f"<Prefix>{HOME}</Prefix>"
A_PART = "<Part><PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag><Size>7</Size></Part>"

# What S3 might have said to somebody else, or about something else.
OTHERS: dict[str, dict[str, Lie]] = {
    "ListObjectsV2": {
        "another bucket": always(xml(listing("other", PREFIX))),
        "another prefix": always(xml(listing(more="<Prefix>flight_logs/drone-002/</Prefix>"))),
        "keys of another prefix": always(
            xml(listing(more=f"{PREFIX}<Contents><Key>other/x</Key><Size>1</Size></Contents>"))
        ),
    },
    "HeadObject": {
        "another object": always(raw(200, ETag=OTHER, length=SMALL)),
        "another length": always(raw(200, ETag=OTHER, length=10**15)),
        "an ETag that is no md5": always(raw(200, ETag='"x"', length=SMALL)),
    },
    "PutObject": {
        "another ETag": always(raw(200, ETag=OTHER)),
        "another checksum": lambda heard: raw(
            200, ETag=f'"{md5_of(heard)}"', x_amz_checksum_crc32=crc_of(heard, wrong=1)
        ),
        "the checksum alone": lambda heard: raw(
            200, ETag=OTHER, x_amz_checksum_crc32=crc_of(heard)
        ),
    },
    "CreateMultipartUpload": {
        "another bucket": lambda heard: created(heard, bucket="other"),
        "another key": lambda heard: created(heard, key=f"{HOME}other.ulg"),
    },
    "UploadPart": {
        "another ETag": always(raw(200, ETag=OTHER)),
        "another checksum": lambda heard: raw(
            200, ETag=f'"{md5_of(heard)}"', x_amz_checksum_crc32=crc_of(heard, wrong=1)
        ),
    },
    "ListParts": {
        "another bucket": lambda heard: parts(heard, bucket="other"),
        "another upload": lambda heard: parts(heard, upload_id="other"),
        "the same page for ever": lambda heard: parts(
            heard, more=f"{TRUNCATED}<NextPartNumberMarker>0</NextPartNumberMarker>"
        ),
        "numbers that are none": lambda heard: parts(heard, more=A_PART.replace("7", "seven")),
    },
    "CompleteMultipartUpload": {
        "another bucket": completed(bucket="other"),
        "another key": completed(key=f"{HOME}other.ulg"),
        "another ETag": completed(etag=OTHER),
        "no ETag": completed(etag=""),
    },
    "ListMultipartUploads": {
        "another bucket": always(
            xml("<ListMultipartUploadsResult><Bucket>other</Bucket></ListMultipartUploadsResult>")
        ),
    },
    "CopyObject": {"another ETag": copied(OTHER), "no ETag": copied("")},
    "GetObject": {
        "bytes nobody asked for": always(
            raw(206, b"half", ETag=OTHER, Content_Range="bytes 4-7/8")
        ),
    },
}


def lies(op: str) -> dict[str, Lie]:
    return {**LIES, **OTHERS.get(op, {})}


async def land_small(robot: Robot, liar: Liar) -> Row:
    return await robot.land()


async def land_large(robot: Robot, liar: Liar) -> Row:
    return await robot.land(size=TWO_PARTS)


async def hold_a_part(robot: Robot, liar: Liar) -> Row:
    robot.fault("UploadPart", DROP, part=2)
    return await robot.attempt(await robot.land(size=TWO_PARTS))


async def finish_small(robot: Robot, liar: Liar) -> Row:
    return await robot.finish(await robot.land())


async def finish_to_copy(robot: Robot, liar: Liar) -> Row:
    row = await finish_small(robot, liar)
    objects = robot.service.objects
    objects.copier = replace(objects.copier, late_s=(0.1, 0.1))  # copies are shown at once
    return row


UPLOADS: dict[str, Callable[[Robot, Liar], Awaitable[Row]]] = {
    "ListObjectsV2": land_small,
    "HeadObject": land_small,
    "PutObject": land_small,
    "CreateMultipartUpload": land_large,
    "UploadPart": hold_a_part,
    "CompleteMultipartUpload": hold_a_part,
    "ListParts": hold_a_part,
}
OTHER_CALLS: dict[str, tuple[Callable[[Robot, Liar], Awaitable[Row]], Callable[..., Any]]] = {
    "ListMultipartUploads": (
        hold_a_part,
        lambda robot, row: multipart.uploads(robot.service.s3, row.key),
    ),
    "AbortMultipartUpload": (
        hold_a_part,
        lambda robot, row: multipart.abort(robot.service.s3, row.key, row.upload_id),
    ),
    "DeleteObject": (finish_small, lambda robot, row: robot.service.objects.delete(row.key)),
    "CopyObject": (
        finish_to_copy,
        lambda robot, row: robot.service.objects.move(row.key, f"{HOME}elsewhere.ulg"),
    ),
    "GetObject": (
        finish_small,
        lambda robot, row: robot.service.objects.download(row.key, robot.tmp / "got" / "got.ulg"),
    ),
}


async def believed(robot: Robot, row: Row, op: str) -> str:
    """What the answer was taken for; empty when it was not believed."""
    if op in OTHER_CALLS:
        try:
            return f"answered {await OTHER_CALLS[op][1](robot, row)}"
        except S3IntegrationError as error:
            return "" if error.message and error.waiting_helps else repr(error)
    await robot.service.drainer.pause.retry_now()
    now = await robot.attempt(row)
    return "" if now.state == "queued" and now.reason else f"{now.state} {now.reason}"


async def all_believed(
    robot: Robot, liar: Liar, row: Row, op: str, told: dict[str, Lie]
) -> dict[str, str]:
    """Which lies were believed; ends at the first, after which nothing is as it was."""
    for name, lie in told.items():
        liar.lie(op, lie)
        before = liar.told[op]
        what = await believed(robot, row, op)
        if what or liar.told[op] == before:
            return {name: what or "never asked"}
    liar.repent()
    return {}


@pytest.mark.parametrize("op", UPLOADS)
@pytest.mark.guarantee(
    "answers",
    "a lie of thirty kinds in answer to any operation of an upload",
    "nothing is proven by it; when S3 answers again the log arrives, no confirmed part sent twice",
)
@pytest.mark.threat("server")
async def test_no_lie_about_an_upload_is_believed(robot: Robot, op: str) -> None:
    async with between(robot, concurrency=1) as liar:
        row = await UPLOADS[op](robot, liar)
        wrong = await all_believed(robot, liar, row, op, lies(op))
        assert wrong == {}
        done = await robot.finish(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("op", OTHER_CALLS)
@pytest.mark.guarantee(
    "answers",
    "a lie of thirty kinds in answer to a deletion, copy, abort, download or list of uploads",
    "the caller hears an error; object, row and what lies on the disk stay as they were",
)
@pytest.mark.threat("server")
async def test_no_lie_about_anything_else_is_believed(robot: Robot, op: str) -> None:
    prepare, call = OTHER_CALLS[op]
    async with between(robot, concurrency=1) as liar:
        row = await prepare(robot, liar)
        stored, open_uploads = robot.stored(), robot.open_uploads()
        wrong = await all_believed(robot, liar, row, op, lies(op))
        assert wrong == {}
        assert (robot.stored(), robot.open_uploads()) == (stored, open_uploads)
        assert await robot.row(row) == row
        assert list(robot.tmp.glob("got/*")) == []
        await call(robot, row)  # the truth is believed


@pytest.mark.parametrize("op", [*UPLOADS, *OTHER_CALLS])
@pytest.mark.guarantee(
    "answers",
    "a redirect to another address, in answer to any operation",
    "it is not followed: neither body nor token goes there",
)
@pytest.mark.threat("server")
async def test_no_redirect_is_followed(robot: Robot, op: str) -> None:
    async with strangers() as (url, visits), between(robot, concurrency=1) as liar:
        row = await {**UPLOADS, **{k: v for k, (v, _) in OTHER_CALLS.items()}}[op](robot, liar)
        if op == "HeadObject":  # else the listing tells what HEAD does not
            await robot.service.outbox(remote_objects.complete_listing)
            liar.lie("ListObjectsV2", always(raw(307, Location=url)))
        told = {
            f"{status} {sorted(more)}": always(raw(status, Location=url, **more))
            for status in (301, 302, 307, 308)
            for more in ({}, {**REQUEST_ID, "x_amz_bucket_region": "eu-central-1"})
        }
        wrong = await all_believed(robot, liar, row, op, told)

    assert wrong == {}
    assert visits == []


@contextlib.asynccontextmanager
async def strangers() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Another address, and what was said there."""
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1 << 16))
        writer.write(raw(200))
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", visits
    server.close()


# -- a cache on the way


def aged(robot: Robot, key: str, age: int) -> Fault:
    """What a HEAD of ``key`` says now, as a cache repeats it later."""
    told = robot.head(key)
    headers = {
        "ETag": told["ETag"],
        "Content-Length": str(told["ContentLength"]),
        "Age": str(age),
        **{f"x-amz-meta-{name}": value for name, value in told["Metadata"].items()},
    }
    return says(200, headers=headers)


@pytest.mark.guarantee(
    "answers",
    "a cache says that an object is there which was deleted",
    "what was true once proves nothing: the log is sent again",
)
async def test_an_object_that_only_a_cache_remembers_is_no_proof(robot: Robot) -> None:
    one = await robot.finish(await robot.land("one.ulg"))
    robot.always("HeadObject", aged(robot, one.key, age=600))
    robot.cloud.delete_object(Bucket=BUCKET, Key=one.key)
    row = await robot.land("other.ulg")

    told = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "not_s3")
    assert "cache" in told.reason
    assert (done.state, done.same_as) == ("verified", None)
    assert robot.body(done.key) == (robot.logs / "other.ulg").read_bytes()


@pytest.mark.parametrize("op", ["ListObjectsV2", "HeadObject"])
@pytest.mark.guarantee(
    "answers",
    "a cache says that nothing is there",
    "the drain waits with that reason; nothing is sent to find out",
)
async def test_what_a_cache_does_not_know_is_not_sent_again(robot: Robot, op: str) -> None:
    nothing = {
        "ListObjectsV2": says(200, listing().encode(), {"Age": "30", **TEXT_XML}),
        "HeadObject": says(404, headers={"Age": "30"}),
    }
    robot.fault(op, nothing[op])
    row = await robot.land()

    told = await robot.attempt(row)
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "not_s3")
    assert robot.count("PutObject") == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_an_answer_that_a_proxy_has_just_fetched_is_believed(robot: Robot) -> None:
    async def fresh(request: Request) -> Fault | None:
        return aged(robot, request.key, age=0) if robot.stored() else None

    robot.always("HeadObject", fresh)

    assert (await robot.attempt(await robot.land())).state == "verified"


async def test_a_download_from_a_cache_gives_its_connection_back(robot: Robot) -> None:
    row = await robot.finish(await robot.land())
    robot.fault("GetObject", says(200, bytes(1 << 20), {"Age": "9", "ETag": OTHER}), times=12)

    for _ in range(12):
        with pytest.raises(NotS3, match="cache"):
            await robot.service.objects.download(row.key, robot.tmp / "got.ulg")

    size, proof = await robot.service.objects.download(row.key, robot.tmp / "got.ulg")

    assert (size, proof) == (SMALL, "etag")


# -- proofs that contradict themselves


async def wrong_crc(robot: Robot, request: Request) -> Fault | None:
    """The HEAD of an object as it is, but for its checksum."""
    if request.key not in robot.stored():
        return None
    told = aged(robot, request.key, age=0)
    more = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}
    assert told.say is not None
    return says(200, headers={**told.say.headers, **more})


async def other_bytes(request: Request) -> Fault:
    """The range that was asked for, of an object of zeros."""
    first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
    headers = {"ETag": request.headers["If-Match"], "Content-Range": f"bytes {first}-{last}/*"}
    return says(206, bytes(last - first + 1), headers)


@pytest.mark.parametrize("scene", ["proof", "recognised", "copied"])
@pytest.mark.guarantee(
    "answers",
    "the right ETag beside a wrong checksum",
    "no proof, wherever it is read (after an upload, of an older object, of a copy): the bytes"
    " themselves are read back and compared",
)
@pytest.mark.threat("server")
async def test_an_etag_beside_a_wrong_checksum_is_no_proof(robot: Robot, scene: str) -> None:
    async def lie(request: Request) -> Fault | None:
        return await wrong_crc(robot, request) if scene != "copied" or request.key == key else None

    key = f"{HOME}asked.ulg"
    if scene != "proof":
        await robot.finish(await robot.land("one.ulg"))
    robot.always("HeadObject", lie)
    row = await robot.land("other.ulg", key=key if scene == "copied" else None)

    told = await robot.attempt(row)

    assert told.state == "verified"
    assert told.receipt is not None
    assert told.receipt.proof == "read-back"
    assert robot.count("GetObject") == 1
    assert robot.count("CopyObject") == (scene == "copied")
    assert robot.count("PutObject") == (2 if scene == "recognised" else 1)
    assert not robot.service.s3.capabilities.lacks("md5_etags")


@pytest.mark.parametrize("size", [SMALL, TWO_PARTS])
@pytest.mark.guarantee(
    "answers",
    "the right ETag and a wrong checksum, over bytes that are not ours",
    "the bytes are compared where the words contradict each other: no proof",
)
@pytest.mark.threat("server")
async def test_other_bytes_below_the_right_etag_and_a_wrong_checksum_are_found(
    robot: Robot, size: int
) -> None:
    robot.always("HeadObject", lambda request: wrong_crc(robot, request))
    robot.always("GetObject", other_bytes)

    told = await robot.attempt(await robot.land(size=size))

    assert (told.state, told.code, told.receipt) == ("queued", "mismatch", None)


@pytest.mark.parametrize(("op", "size"), [("PutObject", SMALL), ("UploadPart", TWO_PARTS)])
@pytest.mark.parametrize("name", ["another ETag", "another checksum"])
@pytest.mark.guarantee(
    "answers",
    "S3 confirms other bytes than were sent, by ETag or by checksum",
    "that request counts for nothing and is made again, before anything is joined",
)
@pytest.mark.threat("server")
async def test_a_confirmation_of_other_bytes_counts_for_nothing(
    robot: Robot, op: str, size: int, name: str
) -> None:
    async with between(robot, concurrency=1) as liar:
        liar.lie(op, OTHERS[op][name])
        row = await robot.attempt(await robot.land(size=size))
        liar.repent()
        done = await robot.finish(row)

    assert (row.state, row.code, row.sent_bytes) == ("queued", "mismatch", 0)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- answers that go on after their end, or never end


@pytest.mark.guarantee(
    "answers",
    "the answer to a HEAD has a body that looks like the next answer",
    "the next request is not answered by it",
)
async def test_a_body_after_a_head_is_not_the_next_answer(robot: Robot) -> None:
    """The bytes wait in the connection that is used for the next request."""
    path = robot.write()
    etag = hashlib.md5(path.read_bytes()).hexdigest()
    next_one = raw(200, ETag=f'"{etag}"', length=SMALL, x_amz_request_id="1")
    async with between(robot) as liar:
        liar.hold_open = True
        liar.lie("HeadObject", always(raw(404) + next_one + next_one))
        liar.lie("ListObjectsV2", always(xml(listing())))  # else what is there is found by it
        row = await robot.service.enqueue(path)
        told = [await robot.attempt(row) for _ in range(3)]
        liar.repent()
        done = await robot.finish(row)

    assert {(row.state, row.receipt) for row in told} == {("queued", None)}
    robot.assert_sent_once(done, path)


@pytest.mark.guarantee(
    "answers",
    "an answer as long as the sea",
    "reading ends after 16 MiB; the drain waits",
)
@pytest.mark.threat("server")
async def test_an_endless_answer_is_not_read_to_its_end(robot: Robot) -> None:
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw(200, Transfer_Encoding="chunked", **XML))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
                await writer.drain()
                written += 1 << 20
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    await robot.restart(endpoint_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    row = await robot.land()

    told = await robot.attempt(row)
    server.close()

    assert (told.state, told.code) == ("queued", "not_s3")
    assert written < 40 << 20


@pytest.mark.parametrize("op", ["ListObjectsV2", "PutObject"])
@pytest.mark.guarantee(
    "answers",
    "an answer that begins and never ends",
    "it is given up, and the request is made again",
)
async def test_an_answer_that_stops_in_the_middle_is_given_up(robot: Robot, op: str) -> None:
    looks = 0

    def later() -> float:
        """The clock of who watches the body: an hour passes between two looks."""
        nonlocal looks
        looks += liar.told[op] > 0
        return robot.service.now() + looks * 3600.0

    async with between(robot, request_timeout=0.3) as liar:
        liar.hold_open = True
        liar.lie(op, always(raw(200, b"<", length=1000, **XML)))
        robot.service.s3.server.calls.now = later
        row = await robot.land()
        told = await robot.attempt(row)
        liar.repent()
        robot.service.s3.server.calls.now = robot.service.now
        done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "offline")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- ranges


@pytest.mark.parametrize(
    "answer",
    [
        raw(200, b"0123456789", ETag=OTHER),
        raw(206, b"4567", ETag=OTHER),
        raw(206, b"3456", ETag=OTHER, Content_Range="bytes 3-6/10"),
        raw(206, b"456789", ETag=OTHER, Content_Range="bytes 4-9/10"),
        raw(206, b"45678", ETag=OTHER, Content_Range="bytes 4-7/10"),
        raw(206, b"4567", ETag=OTHER, Content_Range="somewhere"),
    ],
)
@pytest.mark.guarantee(
    "answers", "other bytes of an object than were asked for", "the reader hears an error"
)
async def test_another_range_than_was_asked_for_is_not_believed(
    robot: Robot, answer: bytes
) -> None:
    async with between(robot) as liar:
        liar.lie("GetObject", always(answer))
        with pytest.raises(NotS3):
            async with robot.service.objects.read(f"{HOME}x.ulg", first=4, last=7):
                pass


@pytest.mark.parametrize(("first", "last"), [(0, 3), (4, 7), (8, 99), (5, None), (0, None)])
async def test_a_range_brings_the_bytes_that_were_asked_for(
    robot: Robot, first: int, last: int | None
) -> None:
    robot.put(f"{HOME}x.ulg", b"0123456789")

    async with robot.service.objects.read(f"{HOME}x.ulg", first=first, last=last) as (_, blocks):
        got = b"".join([block async for block in blocks])

    assert got == b"0123456789"[first : None if last is None else last + 1]
