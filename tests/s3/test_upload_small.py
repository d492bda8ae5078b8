"""A file of one part travels in one request and is proven by what S3 says of it."""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import datetime, timedelta, timezone

import pytest
from robot import DROP, HOME, LOSE_ANSWER, MACHINE, SMALL, Robot

from petal_s3.core.settings import MIB


async def test_a_small_log_is_one_put_and_no_multipart(robot: Robot) -> None:
    row = await robot.land()

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("PutObject") == 1
    assert not {"CreateMultipartUpload", "UploadPart"} & set(robot.ops())
    assert robot.ledger.body_bytes == SMALL


async def test_the_receipt_says_what_s3_holds_and_how_it_was_proven(robot: Robot) -> None:
    row = await robot.land()

    receipt = (await robot.attempt(row)).receipt

    data = (robot.logs / "flight.ulg").read_bytes()
    crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    told = robot.head(row.key)
    assert receipt is not None
    assert receipt.key == row.key
    assert receipt.etag == hashlib.md5(data).hexdigest() == told["ETag"].strip('"')
    assert receipt.checksum == f"crc32:{crc32}"
    assert receipt.size == len(data) == told["ContentLength"]
    assert receipt.proof == "etag"  # this S3 server keeps no checksum of a single put


@pytest.mark.parametrize(
    ("name", "content_type", "kind"),
    [("flight.ulg", "application/x-ulog", "ulog"), ("cam.bag", "application/x-rosbag", "rosbag")],
)
async def test_an_object_tells_what_it_is(
    robot: Robot, name: str, content_type: str, kind: str
) -> None:
    row = await robot.attempt(await robot.land(name))

    told = robot.head(row.key)

    assert told["ContentType"] == content_type
    assert told["ServerSideEncryption"] == "AES256"
    about = told["Metadata"]
    assert about["original-filename"] == name
    assert about["machine-id"] == MACHINE
    assert about["log-kind"] == kind
    assert about["log-verdict"] == "complete"
    when = datetime.fromisoformat(about["upload-timestamp"])  # ISO 8601
    assert abs(datetime.now(timezone.utc) - when) < timedelta(minutes=10)
    assert when.utcoffset() == timedelta(0)
    assert "part-size" not in about


async def test_what_the_header_of_a_ulog_says_travels_along(robot: Robot) -> None:
    row = await robot.attempt(await robot.land())

    about = robot.head(row.key)["Metadata"]

    assert about["ver-hw"] == "PX4_FMU_V6X"
    assert about["sys-uuid"] == "000600000000demo"


async def test_a_name_of_any_letters_makes_a_plain_key_and_travels_encoded(robot: Robot) -> None:
    row = await robot.attempt(await robot.land("Flug über Zürich 😀.ulg"))

    about = robot.head(row.key)["Metadata"]

    assert row.key.startswith(HOME)
    assert row.key.endswith("_Flug_ber_Z_rich.ulg")
    assert about["original-filename"] == "Flug%20%C3%BCber%20Z%C3%BCrich%20%F0%9F%98%80.ulg"


@pytest.mark.parametrize(
    ("sse", "told", "key_id"),
    [("none", None, None), ("aws:kms", "aws:kms", None), ("aws:kms:key-7", "aws:kms", "key-7")],
)
async def test_encryption_is_asked_for_as_set(
    robot: Robot, sse: str, told: str | None, key_id: str | None
) -> None:
    await robot.restart(sse=sse)
    await robot.land()

    await robot.step()

    sent = robot.ledger.requests("PutObject")[0].headers
    assert sent.get("x-amz-server-side-encryption") == told
    assert sent.get("x-amz-server-side-encryption-aws-kms-key-id") == key_id


async def test_a_log_of_exactly_one_part_is_one_put(robot: Robot) -> None:
    row = await robot.attempt(await robot.land(size=5 * MIB))

    robot.assert_sent_once(row, robot.logs / "flight.ulg")
    assert robot.count("PutObject") == 1


@pytest.mark.guarantee(
    "links",
    "the answer to a small log is lost",
    "the object is recognised; nothing is sent again",
)
async def test_a_put_whose_answer_was_lost_is_recognised_and_not_sent_again(robot: Robot) -> None:
    robot.fault("PutObject", LOSE_ANSWER)
    row = await robot.land()

    after_loss = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (after_loss.state, after_loss.code) == ("queued", "offline")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("PutObject") == 1


@pytest.mark.guarantee(
    "links",
    "cut in the body of a small log",
    "it is sent again, whole, when the link is back",
)
async def test_a_put_that_was_cut_in_its_body_is_sent_again(robot: Robot) -> None:
    row = await robot.land(size=4 * MIB)
    robot.link.rate_bytes_s = 40 * MIB
    robot.cut_after(1 * MIB, "PutObject")

    cut = await robot.attempt(row)
    robot.link.forward()
    done = await robot.attempt(row)

    assert (cut.state, cut.code) == ("queued", "offline")
    assert 1 * MIB <= robot.ledger.requests("PutObject")[0].body_bytes < 4 * MIB
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a small log is dropped before S3 hears of it",
    "one request on the wire: no library repeats it in silence",
)
async def test_a_dropped_connection_is_one_request_on_the_wire(robot: Robot) -> None:
    """Libraries below repeat a PUT in silence when a connection drops."""
    robot.fault("PutObject", DROP)
    row = await robot.land()

    dropped = await robot.attempt(row)

    assert (dropped.state, dropped.code) == ("queued", "offline")
    assert robot.count("PutObject") == 1
