"""A file of many parts: written down before each step, resumed from what S3 holds, sent once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from robot import (
    BUCKET,
    DROP,
    LOSE_ANSWER,
    PART,
    THREE_PARTS,
    UNWELL,
    Robot,
    refusal,
    until,
)

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.s3.capabilities import Capabilities
from tests.support.known import KNOWN


async def test_a_large_log_travels_in_parts_and_is_proven(robot: Robot) -> None:
    row = await robot.attempt(await robot.land(size=THREE_PARTS))

    robot.assert_sent_once(row, robot.logs / "flight.ulg")
    assert sorted(request.part for request in robot.ledger.requests("UploadPart")) == [1, 2, 3]
    told = robot.head(row.key)
    assert row.receipt is not None
    assert told["ETag"].strip('"') == row.receipt.etag
    assert row.receipt.etag.endswith("-3")
    assert row.receipt.proof == "crc32+etag"


async def test_a_large_object_says_its_part_size_so_that_anyone_can_recompute_the_etag(
    robot: Robot,
) -> None:
    row = await robot.attempt(await robot.land("cam.bag", size=THREE_PARTS))

    told = robot.head(row.key)

    assert told["Metadata"]["part-size"] == str(PART)
    assert told["Metadata"]["original-filename"] == "cam.bag"
    assert told["ContentType"] == "application/x-rosbag"
    assert told["ServerSideEncryption"] == "AES256"


async def test_everything_is_on_disk_before_the_request_that_needs_it(robot: Robot) -> None:
    """The database file is read at the arrival of each request, as after a power cut."""
    seen: dict[str, tuple[Any, ...]] = {}

    async def note(request: Request) -> None:
        columns = "state, part_size, upload_id"
        seen.setdefault(request.op, robot.sql(f"SELECT {columns} FROM log")[0])

    for op in ("ListObjectsV2", "CreateMultipartUpload", "UploadPart"):
        robot.fault(op, note)
    await robot.land(size=THREE_PARTS)

    await robot.step()

    first_of_all = robot.ops()[0]
    upload_id = robot.ledger.requests("UploadPart")[0].upload_id
    assert seen[first_of_all] == ("uploading", None, None)
    assert seen["CreateMultipartUpload"] == ("uploading", PART, None)
    assert seen["UploadPart"] == ("uploading", PART, upload_id)


async def test_confirmed_bytes_are_on_disk_part_by_part(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    seen: list[int] = []

    async def note(_: Request) -> None:
        seen.append(robot.sql("SELECT sent_bytes FROM log")[0][0])

    robot.fault("UploadPart", note, times=3)
    await robot.land(size=THREE_PARTS)

    await robot.step()

    assert seen == [0, PART, 2 * PART]


@pytest.mark.guarantee(
    "links",
    "cut in the middle of a part",
    "the part travels again, nothing confirmed does",
)
async def test_a_cut_connection_resumes_without_resending(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    robot.link.rate_bytes_s = 60e6
    robot.cut_after(1_000_000, part=2)

    cut = await robot.attempt(row)
    robot.link.forward()
    done = await robot.attempt(row)

    assert (cut.state, cut.code, cut.sent_bytes) == ("queued", "offline", PART)
    assert robot.count("ListParts") == 1
    assert [request.part for request in robot.ledger.requests("UploadPart")] == [1, 2, 2, 3]
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "cut while two parts are on their way",
    "at most these two travel again",
)
async def test_a_cut_between_two_parts_in_flight_resumes_without_resending(robot: Robot) -> None:
    row = await robot.land(size=2 * THREE_PARTS)
    robot.cut_after(100_000, part=4)

    await robot.attempt(row)
    robot.link.forward()
    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert done.attempts == 2
    assert robot.count("UploadPart") <= 5 + 2


@pytest.mark.guarantee(
    "links",
    "the first cut of an upload",
    "parts travel one by one until an upload has passed uncut",
)
async def test_after_a_cut_parts_travel_one_by_one_until_an_upload_has_passed(robot: Robot) -> None:
    most = 0

    async def watch(request: Request) -> None:
        nonlocal most
        flying = [r for r in robot.ledger.requests("UploadPart") if r.finished is None]
        most = max(most, len(flying))

    robot.fault("UploadPart", DROP)
    row = await robot.land(size=THREE_PARTS)
    await robot.attempt(row)
    robot.fault("UploadPart", watch, times=2)  # the one that flew beside the cut has arrived

    await robot.attempt(row)
    after_cut, most = most, 0
    robot.fault("UploadPart", watch, times=3)
    await robot.attempt(await robot.land("next.ulg", THREE_PARTS, seed=1))

    assert (after_cut, most) == (1, 2)


@pytest.mark.guarantee(
    "links",
    "the answer to a part is lost",
    "S3 is asked; the part does not travel again",
)
@pytest.mark.parametrize("part", [1, 2, 3])
async def test_a_part_whose_answer_was_lost_is_not_sent_again(robot: Robot, part: int) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", LOSE_ANSWER, part=part)
    row = await robot.land(size=THREE_PARTS)

    lost = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (lost.state, lost.code) == ("queued", "offline")
    assert robot.count("UploadPart") == 3
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "the answer that tells the upload id is lost",
    "that upload is found and aborted, a new one begins",
)
async def test_an_upload_whose_id_was_lost_leaves_no_orphan(robot: Robot) -> None:
    robot.fault("CreateMultipartUpload", LOSE_ANSWER)
    row = await robot.land(size=THREE_PARTS)

    lost = await robot.attempt(row)
    orphans = robot.open_uploads()
    done = await robot.attempt(row)

    assert (lost.upload_id, lost.part_size) == (None, PART)
    assert len(orphans) == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("UploadPart") == 3


@pytest.mark.guarantee(
    "links",
    "the answer to the completion is lost",
    "the object is found and proven; nothing is redone",
)
async def test_a_completion_whose_answer_was_lost_is_asked_for_not_redone(robot: Robot) -> None:
    robot.fault("CompleteMultipartUpload", LOSE_ANSWER)
    row = await robot.land(size=THREE_PARTS)

    lost = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (lost.state, lost.code) == ("queued", "offline")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("CompleteMultipartUpload") == 1
    assert robot.count("UploadPart") == 3


@pytest.mark.guarantee(
    "links",
    "the completion never arrives",
    "it is made again; no part travels again",
)
async def test_a_completion_that_never_arrived_is_made_again(robot: Robot) -> None:
    robot.fault("CompleteMultipartUpload", DROP)
    row = await robot.land(size=THREE_PARTS)

    await robot.attempt(row)
    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("CompleteMultipartUpload") == 2
    assert robot.count("UploadPart") == 3


async def test_a_completed_upload_that_s3_still_lists_is_proven(robot: Robot) -> None:
    """S3 may answer for an upload for a while after it was completed: 412 is no failure."""
    robot.fault("CompleteMultipartUpload", LOSE_ANSWER)
    row = await robot.land(size=THREE_PARTS)
    await robot.attempt(row)
    upload_id = robot.ledger.requests("UploadPart")[0].upload_id
    robot.always("ListParts", parts_answer(robot, row.key, upload_id))
    robot.always("CompleteMultipartUpload", refusal(412, "PreconditionFailed"))

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("UploadPart") == 3


@pytest.mark.guarantee(
    "links",
    "cut when the proof is read back",
    "the proof is asked for again; nothing is sent",
)
async def test_a_proof_that_was_cut_off_is_asked_for_again(robot: Robot) -> None:
    row = await robot.land(size=THREE_PARTS)

    async def cut_after_completion(_: Request) -> Any:
        return DROP if robot.count("CompleteMultipartUpload") else None

    robot.fault("HeadObject", cut_after_completion, times=2)
    cut = await robot.attempt(row)
    done = await robot.attempt(row)

    assert cut.state == "queued"
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("CompleteMultipartUpload") == 1


async def test_an_upload_aborted_behind_our_back_begins_anew(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.cloud.abort_multipart_upload(Bucket=BUCKET, Key=row.key, UploadId=row.upload_id)

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    ids = [request.upload_id for request in robot.ledger.requests("UploadPart")]
    assert len(set(ids)) == 2
    assert ids.count(ids[-1]) == 3


@pytest.mark.parametrize("op", ["UploadPart", "CompleteMultipartUpload"])
async def test_an_upload_that_s3_forgets_in_the_middle_begins_anew(robot: Robot, op: str) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=THREE_PARTS)

    async def forget(request: Request) -> Any:
        robot.cloud.abort_multipart_upload(
            Bucket=BUCKET, Key=request.key, UploadId=request.upload_id
        )
        return refusal(404, "NoSuchUpload")

    robot.fault(op, forget)
    gone = await robot.attempt(row)
    if op == "CompleteMultipartUpload":  # it may be whole, and be shown late
        sent = robot.count("UploadPart")
        waits = await robot.attempt(row)
        assert (waits.state, waits.code) == ("queued", "not_yet_there")
        assert robot.count("UploadPart") == sent
        robot.late_reads_are_over()
    done = await robot.finish(row)

    assert (gone.state, gone.code) == ("queued", "upload_gone")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("CreateMultipartUpload") == 2


async def test_a_held_part_with_other_bytes_is_sent_again(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.cloud.upload_part(
        Bucket=BUCKET, Key=row.key, UploadId=row.upload_id, PartNumber=1, Body=bytes(PART)
    )

    done = await robot.attempt(row)

    assert done.state == "verified"
    assert robot.body(row.key) == (robot.logs / "flight.ulg").read_bytes()
    assert done.parts_resent == 1
    assert [request.part for request in robot.ledger.requests("UploadPart")] == [1, 2, 2, 3, 1]


async def test_a_held_part_of_another_size_is_sent_again(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.cloud.upload_part(
        Bucket=BUCKET, Key=row.key, UploadId=row.upload_id, PartNumber=3, Body=b"half"
    )

    done = await robot.attempt(row)

    assert done.state == "verified"
    assert robot.body(row.key) == (robot.logs / "flight.ulg").read_bytes()


@pytest.mark.guarantee(
    "links",
    "a part is dropped before S3 hears of it",
    "one request on the wire: no library repeats it in silence",
)
async def test_a_dropped_part_is_one_request_on_the_wire(robot: Robot) -> None:
    """Libraries below repeat a PUT in silence when a connection drops."""
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=1)
    row = await robot.land(size=THREE_PARTS)

    dropped = await robot.attempt(row)

    assert (dropped.state, dropped.code) == ("queued", "offline")
    assert robot.count("UploadPart") == 1


@pytest.mark.guarantee(
    "links",
    "any other request is dropped",
    "one request on the wire; the row waits with the reason",
)
@pytest.mark.parametrize(
    "op", ["ListObjectsV2", "HeadObject", "CreateMultipartUpload", "CompleteMultipartUpload"]
)
async def test_no_dropped_request_is_repeated_in_silence(robot: Robot, op: str) -> None:
    robot.fault(op, DROP)
    row = await robot.land(size=THREE_PARTS)

    dropped = await robot.attempt(row)

    assert (dropped.state, dropped.code) == ("queued", "offline")
    assert robot.ops()[-1] == op
    assert robot.count(op) == 1


@pytest.mark.parametrize(
    "op", ["HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
)
async def test_an_unwell_s3_delays_and_loses_nothing(robot: Robot, op: str) -> None:
    robot.always(op, UNWELL)
    row = await robot.land(size=THREE_PARTS)

    delayed = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (delayed.state, delayed.code) == ("queued", "s3_unwell")
    assert robot.service.drainer.block is None  # this row's trouble, not everybody's
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("op", ["HeadObject", "CreateMultipartUpload", "CompleteMultipartUpload"])
async def test_what_has_no_body_is_asked_once_more_at_once(robot: Robot, op: str) -> None:
    robot.fault(op, UNWELL)
    asked = {"HeadObject": 3}.get(op, 2)  # one before the first byte, one for the proof

    done = await robot.attempt(await robot.land(size=THREE_PARTS))

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert (done.attempts, robot.count(op)) == (1, asked)
    assert robot.service.s3.capabilities.known == robot.known.known


async def test_a_refused_part_does_not_cut_off_the_one_beside_it(robot: Robot) -> None:
    """On a slow link that one may be minutes on its way."""
    robot.link.rate_bytes_s = 20e6

    async def refuse_when_both_fly(_: Request) -> Fault:
        other = robot.ledger.requests("UploadPart")[0]
        await until(lambda: other.body_bytes > PART // 2)
        return UNWELL

    row = await robot.land(size=2 * PART)

    async def wait_for_second(_: Request) -> None:
        robot.fault("UploadPart", refuse_when_both_fly)

    robot.fault("UploadPart", wait_for_second)
    refused = await robot.attempt(row)

    assert (refused.state, refused.code) == ("queued", "s3_unwell")
    assert refused.sent_bytes == PART


async def test_the_part_size_is_kept_when_the_setting_changes(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))

    await robot.restart(part_size=2 * PART)
    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.head(row.key)["Metadata"]["part-size"] == str(PART)


def parts_answer(robot: Robot, key: str, upload_id: str) -> Any:
    """What S3 says of the parts of an upload that it has just completed."""
    data = (robot.logs / "flight.ulg").read_bytes()
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>"
        f'"{hashlib.md5(data[at : at + PART]).hexdigest()}"</ETag>'
        f"<Size>{len(data[at : at + PART])}</Size></Part>"
        for n, at in enumerate(range(0, len(data), PART), 1)
    )
    body = (
        f"<ListPartsResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key>"
        f"<UploadId>{upload_id}</UploadId><IsTruncated>false</IsTruncated>{parts}"
        "</ListPartsResult>"
    )
    return says(200, body.encode(), {"Content-Type": "application/xml"})


@pytest.mark.guarantee(
    "answers",
    "ListParts is answered 501 once, by a server of which nothing is known",
    "no confirmed part is given up: it is asked again before the upload begins anew",
)
async def test_one_odd_answer_about_parts_throws_none_away(robot: Robot) -> None:
    known = {name: one for name, one in KNOWN.known.items() if name != "list_parts"}
    robot.known = Capabilities(known)
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.fault("ListParts", refusal(501, "NotImplemented"))

    waits = await robot.attempt(row)
    done = await robot.finish(row)

    assert (waits.code, waits.upload_id) == ("not_implemented", row.upload_id)
    robot.assert_sent_once(done, Path(row.path))


@pytest.mark.guarantee(
    "answers",
    "ListParts is answered 501 twice, by a server that offers it",
    "no confirmed part is given up: whether it offers it is asked where nothing can be lost",
)
async def test_two_odd_answers_about_parts_throw_none_away(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.fault("ListParts", refusal(501, "NotImplemented"), times=2)

    waits = [await robot.attempt(row), await robot.attempt(row)]
    done = await robot.finish(row)

    assert {one.code for one in waits} == {"not_implemented"}
    robot.assert_sent_once(done, Path(row.path))


async def test_a_server_that_no_longer_lists_parts_gets_them_anew(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    robot.always("ListParts", refusal(501, "NotImplemented"))

    waits = await robot.attempt(row)
    done = await robot.finish(row)

    assert (waits.code, done.state) == ("not_implemented", "verified")
    assert robot.service.s3.capabilities.lacks("list_parts")


async def test_what_a_part_was_answered_is_no_answer_about_the_list_of_parts(robot: Robot) -> None:
    known = {name: one for name, one in KNOWN.known.items() if name != "list_parts"}
    robot.known = Capabilities(known)
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", refusal(501, "NotImplemented"), part=3)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    assert (row.code, row.failures > 0) == ("not_implemented", True)
    robot.fault("ListParts", refusal(501, "NotImplemented"))

    waits = await robot.attempt(row)
    done = await robot.finish(waits)

    assert (waits.code, waits.upload_id) == ("not_implemented", row.upload_id)
    robot.assert_sent_once(done, Path(row.path))
