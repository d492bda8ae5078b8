"""Where logs may lie that were not seen, or are not taken, petal-s3 says so."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from robot import SMALL, Robot

from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.intake.flight_state import CONFIRMATIONS
from petal_s3.intake.unclosed import LEFT_S
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service import row_verbs, snapshot
from petal_s3.service.resending import resend


class Closed:
    """Folders that may not be read: root reads everything, so the kernel is stood in for."""

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.error = errno.EACCES
        self._scandir = os.scandir

    def scandir(self, directory: Any = ".") -> Any:
        if str(directory) in self.folders:
            raise OSError(self.error, os.strerror(self.error))
        return self._scandir(directory)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Closed:
    made = Closed()
    monkeypatch.setattr(os, "scandir", made.scandir)
    return made


async def rows(robot: Robot) -> list[Row]:
    return await robot.service.outbox(queries.rows)


# -- folders that cannot be read


@pytest.mark.parametrize("below", ["", "2025-07-27"])
@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
@pytest.mark.guarantee(
    "file",
    "a log directory, or a folder in it, cannot be read",
    "the status, a landing and a drain say which and why; what can be read is taken",
)
async def test_a_folder_that_cannot_be_read_is_told(
    robot: Robot, closed: Closed, below: str, error: int
) -> None:
    robot.write("2025-07-27/14_30_22.ulg")
    closed.folders, closed.error = {str(robot.logs / below).rstrip("/")}, error

    landed = await robot.service.landed()

    folder = str(robot.logs / below).rstrip("/")
    assert folder in landed.trouble
    assert os.strerror(error) in landed.trouble
    assert robot.service.watcher.trouble == landed.trouble
    assert robot.service.reporter.report().trouble == landed.trouble
    assert snapshot.read_status(robot.service.settings, 0).trouble == landed.trouble
    assert await rows(robot) == []

    closed.folders.clear()
    assert (await robot.service.landed()).trouble == ""
    assert robot.service.watcher.trouble == ""
    assert len(await rows(robot)) == 1


async def test_the_others_are_taken_where_one_folder_cannot_be_read(
    robot: Robot, closed: Closed
) -> None:
    robot.write("a/closed.ulg")
    robot.write("b/open.ulg")
    closed.folders = {str(robot.logs / "a")}
    landed = await robot.service.landed()
    assert [row.name for row in await rows(robot)] == ["open.ulg"]
    assert "/a " in landed.trouble


async def test_a_folder_whose_files_may_not_be_looked_at_is_told(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing needs another right than looking at what is listed."""
    robot.write()
    real = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path = entry.name, entry.path

        def is_dir(self, **_: bool) -> bool:
            return False

        def stat(self, **_: bool) -> os.stat_result:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def listing(folder: str) -> contextlib.nullcontext[list[Entry]]:
        with real(folder) as entries:
            return contextlib.nullcontext([Entry(one) for one in entries])

    monkeypatch.setattr(os, "scandir", listing)
    assert str(robot.logs) in (await robot.service.landed()).trouble


async def test_a_file_in_place_of_a_log_directory_is_told(robot: Robot) -> None:
    file = robot.tmp / "file"
    file.write_text("no directory")
    service = await robot.restart(log_dirs=f"{robot.logs}:{file}:{file}/below")
    landed = await service.landed()
    said, outside = await service.status(), snapshot.read_status(service.settings, 0)
    assert f"{file} and 1 more cannot be read (Not a directory)" in landed.trouble
    assert (said.code, said.trouble, outside.trouble) == ("unread", *[landed.trouble] * 2)


async def test_a_folder_that_becomes_a_file_while_it_is_looked_through_is_no_trouble(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    (robot.logs / "folder").mkdir()
    real = os.scandir

    def replaced(folder: str) -> Any:
        if str(folder).endswith("/folder"):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return real(folder)

    monkeypatch.setattr(os, "scandir", replaced)
    assert (await robot.service.landed()).trouble == ""


async def test_directories_that_are_not_there_are_no_trouble(robot: Robot) -> None:
    await robot.restart(log_dirs=f"{robot.logs}:{robot.tmp}/missing")
    assert (await robot.service.landed()).trouble == ""


@pytest.mark.guarantee(
    "file",
    "a log directory that was there is removed, or its disk is unmounted",
    "status, landing, drain and check say that logs in it are not seen, over restarts, until it is"
    " back or no longer configured",
)
async def test_a_log_directory_that_is_gone_is_told_until_it_is_back(robot: Robot) -> None:
    card = robot.tmp / "card"
    card.mkdir()
    dirs = f"{robot.logs}:{card}"
    service = await robot.restart(log_dirs=dirs)
    assert (await service.landed()).trouble == ""
    card.rmdir()

    for _ in ("in the process that has seen it", "after a restart"):
        before, outside = await service.status(), snapshot.read_status(service.settings, 0)
        landed = await service.landed()
        assert f"{card} cannot be read (it was there, and is gone)" in landed.trouble
        assert (before.code, before.unread, before.trouble) == ("unread", 1, landed.trouble)
        assert (outside.headline, outside.trouble) == (before.headline, landed.trouble)
        assert snapshot.hints(service.settings) == []
        service = await robot.restart(log_dirs=dirs)

    card.mkdir()
    landed, said = await service.landed(), snapshot.read_status(service.settings, 0)
    assert (landed.trouble, said.trouble, said.code) == ("", "", "no_log")


async def test_a_log_directory_that_is_no_longer_configured_is_forgotten(robot: Robot) -> None:
    card = robot.tmp / "card"
    card.mkdir()
    dirs = f"{robot.logs}:{card}"
    await (await robot.restart(log_dirs=dirs)).landed()
    card.rmdir()
    assert (await (await robot.restart()).landed()).trouble == ""
    assert (await (await robot.restart(log_dirs=dirs)).landed()).trouble == ""


async def test_a_mount_point_without_its_disk_is_told_while_it_is_empty(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = {str(robot.logs)}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounted)
    assert (await robot.service.landed()).trouble == ""
    mounted.clear()
    service = await robot.restart()
    told = (await service.landed()).trouble
    assert f"{robot.logs} cannot be read (it is empty, and nothing is mounted there" in told
    assert snapshot.read_status(service.settings, 0).trouble == told

    robot.write()
    assert (await service.landed()).trouble == ""


# -- held while flying


@pytest.mark.guarantee(
    "answers",
    "a log lies still in the log directory while the vehicle is armed",
    "it is found and taken after the flight: not said to be just written, counted once",
)
async def test_a_log_that_lies_still_while_armed_is_taken_after_the_flight(robot: Robot) -> None:
    service = await robot.restart()
    assert await service.files.run(service.lock.take)
    service.flight.told(armed=True, now=service.now())
    path = robot.write()
    landed = await service.landed()
    said, figures = await service.status(), await service.overview.metrics()
    assert (landed.found, landed.enqueued) == (1, 0)
    assert landed.reason == "The vehicle is armed: what was found is taken after the flight."
    assert (said.code, said.settling, said.held, said.unscanned) == ("armed", [], 1, 0)
    assert said.headline.startswith(
        "0 of 1 log proven, 1 is found and taken after the flight; waiting: "
    )
    assert "petal_s3_held_files 1.0" in figures
    await service.reporter.publish()
    outside = snapshot.read_status(service.settings, 0)
    assert (outside.headline, outside.held) == (said.headline, 1)

    await service.enqueue(path)
    await service.watcher.step()
    said = await service.status()
    assert (said.held, said.settling, said.unscanned, said.counts["queued"]) == (0, [], 0, 1)
    assert said.headline.startswith("0 of 1 log proven, ")


@pytest.mark.guarantee(
    "answers",
    "the vehicle has landed, and a log that was found in flight settles",
    "it is said to settle, no longer to wait for the end of the flight",
)
async def test_a_log_that_was_found_in_flight_settles_from_the_landing_on(robot: Robot) -> None:
    service = await robot.restart(settle_seconds=600)
    assert await service.files.run(service.lock.take)
    start = service.now()
    service.flight.told(armed=True, now=start)
    robot.write()
    await service.landed()
    service.watcher.now = lambda: start + 700
    service.flight.told(armed=True, now=start + 700)
    await service.watcher.step()
    assert (await service.status()).held == 1

    for _ in range(CONFIRMATIONS):
        service.flight.told(armed=False, now=start + 700)
    landed, said = await service.landed(), await service.status()

    assert (landed.found, landed.enqueued) == (1, 0)
    assert landed.reason == "What was found is taken when it has not changed for 600 s" + (
        " since the landing."
    )
    assert (said.code, said.held, len(said.settling)) == ("settling", 0, 1)
    assert "after the flight" not in said.headline
    service.watcher.now = lambda: start + 1400
    assert (await service.landed()).enqueued == 1


async def test_a_log_that_is_enqueued_while_it_settles_is_counted_once(robot: Robot) -> None:
    service = await robot.restart(settle_seconds=600)
    assert await service.files.run(service.lock.take)
    path = robot.write()
    landed = await service.landed()
    assert landed.reason == "What was found is taken when it has not changed for 600 s."
    assert len((await service.status()).settling) == 1
    other = robot.build()  # as in another process
    await other.open()
    await other.enqueue(path)

    await service.watcher.step()
    assert (await service.status()).settling == []


# -- refused by a setting


@pytest.mark.guarantee(
    "refusals",
    "a log above PETAL_S3_MAX_FILE_SIZE, and the setting is raised",
    "it is looked at again at the next start, and sent",
)
async def test_a_log_that_a_setting_refused_is_looked_at_again_when_it_is_raised(
    robot: Robot,
) -> None:
    await robot.restart(max_file_size=SMALL - 1)
    path = robot.write()
    await robot.service.landed()
    [dead] = await rows(robot)
    assert dead.code == "too_large"

    await robot.restart(max_file_size=SMALL)
    await robot.service.landed()

    [row] = await rows(robot)
    assert (row.id, row.state, row.kind, row.reason) == (dead.id, "queued", "ulog", "")
    done = await robot.attempt(row)
    robot.assert_sent_once(done, path)
    assert "max_bytes" not in robot.head(done.key)["Metadata"]


async def test_the_limit_that_is_told_is_the_one_that_is_set(robot: Robot) -> None:
    await robot.restart(max_file_size=SMALL - 9)
    robot.write()
    await robot.service.landed()
    for limit in (SMALL - 2, SMALL - 1):
        await robot.restart(max_file_size=limit)
        await robot.service.landed()
        [row] = await rows(robot)
        assert (row.state, f"the limit is {limit} bytes" in row.reason) == ("dead", True)


async def test_what_was_refused_is_not_looked_at_again_while_the_setting_stays(
    robot: Robot,
) -> None:
    await robot.restart(max_file_size=SMALL - 1)
    robot.write()
    first = await robot.service.landed()
    await robot.restart(max_file_size=SMALL - 1)
    second = await robot.service.landed()
    assert (first.found, second.found) == (1, 0)


async def test_a_refused_file_that_changes_keeps_its_one_row(robot: Robot) -> None:
    for size in (3, 4, 5):
        (robot.logs / "flight.ulg").write_bytes(b"x" * size)
        await robot.service.landed()
    [row] = await rows(robot)
    assert (row.state, row.size) == ("dead", 5)
    assert "5 bytes" in row.reason


# -- deleted after it was refused


@pytest.mark.guarantee(
    "refusals",
    "the file of a dead row is deleted",
    "its row says so beside why it is dead, and neither retry nor resend promises anything",
)
async def test_a_dead_row_whose_file_was_deleted_says_so(robot: Robot) -> None:
    (robot.logs / "no.ulg").write_bytes(b"no log at all, but long enough to be looked at" * 10)
    await robot.service.landed()
    [dead] = await rows(robot)
    with pytest.raises(Conflict, match="`petal-s3 retry 1` examines its file again"):
        await resend(robot.service, dead.id)
    (robot.logs / "no.ulg").unlink()

    with pytest.raises(Conflict, match="it is dead, and its file is not on this disk any more"):
        await resend(robot.service, dead.id)
    await robot.service.landed()
    await robot.service.landed()

    [row] = await rows(robot)
    assert (row.state, row.code) == ("dead", "source_gone")
    assert row.reason == f"{dead.reason} Its file was deleted since: there is nothing left to" + (
        " try again."
    )
    with pytest.raises(S3FileNotFoundError, match=r"'no\.ulg' does not exist"):
        await row_verbs.retry(robot.service, row.id)


async def test_a_dead_row_whose_disk_is_away_does_not_say_that_its_file_was_deleted(
    robot: Robot,
) -> None:
    (robot.logs / "no.ulg").write_bytes(b"no log")
    await robot.service.landed()
    [dead] = await rows(robot)
    (robot.logs / "no.ulg").unlink()
    robot.sql("UPDATE log SET dev = dev + 1")
    await robot.service.landed()
    assert [row.reason for row in await rows(robot)] == [dead.reason]


# -- left by a recorder that died


def recorders_left(robot: Robot) -> list[str]:
    return [told for told in robot.service.reporter.report().advice if "rosbag reindex" in told]


@pytest.mark.guarantee(
    "file",
    "a recorder died and left its .bag.active",
    "never sent; the status names the file and how to recover it, once it is still for 10 minutes",
)
async def test_a_bag_that_a_dead_recorder_left_is_told_and_not_sent(robot: Robot) -> None:
    path = robot.write("flight.bag")
    left = path.rename(path.with_name("flight.bag.active"))
    watcher = robot.service.watcher
    start = watcher.now()

    async def scan_after(seconds: float) -> list[str]:
        watcher.now = lambda: start + seconds
        await watcher.scan_and_accept()
        return recorders_left(robot)

    assert await scan_after(0) == []
    assert await scan_after(LEFT_S - 1) == []
    [told] = await scan_after(LEFT_S)
    assert "flight.bag.active" in told
    assert str(robot.logs) in told
    assert await rows(robot) == []

    with left.open("ab"):  # it was only slow
        assert await scan_after(LEFT_S + 1) == []
    assert await scan_after(2 * LEFT_S) == []
    assert len(await scan_after(2 * LEFT_S + 2)) == 1

    left.rename(path)
    assert await scan_after(2 * LEFT_S + 3) == []
    assert [row.name for row in await rows(robot)] == ["flight.bag"]


async def test_a_bag_that_is_recorded_is_not_told(robot: Robot) -> None:
    path: Path = robot.logs / "flight.bag.active"
    watcher = robot.service.watcher
    start = watcher.now()
    with path.open("wb") as bag:
        for minute in range(0, 60, 9):
            watcher.now = lambda at=minute: start + 60.0 * at
            bag.write(b"more")
            bag.flush()
            await watcher.scan()
            assert recorders_left(robot) == []


async def test_a_bag_that_was_left_long_ago_is_told_by_a_fresh_process(robot: Robot) -> None:
    path = robot.write("flight.bag")
    left = path.rename(path.with_name("flight.bag.active"))
    settings = robot.service.settings
    assert snapshot.read_status(settings, 0).advice == []
    long_ago = left.stat().st_mtime - 7200
    os.utime(left, (long_ago, long_ago))

    [told] = snapshot.read_status(settings, 0).advice
    assert "flight.bag.active" in told
    await robot.service.scan()
    assert recorders_left(robot) == [told]
    with left.open("ab"):
        assert snapshot.read_status(settings, 0).advice == []
