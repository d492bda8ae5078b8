"""The files into which PX4 cuts a long flight are told to be of one flight."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from robot import Robot

from petal_s3.logs.log_file import FlightLog
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row

S = 1_000_000
DAY = "2025-07-27"


def ulog(begins_s: float, ends_s: float, uuid: str = "0002", *, stale: bool = False) -> bytes:
    """A ULog from ``begins_s`` to ``ends_s`` after the boot of the vehicle ``uuid``."""
    key = f"char[{len(uuid)}] sys_uuid".encode()
    info = bytes([len(key)]) + key + uuid.encode()
    records = [(b"B", bytes(40)), (b"I", info), (b"F", b"pose:uint64_t timestamp;uint8_t[96] x;")]
    records.append((b"A", struct.pack("<BH", 0, 0) + b"pose"))
    for step in range(100):
        at = max(begins_s, ends_s - 0.01 * (99 - step))  # PX4 writes some hundred a second
        records.append((b"D", struct.pack("<HQ", 0, round(at * S)) + os.urandom(96)))
    if stale:
        records.insert(-2, (b"D", struct.pack("<HQ", 0, round(1e6 * S)) + bytes(96)))
    head = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", round(begins_s * S))
    return head + b"".join(struct.pack("<H", len(body)) + kind + body for kind, body in records)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


async def flights(robot: Robot) -> dict[str, str | None]:
    await robot.service.landed()
    return {Path(row.path).name: row.flight for row in await robot.service.rows()}


async def rows(robot: Robot) -> list[Row]:
    return await robot.service.outbox(queries.rows)


@pytest.mark.parametrize("stale", [False, True])
def test_the_end_of_a_ulog_is_read_from_its_last_messages(tmp_path: Path, stale: bool) -> None:
    found = FlightLog.read(put(tmp_path / "a.ulg", ulog(20, 620, stale=stale)))
    assert abs(int(found.facts["end-us"]) / S - 620) < 0.5


@pytest.mark.guarantee(
    "file",
    "PX4 cuts a long flight at SDLOG_MAX_SIZE into several files",
    "rows and metadata name one flight: folder and start of the first file",
)
async def test_the_files_of_one_flight_are_told(robot: Robot) -> None:
    folder = robot.logs / DAY
    put(folder / "14_00_00.ulg", ulog(30, 90))
    put(folder / "14_01_00.ulg", ulog(90.5, 150))
    put(folder / "14_02_00.ulg", ulog(150.9, 170))
    put(folder / "15_00_00.ulg", ulog(171, 200))  # another boot, by chance
    put(folder / "14_01_01.ulg", ulog(90.5, 150, uuid="other"))

    found = await flights(robot)

    first = f"{DAY}/20250727T140000Z"
    assert found == {
        "14_00_00.ulg": first,
        "14_01_00.ulg": first,
        "14_02_00.ulg": first,
        "15_00_00.ulg": f"{DAY}/20250727T150000Z",
        "14_01_01.ulg": f"{DAY}/20250727T140101Z",
    }
    for row in await rows(robot):
        done = await robot.finish(row)
        assert robot.head(done.key)["Metadata"]["flight"] == found[row.name]


async def test_a_gap_of_more_than_two_seconds_is_another_flight(robot: Robot) -> None:
    put(robot.logs / DAY / "14_00_00.ulg", ulog(30, 90))
    put(robot.logs / DAY / "14_01_03.ulg", ulog(93, 150))
    assert len(set((await flights(robot)).values())) == 2


async def test_the_first_file_may_come_last(robot: Robot) -> None:
    put(robot.logs / DAY / "14_01_00.ulg", ulog(90.5, 150))
    put(robot.logs / DAY / "14_02_00.ulg", ulog(150.9, 170))
    await flights(robot)
    put(robot.logs / DAY / "14_00_00.ulg", ulog(30, 90))
    assert set((await flights(robot)).values()) == {f"{DAY}/20250727T140000Z"}


async def test_what_is_stored_keeps_its_flight_and_tells_what_joins_it_to_the_first(
    robot: Robot,
) -> None:
    put(robot.logs / DAY / "14_01_00.ulg", ulog(90.5, 150))
    await flights(robot)
    [second] = await rows(robot)
    second = await robot.finish(second)
    put(robot.logs / DAY / "14_00_00.ulg", ulog(30, 90))
    await flights(robot)
    [first] = [row for row in await rows(robot) if row.id != second.id]
    first = await robot.finish(first)

    earlier, later = (robot.head(row.key)["Metadata"] for row in (first, second))
    assert earlier["flight"] == f"{DAY}/20250727T140000Z"
    assert later["flight"] == f"{DAY}/20250727T140100Z"
    assert earlier["sys-uuid"] == later["sys-uuid"]
    assert 0 <= int(later["boot-us"]) - int(earlier["end-us"]) <= 2_000_000


async def test_without_a_time_in_the_names_the_folder_of_a_boot_decides(robot: Robot) -> None:
    put(robot.logs / "sess007/log100.ulg", ulog(30, 90))
    put(robot.logs / "sess007/log101.ulg", ulog(90.5, 150))
    put(robot.logs / "sess008/log102.ulg", ulog(90.5, 140))

    found = await flights(robot)

    assert found["log100.ulg"] == found["log101.ulg"] != found["log102.ulg"]
    assert str(found["log100.ulg"]).startswith("sess007/")


async def test_a_log_that_changes_while_it_waits_keeps_its_flight(robot: Robot) -> None:
    put(robot.logs / DAY / "14_00_00.ulg", ulog(30, 90))
    path = put(robot.logs / DAY / "14_01_00.ulg", ulog(90.5, 150))
    before = await flights(robot)
    row = next(row for row in await rows(robot) if row.name == path.name)
    os.utime(path, ns=(1, 1))
    await robot.finish(row)
    assert (await robot.service.row(row.id)).flight == before[path.name] == before["14_00_00.ulg"]


async def test_bags_have_no_flight(robot: Robot) -> None:
    robot.write("flight.bag")
    assert await flights(robot) == {"flight.bag": None}


async def test_logs_of_other_vehicles_and_of_none_never_share_a_flight(robot: Robot) -> None:
    moment = 1_753_617_600 * 10**9
    for number, uuid in enumerate(("first", "second", "", "")):
        path = put(robot.logs / "copied" / f"log{number}.ulg", ulog(30, 90, uuid))
        os.utime(path, ns=(moment, moment))
    found = await flights(robot)
    assert len(set(found.values())) == len(found) == 4
    assert all(str(flight).startswith("copied/20250727T120000Z") for flight in found.values())


async def test_flights_of_one_vehicle_that_were_copied_at_once_are_told_apart(robot: Robot) -> None:
    moment = 1_753_617_600 * 10**9
    for name, begins, ends in (("a", 30, 90), ("b", 90.5, 150), ("c", 1000, 1100)):
        path = put(robot.logs / "copied" / f"{name}.ulg", ulog(begins, ends))
        os.utime(path, ns=(moment, moment))
    found = await flights(robot)
    assert found["a.ulg"] == found["b.ulg"] != found["c.ulg"]
