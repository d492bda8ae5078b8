"""PETAL_S3_METADATA=minimal: no name and no hardware id beside an object, and all works on."""

from __future__ import annotations

import os
import shutil
import struct
import urllib.request
from pathlib import Path

import pytest
from robot import HOME, PART, TWO_PARTS, Robot
from test_flights import ulog as part_of_flight

from petal_s3.demo.logs import write_bag
from petal_s3.logs.ulog import TEXT_FACTS
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service import sessions, temporary_files
from petal_s3.service.file_names import original_names
from petal_s3.service.views.objects import PresignUploadView

IDENTIFYING = {"original-filename", "sys-uuid", "ver-hw"}
UUID = "000200000000373730343132"
NAME = "Älterer Flug 7.ulg"


def ulog(begins_s: float, ends_s: float, size: int = 100_000) -> bytes:
    """A ULog that names its vehicle and its board, from and to so long after the boot."""

    def info(key: str, value: str) -> tuple[bytes, bytes]:
        name = f"char[{len(value)}] {key}".encode()
        return b"I", bytes([len(name)]) + name + value.encode()

    records = [
        (b"B", bytes(40)),
        info("sys_uuid", UUID),
        info("ver_hw", "PX4_FMU_V5"),
        info("ver_sw", "2ed4a8"),
        (b"F", b"pose:uint64_t timestamp;uint8_t[9000] x;"),
        (b"A", struct.pack("<BH", 0, 0) + b"pose"),
    ]
    for step in range(size // 9000):
        at_us = round((begins_s + step * (ends_s - begins_s) / (size // 9000)) * 1e6)
        records.append((b"D", struct.pack("<HQ", 0, at_us) + os.urandom(9000)))
    records.append((b"D", struct.pack("<HQ", 0, round(ends_s * 1e6)) + bytes(9000)))
    head = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", round(begins_s * 1e6))
    return head + b"".join(struct.pack("<H", len(body)) + kind + body for kind, body in records)


async def land(robot: Robot, content: bytes, name: str = NAME, **more: object) -> Row:
    path = robot.logs / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return await robot.service.enqueue(path, received_by="cli", **more)  # type: ignore[arg-type]


def about(robot: Robot, key: str) -> dict[str, str]:
    return dict(robot.head(key)["Metadata"])


@pytest.mark.parametrize("size", [100_000, TWO_PARTS])
async def test_minimal_leaves_out_what_identifies_and_full_writes_it(
    robot: Robot, size: int
) -> None:
    full = await robot.finish(await land(robot, ulog(10, 60, size)))
    assert set(about(robot, full.key)) >= IDENTIFYING

    await robot.restart(metadata="minimal", part_size=PART)
    row = await robot.finish(await land(robot, ulog(100, 160, size), "another.ulg"))

    told = about(robot, row.key)
    assert row.state == "verified"
    assert not IDENTIFYING & set(told)
    needed = {"machine-id", "received-by", "upload-timestamp", "log-kind", "log-verdict", "ver-sw"}
    assert needed <= set(told)
    assert ("part-size" in told) == (size == TWO_PARTS)
    assert row.facts["sys-uuid"] == UUID  # the outbox on the robot knows it
    assert row.name == "another.ulg"


@pytest.mark.parametrize("size", [100_000, TWO_PARTS])
@pytest.mark.guarantee(
    "device",
    "objects have minimal metadata, and the state directory is lost",
    "finished objects are recognised all the same; nothing is sent",
)
async def test_what_is_there_is_recognised_without_name_and_ids(robot: Robot, size: int) -> None:
    await robot.restart(metadata="minimal")
    content = ulog(10, 60, size)
    first = await robot.finish(await land(robot, content))
    await robot.service.stop()
    shutil.rmtree(robot.state)
    robot.ledger.clear()
    await robot.open(metadata="minimal")

    again = await robot.finish(await robot.service.enqueue(robot.logs / NAME))

    assert (again.state, again.key) == ("verified", first.key)
    assert robot.count("PutObject") == robot.count("UploadPart") == 0


async def test_the_files_of_one_flight_are_told_all_the_same(robot: Robot) -> None:
    await robot.restart(metadata="minimal")
    rows = [
        await land(robot, part_of_flight(10, 60), "2025-07-27/14_00_00.ulg"),
        await land(robot, part_of_flight(60.5, 90), "2025-07-27/14_00_51.ulg"),
    ]
    done = [await robot.finish(row) for row in rows]

    flights = {about(robot, row.key)["flight"] for row in done}
    assert len(flights) == 1
    assert all(not IDENTIFYING & set(about(robot, row.key)) for row in done)


async def test_copies_of_objects_with_full_metadata_lose_what_identifies(robot: Robot) -> None:
    content = ulog(10, 60)
    full = await robot.finish(await land(robot, content))
    assert set(about(robot, full.key)) >= IDENTIFYING
    await robot.restart(metadata="minimal")

    asked = await land(robot, content, "same.ulg", key=f"{HOME}asked.ulg")
    copied = await robot.finish(asked)
    await robot.service.objects.move(full.key, f"{HOME}moved.ulg")

    assert copied.receipt is not None
    for key in (copied.receipt.key, f"{HOME}moved.ulg"):
        assert not IDENTIFYING & set(about(robot, key)), key
        assert about(robot, key)["ver-sw"] == "2ed4a8"


async def test_every_name_that_is_stored_beside_an_object_is_in_the_docs(robot: Robot) -> None:
    text = robot.tmp / "agent.log"
    text.write_text("what an agent saw\n" * 10)
    write_bag(robot.logs / "drive.bag", 100_000, seed=3)
    rows = [
        await land(robot, ulog(10, 60, TWO_PARTS)),
        await robot.land(),
        await robot.service.enqueue(robot.logs / "drive.bag"),
        await sessions.enter_log(robot.service, text, "s-1", description="why it fell"),
        await sessions.enter_result(robot.service, "s-1", {"found": 1}),
    ]
    keys = [(await robot.finish(row)).key for row in rows]
    await robot.service.objects.move(keys[0], f"{HOME}moved.ulg")
    given = await temporary_files.begin(robot.service, "s-1", "Plan B.pdf", 3)
    await put(given)

    keys = [*keys[1:], f"{HOME}moved.ulg", given.s3_key]
    stored = {name for key in keys for name in about(robot, key)}
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    known = set(TEXT_FACTS.values())
    assert {"flight", "moved-from", "description", "declared-size", "index-pos"} <= stored
    assert {name for name in stored | known if f"`{name}`" not in page} == set()


async def test_a_session_lists_the_names_of_keys_where_the_outbox_is_gone(robot: Robot) -> None:
    await robot.restart(metadata="minimal")
    text = robot.tmp / "Agent Bericht.log"
    text.write_text("what an agent saw\n" * 10)
    await robot.finish(await sessions.enter_log(robot.service, text, "s-1"))
    found = await sessions.list_logs(robot.service, "s-1")
    assert await original_names(robot.service, "s-1", found) == ["Agent Bericht.log"]
    await robot.service.stop()
    shutil.rmtree(robot.state)
    await robot.open(metadata="minimal")

    [name] = await original_names(robot.service, "s-1", found)

    assert name.endswith("_Agent_Bericht.log")
    assert await robot.service.outbox(queries.rows) == []


async def test_what_is_handed_over_by_url_has_the_name_of_its_key(robot: Robot) -> None:
    await robot.restart(metadata="minimal")
    given = await temporary_files.begin(robot.service, "s-1", "Plan B.pdf", 3)
    await put(given)

    found = await temporary_files.complete(robot.service, "s-1", given.s3_key)

    assert (found.name, found.extension, found.size) == ("Plan_B.pdf", ".pdf", 3)
    assert not IDENTIFYING & set(about(robot, given.s3_key))


async def put(given: PresignUploadView) -> None:
    import asyncio

    request = urllib.request.Request(given.url, b"abc", dict(given.headers), method="PUT")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).close())
