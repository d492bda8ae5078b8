"""Logs of ArduPilot and ROS 2, and PX4's encrypted ones, from a log directory into the bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from robot import HOME, Robot

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.errors import NotAFlightLog
from petal_s3.intake.receive import check_head
from petal_s3.outbox import known_files, queries
from tests.unit.dataflash_logs import flight
from tests.unit.test_encrypted_ulog import BEGIN, CIPHER
from tests.unit.test_mcap import WHOLE

LOGS = {
    # 2025-08-05 22:00:00 UTC by GPS, 2025-07-27 14:30:22 by the statistics.
    "00000012.BIN": (flight(40), "application/x-dataflash", "20250805_215947_00000012.BIN"),
    "rosbag2_0.mcap": (WHOLE, "application/x-mcap", "20250727_143022_rosbag2_0.mcap"),
    "2025-07-28_10-11-12.ulge": (
        BEGIN + CIPHER,
        "application/x-ulog-encrypted",
        "20250728_101112_2025-07-28_10-11-12.ulge",
    ),
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.guarantee(
    "file",
    "a DataFlash log, an MCAP file or an encrypted ULog lies in a log directory",
    "found, named by its own time, sent and proven like a ULog",
)
async def test_a_log_of_each_kind_is_found_named_by_its_own_time_and_proven(
    robot: Robot, name: str
) -> None:
    content, content_type, key = LOGS[name]
    path = robot.write()
    path = path.rename(path.with_name(name))
    path.write_bytes(content)
    await robot.service.watcher.scan_and_accept()
    (row,) = await robot.service.outbox(queries.rows, None, 9)
    assert (row.key, row.verdict) == (HOME + key, "complete")
    done = await robot.finish(row)
    assert done.state == "verified"
    found = robot.head(row.key)
    assert found["ContentType"] == content_type
    assert found["Metadata"]["log-kind"] == row.kind
    assert robot.body(row.key) == content
    # It is followed by its path alone, unlike a text that is rotated.
    assert await robot.service.outbox(known_files.rotated_from, f"{path}.1", row.identity) == []


@pytest.mark.parametrize("name", LOGS)
async def test_a_body_whose_name_comes_last_may_be_any_of_them(robot: Robot, name: str) -> None:
    content = LOGS[name][0]

    async def body() -> AsyncIterator[bytes]:
        yield content[:100]
        yield content[100:]

    row = await robot.service.receive(body(), lambda: name, received_by="rest")
    assert (row.name, row.size) == (name, len(content))


def test_a_body_without_a_name_that_begins_like_none_of_them_is_refused_at_once() -> None:
    with pytest.raises(NotAFlightLog, match="JSON"):
        check_head(b'{"error": "not a log", "more": []}', "", "the file", FLIGHT_KINDS)
