"""A log arrives at each server, by the strongest proof that this one allows."""

from __future__ import annotations

import pytest

from tests.servers.drone import PART, SMALL, THREE_PARTS, Drone

# moto tells no checksum of what came in one request; ministack and fauxqs tell only composites of
# what came in parts. SeaweedFS checks the checksums of parts: no md5 is computed of them. With
# localbucket and rclone an ETag is always the md5 of the whole.
PROOFS = {
    ("moto", SMALL): "etag",
    ("moto", THREE_PARTS): "crc32+etag",
    ("ministack", SMALL): "crc32+etag",
    ("ministack", THREE_PARTS): "etag",
    ("seaweedfs-4.48", SMALL): "crc32+etag",
    ("seaweedfs-4.48", THREE_PARTS): "crc32",
    ("seaweedfs-4.39", SMALL): "crc32+etag",
    ("seaweedfs-4.39", THREE_PARTS): "crc32",
    ("juicefs", SMALL): "etag",
    ("juicefs", THREE_PARTS): "etag",
    ("nanio", SMALL): "etag",
    ("nanio", THREE_PARTS): "etag",
    ("localbucket", SMALL): "etag",
    ("localbucket", THREE_PARTS): "etag",
    ("rclone", SMALL): "crc32+etag",
    ("rclone", THREE_PARTS): "etag",
    ("fauxqs", SMALL): "crc32+etag",
    ("fauxqs", THREE_PARTS): "etag",
}


@pytest.mark.parametrize(("server", "size"), PROOFS, indirect=["server"])
async def test_a_log_arrives_and_is_proven(drone: Drone, size: int) -> None:
    path = drone.write(size=size)
    await drone.open()

    row = await drone.bring(path)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.assert_arrived(path, most=size + min(PART, size))
    assert row.receipt is not None
    assert row.receipt.proof == PROOFS[drone.server.kind.name, size], drone.story()


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize("server", ["seaweedfs-4.48", "seaweedfs-4.39"], indirect=True)
async def test_a_log_is_encrypted_where_the_server_does_so(drone: Drone, size: int) -> None:
    path = drone.write(size=size)
    await drone.open(sse="AES256")

    row = await drone.bring(path)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.assert_arrived(path, most=size)
    held = drone.cloud.head_object(Bucket=drone.bucket, Key=row.key)
    assert held["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.parametrize(
    "server", ["juicefs", "nanio", "localbucket", "rclone", "fauxqs"], indirect=True
)
async def test_without_the_encryption_that_is_asked_for_nothing_is_sent_and_the_setting_is_named(
    drone: Drone, size: int
) -> None:
    path = drone.write(size=size)
    await drone.open(sse="AES256")

    row = await drone.bring(path, attempts=3)

    assert row.state == "queued", drone.story()
    block = drone.service.drainer.block
    assert block is not None, drone.said(row)
    assert "PETAL_S3_SSE" in block.reason
    assert drone.bodies() == 0, drone.story()
    assert drone.stored() == []
    assert drone.open_uploads() == []

    await drone.restart(sse="none")
    row = await drone.finish(row)

    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.assert_arrived(path, most=size)


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
async def test_the_same_log_again_is_recognised_after_the_outbox_was_lost(
    drone: Drone, size: int
) -> None:
    path = drone.write(size=size)
    await drone.open()
    first = await drone.bring(path)
    assert first.state == "verified", f"{drone.said(first)}\n{drone.story()}"
    drone.ledger.clear()

    drone.state = drone.tmp / "another-outbox"
    await drone.restart()
    again = await drone.bring(path)

    assert (again.state, again.key) == ("verified", first.key), drone.said(again)
    assert drone.bodies() == 0, drone.story()
    assert drone.stored() == [first.key]
