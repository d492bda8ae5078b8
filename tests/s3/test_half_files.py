"""A half download is taken for a truncated log; then the whole one comes under the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from robot import SMALL, TWO_PARTS, Robot

from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row

NAME = "log_7_2025-07-27-14-30-22"
Arrive = Callable[[Path, bytes], None]


def written_on(path: Path, whole: bytes) -> None:
    """The client goes on where it stopped."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size)
        file.write(whole[path.stat().st_size :])


def replaced(path: Path, whole: bytes) -> None:
    other = path.with_name("download.tmp")
    other.write_bytes(whole)
    other.replace(path)


def deleted_and_made_anew(path: Path, whole: bytes) -> None:
    path.unlink()
    path.write_bytes(whole)


def written_over(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)


ARRIVALS = pytest.mark.parametrize(
    "arrive", [written_on, replaced, deleted_and_made_anew, written_over]
)


async def scan(robot: Robot) -> list[Row]:
    """The rows after a scan, the latest first."""
    await robot.service.landed()
    return await robot.service.outbox(queries.rows)


async def half_proven(robot: Robot, suffix: str, size: int) -> tuple[Row, Path, bytes]:
    """A half download that was taken for a log and proven; its path and the bytes of the whole."""
    path = robot.write(f"{NAME}{suffix}", size)
    whole = path.read_bytes()
    path.write_bytes(whole[: size * 6 // 10])
    [row] = await scan(robot)
    assert row.verdict == "truncated"
    half = await robot.finish(row)
    assert half.state == "verified"
    return half, path, whole


@ARRIVALS
@pytest.mark.parametrize(
    ("suffix", "size"), [(".ulg", SMALL), (".bag", SMALL), (".ulg", TWO_PARTS)]
)
@pytest.mark.guarantee(
    "file",
    "a half download is taken as truncated and proven, then the whole log comes under its name",
    "the whole one is proven, too, under a key of its own; the half one stays, and its row tells"
    " that another file lies there",
)
async def test_the_whole_log_is_proven_too_and_the_half_stays(
    robot: Robot, arrive: Arrive, suffix: str, size: int
) -> None:
    half, path, whole = await half_proven(robot, suffix, size)

    arrive(path, whole)
    [row, before] = await scan(robot)
    done = await robot.finish(row)

    robot.assert_sent_once(done, path)
    assert (done.verdict, done.size, done.same_as) == ("complete", size, None)
    assert (before.id, before.state, before.verdict) == (half.id, "verified", "truncated")
    assert before.local == "other"
    assert done.key != half.key
    assert robot.body(half.key) == whole[: half.size]
    assert sorted(robot.stored()) == sorted([half.key, done.key])


async def test_a_half_that_is_deleted_and_comes_whole_later_is_proven(robot: Robot) -> None:
    half, path, whole = await half_proven(robot, ".ulg", SMALL)
    path.unlink()
    assert [row.id for row in await scan(robot)] == [half.id]

    path.write_bytes(whole)
    [row, _] = await scan(robot)

    robot.assert_sent_once(await robot.finish(row), path)


@ARRIVALS
async def test_a_half_that_waits_becomes_the_whole_in_one_row(robot: Robot, arrive: Arrive) -> None:
    path = robot.write(f"{NAME}.ulg")
    whole = path.read_bytes()
    path.write_bytes(whole[: SMALL * 6 // 10])
    [half] = await scan(robot)

    arrive(path, whole)
    [row] = await scan(robot)
    done = await robot.finish(row)

    assert (half.verdict, done.id, done.verdict) == ("truncated", half.id, "complete")
    robot.assert_sent_once(done, path)
    assert robot.stored() == [done.key]


@ARRIVALS
async def test_a_half_that_is_on_its_way_becomes_the_whole(robot: Robot, arrive: Arrive) -> None:
    await robot.restart(concurrency=1)
    path = robot.write(f"{NAME}.ulg", 2 * TWO_PARTS)
    whole = path.read_bytes()
    path.write_bytes(whole[:TWO_PARTS])
    await scan(robot)
    robot.when_sent(1, lambda: arrive(path, whole))
    await robot.step()

    for row in await scan(robot):
        await robot.finish(row)

    rows = await robot.service.outbox(queries.rows)
    assert {row.state for row in rows} == {"verified"}
    assert whole in [robot.body(row.key) for row in rows]
    assert {robot.body(row.key) for row in rows} <= {whole, whole[:TWO_PARTS]}
    assert robot.open_uploads() == []
