"""Whoever answers in place of S3 is not believed, and learns nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from robot import (
    BUCKET,
    DROP,
    HOME,
    LOSE_ANSWER,
    PORTAL_PAGE,
    SMALL,
    TWO_PARTS,
    Robot,
    refusal,
    until,
)

from petal_s3.core.settings import MIB
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.errors import NotS3, Transient
from petal_s3.s3.stalls import Patience

EMPTY = says(200)
PAGE = says(200, PORTAL_PAGE, {"Content-Type": "text/html"})
WELL_FORMED_PAGE = says(200, b"<html><body/></html>", {"Content-Type": "text/html"})
TRUNCATED = says(
    200, b"<?xml version='1.0'?><Result><Bucket>logs</Bu", {"Content-Type": "application/xml"}
)
ANSWERS = pytest.mark.parametrize(
    "portal",
    [
        pytest.param(EMPTY, id="empty"),
        pytest.param(PAGE, id="page"),
        pytest.param(WELL_FORMED_PAGE, id="well-formed-page"),
        pytest.param(TRUNCATED, id="truncated"),
    ],
)


async def never_verified_until_healed(robot: Robot, row: Any, op: str, portal: Fault) -> None:
    robot.fault(op, portal, times=100)
    for _ in range(3):
        await robot.service.drainer.pause.retry_now()
        now = await robot.attempt(row)
        assert now.state == "queued"
        assert now.reason
    assert robot.count(op) >= 3
    robot.heal()
    done = await robot.finish(row)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@ANSWERS
@pytest.mark.parametrize("op", ["ListObjectsV2", "HeadObject", "PutObject"])
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers a small log's requests: 200, empty, a page, half of an answer",
    "never proven by it; sent when S3 answers",
)
@pytest.mark.threat("path")
async def test_a_portal_never_proves_a_small_log(robot: Robot, op: str, portal: Fault) -> None:
    row = await robot.land()

    await never_verified_until_healed(robot, row, op, portal)


@ANSWERS
@pytest.mark.parametrize("op", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers a large log's requests",
    "never proven by it; no confirmed part travels again",
)
@pytest.mark.threat("path")
async def test_a_portal_never_proves_a_large_log(robot: Robot, op: str, portal: Fault) -> None:
    row = await robot.land(size=TWO_PARTS)

    await never_verified_until_healed(robot, row, op, portal)


@ANSWERS
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers which parts are held",
    "no part is taken for held or for lost; only what is missing travels",
)
async def test_a_portal_is_not_believed_about_held_parts(robot: Robot, portal: Fault) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=TWO_PARTS))

    await never_verified_until_healed(robot, row, "ListParts", portal)

    assert robot.count("UploadPart") == 3  # two, and the one that was dropped


@ANSWERS
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers which uploads are open",
    "the upload whose id was never heard is not left behind",
)
async def test_a_portal_is_not_believed_about_open_uploads(robot: Robot, portal: Fault) -> None:
    robot.fault("CreateMultipartUpload", LOSE_ANSWER)
    row = await robot.attempt(await robot.land(size=TWO_PARTS))
    robot.fault("ListMultipartUploads", portal)

    await robot.attempt(row)
    done = await robot.finish(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@ANSWERS
@pytest.mark.guarantee(
    "answers", "a captive portal answers an abort", "it is aborted again until S3 has done it"
)
async def test_a_portal_is_not_believed_about_an_abort(robot: Robot, portal: Fault) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=TWO_PARTS))
    await robot.service.cancel(row.id)
    robot.fault("AbortMultipartUpload", portal)

    await robot.service.drainer.housekeeping.sweep()
    not_yet = await robot.row(row)
    await robot.service.drainer.housekeeping.sweep()

    assert not_yet.upload_id == row.upload_id
    assert (await robot.row(row)).upload_id is None
    assert robot.open_uploads() == []


@ANSWERS
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers a deletion",
    "the caller hears an error, the row stays verified",
)
@pytest.mark.threat("path")
async def test_a_portal_is_not_believed_about_a_deletion(robot: Robot, portal: Fault) -> None:
    row = await robot.attempt(await robot.land())
    robot.fault("DeleteObject", portal)

    with pytest.raises(Transient):
        await robot.service.objects.delete(row.key)

    assert (await robot.row(row)).state == "verified"


@ANSWERS
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers the copy of a move",
    "the source is kept, the row still names it",
)
@pytest.mark.threat("path")
async def test_a_portal_is_not_believed_about_a_copy(robot: Robot, portal: Fault) -> None:
    row = await robot.attempt(await robot.land())
    robot.always("CopyObject", portal)

    with pytest.raises(Transient):
        await robot.service.objects.move(row.key, HOME + "elsewhere.ulg")

    assert robot.stored() == [row.key]
    assert (await robot.row(row)).key == row.key


@ANSWERS
@pytest.mark.guarantee("answers", "a captive portal answers a download", "no file appears")
async def test_a_portal_is_not_believed_about_a_download(robot: Robot, portal: Fault) -> None:
    row = await robot.attempt(await robot.land())
    robot.fault("GetObject", portal)

    with pytest.raises(NotS3):
        await robot.service.objects.download(row.key, robot.tmp / "got.ulg")

    assert not (robot.tmp / "got.ulg").exists()


@pytest.mark.guarantee(
    "answers",
    "a captive portal answers many downloads with long pages",
    "every connection comes back; the next download works",
)
async def test_many_portal_pages_do_not_use_up_the_connections(robot: Robot) -> None:
    row = await robot.attempt(await robot.land())
    long_page = says(200, PORTAL_PAGE + bytes(MIB), {"Content-Type": "text/html"})
    robot.fault("GetObject", long_page, times=12)
    for _ in range(12):
        with pytest.raises(NotS3):
            await robot.service.objects.download(row.key, robot.tmp / "got.ulg")

    size, proof = await robot.service.objects.download(row.key, robot.tmp / "got.ulg")

    assert (size, proof) == (SMALL, "etag")


@pytest.mark.guarantee(
    "answers",
    "a captive portal where nothing was sent yet",
    "every row waits; the reason says that the network may need a login",
)
async def test_a_portal_blocks_the_drain_with_a_plain_reason(robot: Robot) -> None:
    robot.fault("ListObjectsV2", PAGE)
    await robot.land()

    await robot.step()

    block = robot.service.drainer.block
    assert block is not None
    assert block.code == "not_s3"
    assert "login" in block.reason
    assert robot.service.drainer.link == "down"


@pytest.mark.parametrize("status", [200, 400, 403, 501])
@pytest.mark.parametrize(
    ("op", "size"),
    [
        ("PutObject", SMALL),
        ("CreateMultipartUpload", TWO_PARTS),
        ("UploadPart", TWO_PARTS),
        ("CompleteMultipartUpload", TWO_PARTS),
    ],
)
@pytest.mark.guarantee(
    "answers",
    "a captive portal answers with a page once, whatever its status, and then lets S3 answer",
    "nothing is learnt of S3 from it: no option is left out from then on",
)
@pytest.mark.threat("path")
async def test_nothing_is_learnt_from_a_page(robot: Robot, op: str, size: int, status: int) -> None:
    robot.fault(op, says(status, PORTAL_PAGE, {"Content-Type": "text/html"}))
    row = await robot.land(size=size)

    told = await robot.attempt(row)
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "not_s3")
    assert "login" in told.reason
    assert robot.service.s3.capabilities == robot.known
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers", "a listing of another bucket", "not believed: the outbox takes no inventory from it"
)
async def test_a_listing_of_another_bucket_is_not_believed(robot: Robot) -> None:
    body = (
        b"<ListBucketResult><Name>other</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    )
    robot.fault("ListObjectsV2", says(200, body, {"Content-Type": "application/xml"}))
    row = await robot.land()

    assert (await robot.attempt(row)).code == "not_s3"


# -- wrong answers about bytes


@pytest.mark.guarantee(
    "answers",
    "a part is confirmed with another ETag than its md5",
    "it counts for nothing; that part travels again",
)
async def test_a_part_confirmed_with_another_etag_is_sent_again(robot: Robot) -> None:
    robot.fault("UploadPart", says(200, headers={"ETag": f'"{"0" * 32}"'}), part=1)
    row = await robot.land(size=TWO_PARTS)

    wrong = await robot.attempt(row)
    done = await robot.finish(row)

    assert (wrong.state, wrong.code) == ("queued", "mismatch")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers",
    "an object is confirmed with another ETag than its md5",
    "it counts for nothing; what S3 holds decides",
)
async def test_a_put_confirmed_with_another_etag_is_not_believed(robot: Robot) -> None:
    robot.fault("PutObject", says(200, headers={"ETag": f'"{"0" * 32}"'}))
    row = await robot.land()

    wrong = await robot.attempt(row)
    done = await robot.finish(row)

    assert (wrong.state, wrong.code) == ("queued", "mismatch")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("size", [SMALL, TWO_PARTS])
@pytest.mark.parametrize(
    ("etag", "size_told"),
    [('"{other}"', "{size}"), ('"{etag}"', "7"), ('"{other}-3"', "{size}")],
)
@pytest.mark.guarantee(
    "answers",
    "the read-back tells another ETag, another size or another number of parts",
    "no proof, no receipt; the row stays queued",
)
async def test_an_object_of_other_bytes_is_no_proof(
    robot: Robot, size: int, etag: str, size_told: str
) -> None:
    row = await robot.land(size=size)

    async def lie(request: Request) -> Fault | None:
        if not robot.stored():
            return None
        told = robot.head(request.key)["ETag"].strip('"')
        fields = {"other": "0" * 32, "etag": told, "size": size}
        headers = {"ETag": etag.format(**fields), "Content-Length": size_told.format(**fields)}
        return says(200, headers=headers)

    robot.fault("HeadObject", lie, times=2)
    wrong = await robot.attempt(row)

    # Of three parts nothing is known here: that version is asked for, and S3 has it not.
    code = "copy_changed" if "-3" in etag else "mismatch"
    assert (wrong.state, wrong.code) == ("queued", code)
    assert wrong.receipt is None
    done = await robot.finish(row)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers",
    "the completion is answered with an empty ETag, as Ceph may",
    "its answer is no proof anyway: the object is read back",
)
async def test_a_completion_without_an_etag_is_proven_by_what_s3_holds(robot: Robot) -> None:
    async def complete_and_say_little(request: Request) -> Fault:
        held = robot.cloud.list_parts(Bucket=BUCKET, Key=request.key, UploadId=request.upload_id)
        parts = [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in held["Parts"]]
        robot.cloud.complete_multipart_upload(
            Bucket=BUCKET,
            Key=request.key,
            UploadId=request.upload_id,
            MultipartUpload={"Parts": parts},
        )
        body = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"
        return says(200, body, {"Content-Type": "application/xml"})

    robot.fault("CompleteMultipartUpload", complete_and_say_little)

    done = await robot.attempt(await robot.land(size=TWO_PARTS))

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers",
    "a completion is confirmed that never happened",
    "nothing is there, so it is made again from the held parts",
)
async def test_a_completion_that_was_only_said_is_made_again(robot: Robot) -> None:
    body = (
        b"<CompleteMultipartUploadResult><ETag>x</ETag><Bucket>logs</Bucket>"
        b"</CompleteMultipartUploadResult>"
    )
    said = says(200, body, {"Content-Type": "application/xml"})
    robot.fault("CompleteMultipartUpload", said)
    row = await robot.land(size=TWO_PARTS)

    not_yet = await robot.attempt(row)
    done = await robot.finish(row)

    assert (not_yet.state, not_yet.code) == ("queued", "not_yet_there")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers",
    "a completion fails after its 200 was sent",
    "it is an error; made again, no part travels twice",
)
async def test_an_error_inside_a_200_is_an_error(robot: Robot) -> None:
    """S3 sends the 200 of a completion before it knows the end."""
    unwell = refusal(200, "InternalError")
    robot.always("CompleteMultipartUpload", unwell)
    row = await robot.land(size=TWO_PARTS)

    delayed = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (delayed.state, delayed.code) == ("queued", "s3_unwell")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- redirects


class Stranger:
    """A server on another address that only counts who comes."""

    def __init__(self) -> None:
        self.visits: list[dict[str, str]] = []
        self.url = ""

    async def visited(self, request: web.BaseRequest) -> web.Response:
        self.visits.append(dict(request.headers))
        return web.Response()


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    made = Stranger()
    runner = web.ServerRunner(web.Server(made.visited))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


@pytest.mark.parametrize(
    ("op", "status"),
    [
        ("ListObjectsV2", 302),
        ("HeadObject", 307),
        ("PutObject", 301),
        ("PutObject", 302),
        ("PutObject", 303),
        ("PutObject", 307),
        ("PutObject", 308),
    ],
)
@pytest.mark.guarantee(
    "answers",
    "a redirect instead of an answer (301, 302, 303, 307, 308)",
    "not followed; the log arrives when S3 answers",
)
async def test_a_redirect_is_not_followed(
    robot: Robot, stranger: Stranger, status: int, op: str
) -> None:
    robot.fault(op, says(status, headers={"Location": stranger.url}))
    row = await robot.land()

    told = await robot.attempt(row)
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "not_s3")
    assert stranger.visits == []
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "answers",
    "a redirect in the middle of an upload",
    "the part goes nowhere else; then the upload goes on",
)
@pytest.mark.threat("path")
async def test_a_redirect_of_a_part_is_not_followed(robot: Robot, stranger: Stranger) -> None:
    robot.fault("UploadPart", says(307, headers={"Location": stranger.url}), part=2)
    row = await robot.land(size=TWO_PARTS)

    await robot.attempt(row)
    done = await robot.finish(row)

    assert stranger.visits == []
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "the token service redirects to another address",
    "not followed: the request that yields secrets goes nowhere else",
)
@pytest.mark.threat("tokens")
async def test_a_redirect_of_the_token_service_is_not_followed(
    robot: Robot, stranger: Stranger
) -> None:
    async def redirect(_: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": stranger.url})

    runner = web.ServerRunner(web.Server(redirect))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await robot.restart(session_token_url=f"http://127.0.0.1:{runner.addresses[0][1]}/token")
    row = await robot.land()

    told = await robot.attempt(row)
    await runner.cleanup()

    assert (told.state, told.code) == ("queued", "token_service_nonsense")
    assert stranger.visits == []


@pytest.mark.guarantee(
    "refusals",
    "the bucket lies in another region",
    "the drain names PETAL_S3_REGION; no library chases the region",
)
async def test_the_wrong_region_is_a_plain_reason(robot: Robot) -> None:
    """This redirect is one of S3 itself; the library below would chase the region for ever."""
    robot.fault(
        "ListObjectsV2",
        refusal(301, "PermanentRedirect", x_amz_request_id="1", x_amz_bucket_region="eu-central-1"),
        times=2,
    )
    row = await robot.land()

    told = await robot.attempt(row)
    robot.heal()

    assert (told.state, told.code) == ("queued", "bucket")
    assert "PETAL_S3_REGION" in told.reason
    assert len(robot.ledger.requests()) <= 3


@pytest.mark.guarantee(
    "links",
    "the peer stops reading in the middle of a body, over plain http",
    "given up with the reason; then the log arrives",
)
async def test_a_link_that_stalls_is_given_up(robot: Robot) -> None:
    robot.service.s3.server.calls.patience = Patience(stall_s=0.5)

    async def crawl(_: Request) -> None:
        robot.link.rate_bytes_s = 1

    robot.fault("PutObject", crawl)
    row = await robot.land(size=SMALL * 10)

    told = await robot.attempt(row)
    robot.link.rate_bytes_s = 0
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "offline")
    assert "stalled" in told.reason
    assert done.state == "verified"


@pytest.mark.guarantee(
    "links", "the server takes the request and never answers", "given up in time, with the reason"
)
async def test_a_server_that_never_answers_is_given_up(robot: Robot) -> None:
    await robot.restart(request_timeout=0.5)

    async def hang(request: Request) -> Fault:
        await until(lambda: robot.service.drainer.block is not None)
        return DROP

    robot.fault("HeadObject", hang)
    row = await robot.land()

    told = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "offline")
    assert "in time" in told.reason


@pytest.mark.guarantee(
    "answers",
    "an empty answer is called a web page (a refusal by a bucket policy, on moto)",
    "it waits; no login page is blamed that was not seen",
)
async def test_an_empty_answer_is_no_login_page(robot: Robot) -> None:
    row = await robot.land()
    empty = says(403, b"", {"Content-Type": "text/html; charset=utf-8"})
    robot.fault("PutObject", empty, times=4)

    waits = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (waits.state, waits.code) == ("queued", "forbidden")
    assert "403 without a code" in waits.reason
    assert "page" not in waits.reason
    assert "login" not in waits.reason
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
