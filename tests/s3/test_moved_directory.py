"""A log directory that was moved, with a link left in its place, is the same directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from robot import SMALL, TWO_PARTS, Robot

from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row


def renamed(old: Path, new: Path) -> None:
    """On the same disk: the files keep their inodes."""
    old.rename(new)


def copied(old: Path, new: Path) -> None:
    """To another disk: other inodes, the same times."""
    shutil.copytree(old, new)
    shutil.rmtree(old)


def copied_plainly(old: Path, new: Path) -> None:
    """To another disk: other inodes, other times."""
    shutil.copytree(old, new, copy_function=shutil.copyfile)
    shutil.rmtree(old)


MOVES: list[Callable[[Path, Path], None]] = [renamed, copied, copied_plainly]


@pytest.fixture
def logs(robot: Robot) -> Path:
    """Two logs in a folder of a day."""
    day = robot.logs / "2025-07-27"
    day.mkdir()
    robot.store.copy(day / "14_30_22.ulg", SMALL, 1)
    robot.store.copy(day / "15_30_22.ulg", TWO_PARTS, 2)
    return robot.logs


async def rows(robot: Robot) -> list[Row]:
    return await robot.service.outbox(queries.rows)


async def scanned(robot: Robot) -> list[Row]:
    """The rows after two scans."""
    for _ in range(2):
        await robot.service.landed()
    return await rows(robot)


async def sent(robot: Robot) -> list[Row]:
    """The rows after scans, each settled."""
    for row in await scanned(robot):
        await robot.finish(row)
    return await rows(robot)


def moved(directory: Path, move: Callable[[Path, Path], None], name: str = "bigger-disk") -> Path:
    new = directory.with_name(name)
    move(directory, new)
    directory.symlink_to(new)
    return new


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.guarantee(
    "file",
    "a log directory was moved, with a link left in its place, and its logs are proven",
    "their rows follow: no dead row, no second row, nothing is sent, nothing is asked",
)
async def test_the_rows_of_proven_logs_follow(
    robot: Robot, logs: Path, move: Callable[[Path, Path], None]
) -> None:
    before = await sent(robot)
    assert [row.state for row in before] == ["verified", "verified"]
    robot.ledger.clear()
    new = moved(logs, move)

    for _ in range(2):
        after = await scanned(robot)
        assert {row.id for row in after} == {row.id for row in before}
        assert {row.state for row in after} == {"verified"}
        assert {Path(row.path).parent for row in after} == {new / "2025-07-27"}
        await robot.restart()
    assert robot.ops() == []


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("first", ["scan", "attempt"])
@pytest.mark.guarantee(
    "file",
    "a log directory was moved, with a link left in its place, while its logs wait",
    "their rows follow, whether a scan or an attempt comes first; each log is sent once",
)
async def test_the_rows_of_waiting_logs_follow(
    robot: Robot, logs: Path, move: Callable[[Path, Path], None], first: str
) -> None:
    waiting = await scanned(robot)
    assert [row.state for row in waiting] == ["queued", "queued"]
    new = moved(logs, move)

    if first == "scan":
        await scanned(robot)
    for row in waiting:
        done = await robot.finish(row)
        assert done.state == "verified"
    after = await scanned(robot)

    assert {row.id for row in after} == {row.id for row in waiting}
    for row in after:
        assert Path(row.path).is_relative_to(new)
        robot.assert_sent_once(row, Path(row.path))


async def test_a_link_that_leads_to_a_link_is_followed(robot: Robot, logs: Path) -> None:
    before = await sent(robot)
    robot.ledger.clear()

    second = moved(logs, renamed)
    await scanned(robot)
    third = moved(second, renamed, "the-third")
    after = await scanned(robot)

    assert {row.id for row in after} == {row.id for row in before}
    assert {row.state for row in after} == {"verified"}
    assert all(Path(row.path).is_relative_to(third) for row in after)
    assert robot.ops() == []


async def test_a_log_that_was_given_up_for_it_is_taken_up(robot: Robot, logs: Path) -> None:
    """As versions did that knew no moves."""
    waiting = await scanned(robot)
    robot.sql("UPDATE log SET state = 'dead', code = 'not_allowed', reason = 'It lies elsewhere.'")
    moved(logs, renamed)

    after = await sent(robot)

    assert {row.id for row in after} == {row.id for row in waiting}
    assert {row.state for row in after} == {"verified"}


async def test_other_bytes_under_the_name_of_a_proven_log_are_a_log_of_their_own(
    robot: Robot, logs: Path
) -> None:
    before = await sent(robot)
    new = moved(logs, copied_plainly)
    path = new / "2025-07-27" / "14_30_22.ulg"
    path.unlink()
    robot.store.copy(path, SMALL, 9)

    after = await sent(robot)

    assert len(after) == len(before) + 1
    fresh = next(row for row in after if row.id not in {one.id for one in before})
    assert (fresh.state, robot.body(fresh.key)) == ("verified", path.read_bytes())


async def test_a_link_inside_the_directory_is_not_followed(robot: Robot, logs: Path) -> None:
    waiting = await scanned(robot)
    new = moved(logs, renamed)
    elsewhere = robot.tmp / "elsewhere"
    (new / "2025-07-27").rename(elsewhere)
    (new / "2025-07-27").symlink_to(elsewhere)

    done = [await robot.finish(row) for row in waiting]

    assert {(row.state, row.code) for row in done} == {("dead", "not_allowed")}
    assert robot.stored() == []
