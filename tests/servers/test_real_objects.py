"""What is up can be listed, read, shown to others, compared, moved and deleted."""

from __future__ import annotations

import contextlib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from petal_s3.admin.verify import verify
from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.outbox.rows import Row
from petal_s3.service import signing
from tests.servers.drone import EVERY, HOME, SMALL, THREE_PARTS, Drone

OTHER = f"{HOME}other/place.ulg"
SIZES = pytest.mark.parametrize("size", [SMALL, THREE_PARTS])


async def proven(drone: Drone, size: int) -> tuple[Path, Row]:
    path = drone.write(size=size)
    await drone.open()
    row = await drone.bring(path)
    assert row.state == "verified", f"{drone.said(row)}\n{drone.story()}"
    drone.ledger.clear()
    return path, row


def fetched(url: str) -> bytes:
    with contextlib.closing(urllib.request.urlopen(url, timeout=30)) as answer:
        body: Any = answer.read()
    return bytes(body)


@EVERY
@SIZES
async def test_a_proven_log_can_be_compared_read_and_shown(drone: Drone, size: int) -> None:
    path, row = await proven(drone, size)
    objects, target = drone.service.objects, drone.tmp / "copy.ulg"

    assert [one.differs async for one in verify(drone.service)] == [""], drone.story()
    whole = await objects.download(row.key, target)
    assert whole[0] == size
    assert target.read_bytes() == path.read_bytes()
    assert await objects.range(row.key, 100, 199) == path.read_bytes()[100:200]
    url = (await signing.presign(drone.service, row.key, 60)).url
    assert fetched(url) == path.read_bytes()
    assert [one.key for one in (await objects.page())[1].objects] == [row.key]


@EVERY
@SIZES
async def test_a_proven_log_is_moved_without_a_byte_of_it_travelling(
    drone: Drone, size: int
) -> None:
    path, row = await proven(drone, size)

    await drone.service.objects.move(row.key, OTHER)

    assert drone.stored() == [OTHER], drone.story()
    assert drone.body(OTHER) == path.read_bytes()
    assert drone.bodies() == 0
    assert drone.open_uploads() == []
    assert [(one.key, one.differs) async for one in verify(drone.service)] == [(OTHER, "")]


@EVERY
async def test_a_move_does_not_overwrite(drone: Drone) -> None:
    path, row = await proven(drone, SMALL)
    drone.cloud.put_object(Bucket=drone.bucket, Key=OTHER, Body=b"other bytes")

    with pytest.raises(Conflict):
        await drone.service.objects.move(row.key, OTHER)

    assert drone.body(OTHER) == b"other bytes"
    assert drone.body(row.key) == path.read_bytes()


@EVERY
async def test_a_key_that_others_have_taken_is_not_overwritten(drone: Drone) -> None:
    path = drone.write()
    await drone.open()
    row = await drone.service.enqueue(path)
    drone.cloud.put_object(Bucket=drone.bucket, Key=row.key, Body=b"other bytes")

    done = await drone.finish(row)

    assert done.state == "verified", f"{drone.said(done)}\n{drone.story()}"
    assert done.key != row.key
    assert drone.body(row.key) == b"other bytes"
    assert drone.body(done.key) == path.read_bytes()
    assert drone.bodies() <= 2 * SMALL


@EVERY
async def test_a_deleted_log_is_gone(drone: Drone) -> None:
    _, row = await proven(drone, SMALL)

    await drone.service.objects.delete(row.key)

    assert drone.stored() == []
    with pytest.raises(S3FileNotFoundError):
        await drone.service.objects.head(row.key)
