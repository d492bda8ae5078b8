"""Many logs of one size: what is known here rules out, and S3 is asked of hardly any."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from robot import BUCKET, DROP, HOME, MACHINE, SMALL, Robot, refusal

from petal_s3.core.settings import MIB
from petal_s3.demo.faults import Fault, says
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import remote_objects
from petal_s3.outbox.rows import Row

MANY = 200
TINY = 5_000
EIGHT = 8 * MIB


async def forget_everything(robot: Robot) -> None:
    """The state directory is lost."""
    await robot.service.stop()
    shutil.rmtree(robot.state)
    await robot.open()
    robot.ledger.clear()


def many(robot: Robot) -> list[Path]:
    """Logs of one size that differ in their last bytes."""
    first = robot.write("0.ulg", TINY)
    head = first.read_bytes()[:-4]
    paths = [first]
    for number in range(1, MANY):
        path = robot.logs / f"{number}.ulg"
        path.write_bytes(head + number.to_bytes(4, "big"))
        paths.append(path)
    return paths


async def all_proven(robot: Robot) -> list[Row]:
    await robot.service.scan()
    await robot.service.landed()
    while await robot.service.drainer.step():
        pass
    rows = [await robot.row(number) for number in range(1, MANY + 1)]
    assert {row.state for row in rows} == {"verified"}
    return rows


def heads(robot: Robot) -> int:
    return robot.count("HeadObject")


@pytest.mark.guarantee(
    "device",
    "hundreds of logs of one size, also after the loss of the outbox",
    "S3 is asked at most twice of each: size, CRC32 and ETags rule out here",
)
async def test_of_many_logs_of_one_size_s3_is_asked_twice_at_most(robot: Robot) -> None:
    paths = many(robot)

    await all_proven(robot)
    first = heads(robot)
    await forget_everything(robot)
    for path in paths:  # other keys than before: nothing is found at once
        path.rename(path.with_name(f"again-{path.name}"))
    rows = await all_proven(robot)

    assert first <= 2 * MANY
    assert heads(robot) <= 2 * MANY
    assert robot.ledger.body_bytes == 0
    assert len(robot.stored()) == MANY
    assert len({row.key for row in rows}) == MANY


def stored_in_parts(robot: Robot, key: str, body: bytes, part_size: int, **more: Any) -> None:
    """Somebody else's tool put it there, part by part."""
    upload = robot.cloud.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]
    about = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    parts = []
    for number, at in enumerate(range(0, len(body), part_size), 1):
        part = robot.cloud.upload_part(**about, PartNumber=number, Body=body[at : at + part_size])
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    robot.cloud.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize(
    ("part_size", "metadata"),
    [(EIGHT, {}), (7 * MIB, {"part-size": str(7 * MIB)})],
    ids=["a usual part size", "one that its uploader wrote down"],
)
@pytest.mark.guarantee(
    "device",
    "the bytes stand under another owned key, in parts of a usual or a known size",
    "recognised, nothing is sent",
)
async def test_an_object_in_parts_of_another_size_is_recognised(
    robot: Robot, part_size: int, metadata: dict[str, str]
) -> None:
    path = robot.write(size=2 * EIGHT - 1000)
    key = f"{HOME}20200101_000000_before.ulg"
    stored_in_parts(robot, key, path.read_bytes(), part_size, Metadata=metadata)

    done = await robot.attempt(await robot.service.enqueue(path))

    assert (done.state, done.key) == ("verified", key)
    assert robot.ledger.body_bytes == 0


async def test_of_an_object_in_parts_of_an_unknown_size_s3_is_asked_once(robot: Robot) -> None:
    size = 2 * EIGHT - 1000
    body = os.urandom(size)
    for name, part_size in (("a", EIGHT), ("b", 7 * MIB + 1)):
        stored_in_parts(robot, f"{HOME}{name}.ulg", body, part_size)
    counts = []

    for seed in range(3):
        before = len(robot.ledger.requests("HeadObject", f"{HOME}a.ulg"))
        before += len(robot.ledger.requests("HeadObject", f"{HOME}b.ulg"))
        await robot.attempt(await robot.land(f"{seed}.ulg", size=size, seed=seed))
        after = len(robot.ledger.requests("HeadObject", f"{HOME}a.ulg"))
        after += len(robot.ledger.requests("HeadObject", f"{HOME}b.ulg"))
        counts.append(after - before)

    assert counts == [2, 0, 0]


async def test_an_object_of_the_inventory_that_is_gone_is_asked_for_once(robot: Robot) -> None:
    key = f"{HOME}20200101_000000_before.ulg"
    path = robot.write("one.ulg")
    robot.put(key, path.read_bytes())
    await robot.attempt(await robot.land("other.ulg", seed=1))  # the bucket is listed
    robot.cloud.delete_object(Bucket=BUCKET, Key=key)

    done = await robot.attempt(await robot.service.enqueue(path))
    known = await robot.service.outbox(remote_objects.exists, key)

    assert (done.state, done.same_as, known) == ("verified", None, False)
    assert robot.body(done.key) == path.read_bytes()


@pytest.mark.parametrize("feature", ["md5_etags", "joined_etags"])
async def test_where_etags_say_nothing_they_rule_nothing_out(robot: Robot, feature: Any) -> None:
    """The object is of other bytes by its ETag: on such a server S3 is asked all the same."""
    size = 6 * MIB
    key = f"{HOME}20200101_000000_before.ulg"
    robot.put(key, os.urandom(size))
    told = robot.service.s3.learn
    told(feature, offered=False, by="a test")

    for seed in range(2):
        done = await robot.attempt(await robot.land(f"{seed}.ulg", size=size, seed=seed))
        assert done.state == "verified"

    assert len(robot.ledger.requests("HeadObject", key)) == 1, "and once only"


async def test_the_same_bytes_in_a_bucket_whose_etags_say_nothing_are_sent_and_not_asked_for(
    robot: Robot,
) -> None:
    """What S3 says of the first is remembered, and would be no proof for the second."""
    one = await robot.finish(await robot.land("one.ulg"))
    robot.service.s3.learn("md5_etags", offered=False, by="a test")
    robot.sql("UPDATE log SET receipt = json_set(receipt, '$.etag', 'of another make')")

    other = await robot.finish(await robot.land("other.ulg"))

    assert len(robot.ledger.requests("HeadObject", one.key)) == 2  # before it was sent, and after
    assert (other.state, other.same_as) == ("verified", None)
    assert robot.body(other.key) == (robot.logs / "other.ulg").read_bytes()


# -- the listing

LISTING = "ListObjectsV2"


def page(key: str, following: str = "") -> Fault:
    """One page of a listing, which holds one object."""
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    body = (
        f"<?xml version='1.0'?><ListBucketResult><Name>{BUCKET}</Name>"
        f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>{more}<Contents>"
        f"<Key>{key}</Key><Size>1</Size><ETag>x</ETag></Contents></ListBucketResult>"
    )
    return says(200, body.encode(), {"Content-Type": "application/xml"})


def tokens(robot: Robot) -> list[str | None]:
    asked = [parse_qs(request.query) for request in robot.ledger.requests(LISTING)]
    return [one.get("continuation-token", [None])[0] for one in asked]


@pytest.mark.guarantee(
    "device",
    "the process ends in the middle of the first listing of the bucket",
    "the listing goes on where it was",
)
async def test_a_listing_goes_on_in_the_next_process(robot: Robot) -> None:
    robot.fault(LISTING, page(f"{HOME}a.ulg", following="after a"))
    robot.fault(LISTING, page(f"{HOME}b.ulg", following="after b"))
    robot.fault(LISTING, DROP)
    row = await robot.attempt(await robot.land())
    await robot.restart()

    done = await robot.finish(row)

    assert done.state == "verified"
    assert tokens(robot)[:4] == [None, "after a", "after b", "after b"]
    assert len(tokens(robot)) == 4 + len(robot.service.ownership.listed) - 1
    for name in "ab":
        assert await robot.service.outbox(remote_objects.exists, f"{HOME}{name}.ulg")


@pytest.mark.parametrize("answer", [refusal(400, "InvalidArgument"), refusal(500, "InternalError")])
async def test_a_listing_whose_place_s3_no_longer_knows_begins_anew(
    robot: Robot, answer: Fault
) -> None:
    robot.fault(LISTING, page(f"{HOME}a.ulg", following="stale"))
    robot.fault(LISTING, answer)
    row = await robot.attempt(await robot.land())

    done = await robot.finish(row)

    assert done.state == "verified"
    assert tokens(robot)[:3] == [None, "stale", None]


async def test_a_root_that_another_covers_is_not_listed_by_itself(robot: Robot) -> None:
    ownership = KeyOwnership("deleted/", (MACHINE,), BUCKET)
    robot.service.uploader.duplicates.inventory.ownership = ownership

    await robot.finish(await robot.land(size=SMALL))

    assert ownership.listed == (
        f"deleted/{MACHINE}/",
        f"{MACHINE}/",
        f"deleted/deleted/{MACHINE}/",
    )
    assert (len(ownership.owned_prefixes), robot.count(LISTING)) == (4, 3)
