"""A file of one part travels in one request and is proven by what S3 says of it."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from rig import DROP, HOME, LOSE_ANSWER, MACHINE, SMALL, Rig

from petal_s3.core.settings import MIB


async def test_a_small_log_is_one_put_and_no_multipart(rig: Rig) -> None:
    row = await rig.land()

    done = await rig.attempt(row)

    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    assert rig.count("PutObject") == 1
    assert not {"CreateMultipartUpload", "UploadPart"} & set(rig.ops())
    assert rig.ledger.body_bytes == SMALL


async def test_the_receipt_says_what_s3_holds_and_how_it_was_proven(rig: Rig) -> None:
    row = await rig.land()

    receipt = (await rig.attempt(row)).receipt

    data = (rig.logs / "flight.ulg").read_bytes()
    crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    told = rig.head(row.key)
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
    rig: Rig, name: str, content_type: str, kind: str
) -> None:
    row = await rig.attempt(await rig.land(name))

    told = rig.head(row.key)

    assert told["ContentType"] == content_type
    assert told["ServerSideEncryption"] == "AES256"
    about = told["Metadata"]
    assert about["original-filename"] == name
    assert about["machine-id"] == MACHINE
    assert about["log-kind"] == kind
    assert about["log-verdict"] == "complete"
    assert int(about["upload-timestamp"]) > 1_600_000_000
    assert "part-size" not in about


async def test_what_the_header_of_a_ulog_says_travels_along(rig: Rig) -> None:
    row = await rig.attempt(await rig.land())

    about = rig.head(row.key)["Metadata"]

    assert about["ver-hw"] == "PX4_FMU_V6X"
    assert about["sys-uuid"] == "000600000000demo"


async def test_a_name_of_any_letters_makes_a_plain_key_and_travels_encoded(rig: Rig) -> None:
    row = await rig.attempt(await rig.land("Flug über Zürich 😀.ulg"))

    about = rig.head(row.key)["Metadata"]

    assert row.key.startswith(HOME)
    assert row.key.endswith("_Flug_ber_Z_rich.ulg")
    assert about["original-filename"] == "Flug%20%C3%BCber%20Z%C3%BCrich%20%F0%9F%98%80.ulg"


@pytest.mark.parametrize(
    ("sse", "told", "key_id"),
    [("none", None, None), ("aws:kms", "aws:kms", None), ("aws:kms:key-7", "aws:kms", "key-7")],
)
async def test_encryption_is_asked_for_as_set(
    rig: Rig, sse: str, told: str | None, key_id: str | None
) -> None:
    await rig.restart(sse=sse)
    await rig.land()

    await rig.step()

    sent = rig.ledger.requests("PutObject")[0].headers
    assert sent.get("x-amz-server-side-encryption") == told
    assert sent.get("x-amz-server-side-encryption-aws-kms-key-id") == key_id


async def test_a_log_of_exactly_one_part_is_one_put(rig: Rig) -> None:
    row = await rig.attempt(await rig.land(size=5 * MIB))

    rig.assert_sent_once(row, rig.logs / "flight.ulg")
    assert rig.count("PutObject") == 1


@pytest.mark.guarantee(
    "links",
    "the answer to a small log is lost",
    "the object is recognised; nothing is sent again",
)
async def test_a_put_whose_answer_was_lost_is_recognised_and_not_sent_again(rig: Rig) -> None:
    rig.fault("PutObject", LOSE_ANSWER)
    row = await rig.land()

    after_loss = await rig.attempt(row)
    done = await rig.attempt(row)

    assert (after_loss.state, after_loss.code) == ("queued", "offline")
    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    assert rig.count("PutObject") == 1


@pytest.mark.guarantee(
    "links",
    "cut in the body of a small log",
    "it is sent again, whole, when the link is back",
)
async def test_a_put_that_was_cut_in_its_body_is_sent_again(rig: Rig) -> None:
    row = await rig.land(size=4 * MIB)
    rig.link.rate_bytes_s = 40 * MIB
    rig.cut_after(1 * MIB, "PutObject")

    cut = await rig.attempt(row)
    await rig.link.restore()
    done = await rig.attempt(row)

    assert (cut.state, cut.code) == ("queued", "offline")
    assert 1 * MIB <= rig.ledger.requests("PutObject")[0].body_bytes < 4 * MIB
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "a small log is dropped before S3 hears of it",
    "one request on the wire: no library repeats it in silence",
)
async def test_a_dropped_connection_is_one_request_on_the_wire(rig: Rig) -> None:
    """Libraries below repeat a PUT in silence when a connection drops."""
    rig.fault("PutObject", DROP)
    row = await rig.land()

    dropped = await rig.attempt(row)

    assert (dropped.state, dropped.code) == ("queued", "offline")
    assert rig.count("PutObject") == 1
