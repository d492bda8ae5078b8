"""Others abort uploads and delete the bucket: the log arrives all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from petal_s3.admin.verify import verify
from petal_s3.demo.ledger import Request
from petal_s3.outbox import queries
from tests.servers.drone import PART, SMALL, THREE_PARTS, Drone, is_trial


def meanwhile(drone: Drone, op: str, part: int, do: Callable[[], None]) -> None:
    """Do it once, between the drone's request and the server that is to hear it."""
    done = False

    async def act(request: Request) -> None:
        nonlocal done
        if not done and (request.op, request.part) == (op, part):
            done = True
            await asyncio.to_thread(do)

    drone.act(act)


@pytest.mark.parametrize(
    ("op", "part", "again"),
    [
        ("UploadPart", 2, 2 * PART),
        ("UploadPart", 3, THREE_PARTS),
        ("CompleteMultipartUpload", 0, THREE_PARTS),
    ],
)
async def test_an_upload_that_others_abort_is_begun_anew(
    drone: Drone, op: str, part: int, again: int
) -> None:
    path = drone.write(size=THREE_PARTS)
    meanwhile(drone, op, part, drone.abort_all)
    await drone.open(concurrency=1)

    row = await drone.bring(path)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.assert_arrived(path, most=THREE_PARTS + again)


@pytest.mark.parametrize(
    "server", ["seaweedfs-4.48", "seaweedfs-4.39", "juicefs", "fauxqs"], indirect=True
)
def test_an_upload_that_was_aborted_while_nothing_ran_is_begun_anew(drone: Drone) -> None:
    drone.given["concurrency"] = 1
    path = drone.write(size=THREE_PARTS)
    drone.kill_after(2, "UploadPart")
    drone.start(path)
    assert drone.killed(), drone.story()
    parts = [one for one in drone.ledger.requests("UploadPart") if not is_trial(one)]
    [upload_id] = {one.upload_id for one in parts}
    [key] = {one.key for one in parts}
    drone.cloud.abort_multipart_upload(Bucket=drone.bucket, Key=key, UploadId=upload_id)

    drone.act(None)
    drone.start(path)

    assert not drone.killed()
    drone.assert_arrived(path, most=THREE_PARTS + 2 * PART)


async def test_a_bucket_that_is_deleted_and_made_again_gets_what_is_sent_then(
    drone: Drone,
) -> None:
    await drone.open()
    gone = await drone.bring(drone.write("gone.ulg", seed=1))
    assert gone.state == "verified", f"{drone.said(gone)}\n{drone.story()}"
    drone.delete_bucket()
    drone.ledger.clear()

    path = drone.write("later.ulg", seed=2)
    row = await drone.bring(path, attempts=2)
    if row.state != "verified":  # some servers make it anew by themselves
        assert "bucket" in drone.said(row), drone.story()
        drone.cloud.create_bucket(Bucket=drone.bucket)
        row = await drone.finish(row)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    assert drone.body(row.key) == path.read_bytes()
    assert drone.bodies() <= 2 * SMALL
    differs = {one.key: one.differs async for one in verify(drone.service)}
    assert differs == {row.key: "", gone.key: "It is not in the bucket any more."}


async def test_a_bucket_that_is_deleted_and_made_again_in_the_middle_of_an_upload(
    drone: Drone,
) -> None:
    def anew() -> None:
        drone.delete_bucket()
        drone.cloud.create_bucket(Bucket=drone.bucket)

    path = drone.write(size=THREE_PARTS)
    meanwhile(drone, "UploadPart", 3, anew)
    await drone.open(concurrency=1)

    row = await drone.bring(path)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.assert_arrived(path, most=2 * THREE_PARTS)


@pytest.mark.parametrize(
    "server", ["seaweedfs-4.48", "seaweedfs-4.39", "juicefs", "rclone", "nanio"], indirect=True
)
async def test_a_look_for_orphans_ends_and_finds_what_no_row_owns(drone: Drone) -> None:
    await drone.open()
    found = await drone.service.orphans.collect()
    assert (found.listed, found.aborted) == (0, 0)

    drone.cloud.create_multipart_upload(Bucket=drone.bucket, Key="flight_logs/drone-001/lost.ulg")
    found = await drone.service.orphans.collect()

    assert (found.listed, found.aborted) == (1, 0), drone.story()  # it is not old yet
    assert await drone.service.outbox(queries.upload_ids) == set()
