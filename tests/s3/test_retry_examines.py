"""A row that was given up is taken up again only where its file is a log: it is examined anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from robot import SMALL, Robot

from petal_s3.errors import Conflict, NotAFlightLog, NotFinished, S3FileNotFoundError
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row

Spoil = Callable[[Path], object]

NO_LOGS: dict[str, tuple[str, Spoil]] = {
    "a shell script": ("bad_magic", lambda path: path.write_text("#!/bin/sh\necho flight\n")),
    "an empty file": ("empty", lambda path: path.write_bytes(b"")),
    "only zeros": ("zero_filled", lambda path: path.write_bytes(bytes(5000))),
    "a bag under another name": ("type_mismatch", lambda path: path.write_bytes(BAG)),
}
BAG = b"#ROSBAG V2.0\n" + bytes(5000)


async def scan(robot: Robot) -> list[Row]:
    await robot.service.landed()
    return list(reversed(await robot.service.outbox(queries.rows)))


async def refused_again(robot: Robot, row: Row, code: str) -> Row:
    """Ask for another try, which is refused with this code; the row then."""
    with pytest.raises(NotAFlightLog) as told:
        await robot.service.retry(row.id)
    assert told.value.code == code
    assert not await robot.service.drainer.step(), "a file that is no log was claimed"
    assert robot.stored() == []
    return await robot.row(row)


@pytest.mark.parametrize("what", NO_LOGS)
@pytest.mark.guarantee(
    "refusals",
    "a person retries a dead row whose file is no log (a script, empty, zeros, another format)",
    "examined again, as if new: it stays dead, the verb says why, nothing is sent",
)
async def test_a_retry_of_what_is_no_log_is_refused(robot: Robot, what: str) -> None:
    code, spoil = NO_LOGS[what]
    spoil(robot.logs / "flight.ulg")
    [row] = await scan(robot)

    again = await refused_again(robot, row, code)

    assert (again.state, again.code, again.reason) == ("dead", code, row.reason)


@pytest.mark.guarantee(
    "refusals",
    "a person retries a log above the size limit",
    "it stays dead, with the limit that is set now",
)
async def test_a_retry_of_a_log_above_the_limit_is_refused_with_the_present_limit(
    robot: Robot,
) -> None:
    await robot.restart(max_file_size=SMALL - 2)
    robot.write()
    [row] = await scan(robot)
    assert f"the limit is {SMALL - 2} bytes" in row.reason
    await robot.restart(max_file_size=SMALL - 1)

    again = await refused_again(robot, row, "too_large")

    assert f"the limit is {SMALL - 1} bytes" in again.reason


@pytest.mark.guarantee(
    "refusals",
    "a dead row is cancelled and then retried",
    "its file is examined all the same",
)
async def test_a_dead_row_that_was_cancelled_is_examined_too(robot: Robot) -> None:
    (robot.logs / "flight.ulg").write_text("#!/bin/sh\n" * 10)
    [row] = await scan(robot)
    await robot.service.cancel(row.id)

    again = await refused_again(robot, row, "bad_magic")

    assert again.state == "cancelled"


async def test_a_cancelled_log_that_became_something_else_is_not_queued(robot: Robot) -> None:
    row = await robot.land()
    await robot.service.cancel(row.id)
    (robot.logs / "flight.ulg").write_text("something else " * 20)

    await refused_again(robot, row, "bad_magic")


@pytest.mark.guarantee(
    "refusals",
    "the file of a dead row was put right, and the row is retried",
    "it is sent, as the log that it is now",
)
async def test_a_file_that_was_put_right_is_sent_after_a_retry(robot: Robot) -> None:
    path = robot.logs / "2025-07-27/14_30_22.ulg"
    path.parent.mkdir()
    path.write_bytes(b"")
    [row] = await scan(robot)
    robot.write("2025-07-27/14_30_22.ulg")

    again = await robot.service.retry(row.id)
    done = await robot.attempt(row)

    assert (again.state, again.kind, again.verdict) == ("queued", "ulog", "complete")
    assert (again.size, again.code, again.reason) == (SMALL, "", "")
    robot.assert_sent_once(done, path)


async def test_a_log_within_a_new_limit_is_sent_after_a_retry(robot: Robot) -> None:
    await robot.restart(max_file_size=SMALL - 1)
    path = robot.write()
    [row] = await scan(robot)
    await robot.restart(max_file_size=SMALL)

    await robot.service.retry(row.id)
    done = await robot.attempt(row)

    assert (done.kind, done.verdict) == ("ulog", "complete")
    robot.assert_sent_once(done, path)


async def test_a_file_that_is_still_written_to_is_not_queued(robot: Robot) -> None:
    (robot.logs / "flight.ulg").write_bytes(b"")
    [row] = await scan(robot)
    path = robot.write()

    with path.open("ab"), pytest.raises(NotFinished):
        await robot.service.retry(row.id)
    lock = path.with_name("flight.ulg.lock")
    lock.touch()
    with pytest.raises(NotFinished):
        await robot.service.retry(row.id)
    assert (await robot.row(row)).state == "dead"
    lock.unlink()

    assert (await robot.service.retry(row.id)).state == "queued"


async def test_a_row_whose_file_is_gone_says_so(robot: Robot) -> None:
    path = robot.logs / "flight.ulg"
    path.write_bytes(b"")
    [row] = await scan(robot)
    path.unlink()

    with pytest.raises(S3FileNotFoundError):
        await robot.service.retry(row.id)

    again = await robot.row(row)
    assert (again.state, again.code) == ("dead", "source_gone")


async def test_a_link_that_took_the_place_of_a_dead_file_is_not_followed(robot: Robot) -> None:
    path = robot.logs / "flight.ulg"
    path.write_bytes(b"")
    [row] = await scan(robot)
    secret = robot.tmp / "elsewhere.ulg"
    robot.write("elsewhere.ulg").rename(secret)
    path.unlink()
    path.symlink_to(secret)

    again = await refused_again(robot, row, "not_allowed")

    assert again.state == "dead"


async def test_a_file_that_has_another_row_by_now_is_left_to_that_one(robot: Robot) -> None:
    path = robot.logs / "flight.ulg"
    path.write_bytes(b"")
    [dead] = await scan(robot)
    robot.write()
    newer = await robot.service.enqueue(path, key=f"flight_logs/drone-001/{path.name}")
    robot.sql(f"UPDATE log SET asked_key = '' WHERE id = {newer.id}")

    with pytest.raises(Conflict, match=f"row {newer.id}"):
        await robot.service.retry(dead.id)

    assert (await robot.row(dead)).state == "dead"


@pytest.mark.guarantee(
    "refusals",
    "an earlier version queued a refused file unexamined",
    "it is not sent: dead with a sentence that says what to do",
)
async def test_a_refused_file_that_an_earlier_version_queued_is_not_sent(robot: Robot) -> None:
    (robot.logs / "flight.ulg").write_text("#!/bin/sh\n" * 10)
    [row] = await scan(robot)
    robot.sql("UPDATE log SET state = 'queued', code = '', reason = ''")

    dead = await robot.attempt(row)

    assert (dead.state, dead.code) == ("dead", "not_examined")
    assert "retry" in dead.reason
    assert robot.stored() == []


async def test_a_spooled_copy_is_examined_under_its_own_name(robot: Robot) -> None:
    outside = robot.tmp / "outside.ulg"
    robot.write().rename(outside)
    row = await robot.service.enqueue(outside, key="drone-001/asked.ulg")
    assert row.spooled
    robot.sql("UPDATE log SET state = 'dead', code = 'x', reason = 'x'")

    await robot.service.retry(row.id)
    done = await robot.attempt(row)

    assert (done.state, done.key, done.name) == ("verified", "drone-001/asked.ulg", "outside.ulg")
