"""A new file is noticed when it comes: by file-system events, else by frequent scans."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from robot import Robot, until

from petal_s3.core.inotify import Event, Inotify
from petal_s3.intake import file_events, noticing, places
from petal_s3.intake.watcher import Watcher

SETTLE_S = 0.5
NOTICED_S = 15.0
"""Far less than any scan by the clock; far more than events and settling take."""


@contextlib.asynccontextmanager
async def watching(robot: Robot, **settings: Any) -> AsyncIterator[Watcher]:
    """The watcher of a new process, after its first scans; no scan by the clock is near."""
    service = await robot.restart(settle_seconds=SETTLE_S, **settings)
    watch = asyncio.create_task(service.watcher.watch())
    try:
        await listens(service.watcher)
        yield service.watcher
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def listens(watcher: Watcher) -> None:
    """Wait until it has set its watches and made the scan that follows."""
    scans = counted(watcher)
    await until(
        lambda: (
            len(scans) >= 2
            or watcher.noticing.blindness
            or (scans and not watcher.noticing.events.listens)
        )
    )
    watcher.scan = scans.real  # type: ignore[method-assign]


class Scans(list[float]):
    """When scans were made."""

    real: Callable[[], Any]


def counted(watcher: Watcher) -> Scans:
    scans = Scans()
    scans.real = scan = watcher.scan

    async def counting() -> int:
        found = await scan()
        scans.append(time.monotonic())
        return found

    watcher.scan = counting  # type: ignore[method-assign]
    return scans


async def entered(robot: Robot, *names: str, within_s: float = NOTICED_S) -> None:
    await until(
        lambda: sorted(name for (name,) in robot.sql("SELECT name FROM log")) == sorted(names),
        within_s,
    )


# -- events


@pytest.mark.guarantee(
    "file",
    "a new log comes while no scan is near",
    "file-system events tell it; it is in the outbox once it has settled",
)
async def test_a_new_log_is_noticed_though_no_scan_is_near(robot: Robot) -> None:
    async with watching(robot):
        robot.write()
        await entered(robot, "flight.ulg")


async def test_what_a_scan_that_is_asked_for_finds_is_taken_once_it_has_settled(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(robot) as watcher:
        await asyncio.sleep(0.1)  # nothing is at hand: it sleeps until something happens
        monkeypatch.setattr(watcher.noticing, "matters", lambda _: False)  # no event helps
        robot.write()
        await robot.service.landed()
        await entered(robot, "flight.ulg")


async def test_a_log_that_is_renamed_in_is_noticed(robot: Robot) -> None:
    robot.write("flight.ulg.part")
    async with watching(robot):
        (robot.logs / "flight.ulg.part").rename(robot.logs / "flight.ulg")
        await entered(robot, "flight.ulg")


async def test_logs_in_new_folders_are_noticed(robot: Robot) -> None:
    aside = robot.tmp / "aside"
    robot.store.copy(aside / "deep/moved.ulg", 1000, 1)
    async with watching(robot):
        robot.write("2025-07-27/14_30_22.ulg", 1000)
        aside.rename(robot.logs / "brought")
        await entered(robot, "14_30_22.ulg", "moved.ulg")
        robot.write("2025-07-27/15_30_22.ulg", 1000, 2)
        robot.write("brought/deep/later.ulg", 1000, 3)
        await entered(robot, "14_30_22.ulg", "moved.ulg", "15_30_22.ulg", "later.ulg")


@pytest.mark.guarantee(
    "file",
    "a log directory is made, or a link to it is set, while petal-s3 runs",
    "noticed within seconds, and so is what comes there later",
)
async def test_directories_that_appear_later_and_links_are_watched(robot: Robot) -> None:
    later, link = robot.tmp / "later", robot.tmp / "link"
    card = robot.tmp / "card/logs"
    async with watching(robot, log_dirs=f"{later}:{link}"):
        robot.store.copy(later / "first.ulg", 1000, 1)
        robot.store.copy(card / "second.ulg", 1000, 2)
        link.symlink_to(card)
        await entered(robot, "first.ulg", "second.ulg")
        robot.store.copy(later / "third.ulg", 1000, 3)
        robot.store.copy(card / "fourth.ulg", 1000, 4)
        await entered(robot, "first.ulg", "second.ulg", "third.ulg", "fourth.ulg")


async def test_a_directory_that_is_made_anew_is_watched_again(robot: Robot) -> None:
    async with watching(robot):
        robot.logs.rmdir()
        robot.write("first.ulg", 1000)  # the new directory may have the inode of the old one
        await entered(robot, "first.ulg")
        robot.write("second.ulg", 1000, 1)
        await entered(robot, "first.ulg", "second.ulg")


async def test_a_file_that_is_written_to_and_other_files_cause_no_scans(robot: Robot) -> None:
    async with watching(robot) as watcher:
        with robot.write().open("ab") as log, (robot.logs / "a.bag.active").open("ab") as bag:
            await until(lambda: watcher.settling.paths)
            scans = counted(watcher)
            ends = time.monotonic() + 4
            while time.monotonic() < ends:
                for file in (log, bag):
                    file.write(b"more")
                    file.flush()
                (robot.logs / "notes").write_text("something else")
                await asyncio.sleep(0.05)
        assert len(scans) <= 1  # one for what had been written before it was watched


async def test_links_in_a_log_directory_are_not_followed_by_watches(robot: Robot) -> None:
    (robot.logs / "everything").symlink_to("/")
    async with watching(robot) as watcher:
        assert watcher.noticing.blindness == ""
        robot.write()
        await entered(robot, "flight.ulg")


async def test_watching_ends_at_once_and_leaves_nothing_open(robot: Robot) -> None:
    service = await robot.restart()
    before = open_descriptors()
    watch = asyncio.create_task(service.watcher.watch())
    await listens(service.watcher)
    assert open_descriptors() > before

    begun = time.monotonic()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)

    assert time.monotonic() - begun < 1.0
    assert open_descriptors() == before


def open_descriptors() -> int:
    """How many descriptors of this process tell of events."""
    told = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that this reads by
            told.append(str(one.readlink()))
    return sum("inotify" in one or "mountinfo" in one for one in told)


# -- where events do not work


@pytest.fixture
def seldom_and_often(monkeypatch: pytest.MonkeyPatch) -> float:
    """Scans where events do not work come more often than in real life, so that a test ends."""
    monkeypatch.setattr(noticing, "OFTEN_S", 1.0)
    return 1.0


def watches_used_up(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device", "/home/petal/ulog_records")


def no_instance(*_: object) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


def breaks(*_: object) -> int:
    raise OSError(errno.EIO, "odd")


@pytest.mark.parametrize(
    ("where", "fails", "says"),
    [
        ("watch", watches_used_up, "fs.inotify.max_user_watches"),
        ("__init__", no_instance, "fs.inotify.max_user_instances"),
        ("watch", breaks, "odd"),
    ],
)
@pytest.mark.guarantee(
    "file",
    "no file-system events can be had (watches used up, a watch that fails)",
    "a scan every 30 s finds new logs, and the status says why and what to do",
)
async def test_without_watches_frequent_scans_find_logs_and_the_status_says_why(
    robot: Robot,
    monkeypatch: pytest.MonkeyPatch,
    seldom_and_often: float,
    where: str,
    fails: Callable[..., int],
    says: str,
) -> None:
    monkeypatch.setattr(Inotify, where, fails)
    async with watching(robot) as watcher:
        assert watcher.noticing.interval_s == seldom_and_often
        robot.write()
        await entered(robot, "flight.ulg")
        [told] = robot.service.reporter.report().advice
        assert says in told
        assert "/home/petal" not in told


async def test_watches_that_fail_later_are_told_and_set_again(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, seldom_and_often: float
) -> None:
    async with watching(robot) as watcher:
        read, calls = Inotify.read, []

        def failing(events: Inotify) -> Iterator[Event]:
            calls.append(events)
            if len(calls) == 1:
                raise OSError(errno.EIO, "the events cannot be read")
            return read(events)

        monkeypatch.setattr(Inotify, "read", failing)
        robot.write("first.ulg", 1000)
        await entered(robot, "first.ulg")
        assert len(calls) >= 1
        await until(lambda: watcher.noticing.blindness == "")
        assert watcher.noticing.interval_s == 900.0
        robot.write("second.ulg", 1000, 1)
        await entered(robot, "first.ulg", "second.ulg")


async def test_more_folders_than_are_watched_are_scanned_often(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, seldom_and_often: float
) -> None:
    monkeypatch.setattr(file_events, "MOST_FOLDERS", 2)
    for name in "abc":
        (robot.logs / name).mkdir()
    async with watching(robot) as watcher:
        robot.write("a/flight.ulg")
        await entered(robot, "flight.ulg")
        assert "4 folders, more than 2" in watcher.advice[0]


@pytest.mark.guarantee(
    "file",
    "log directories on a network file system, or one of several layers",
    "scanned every 30 s, whatever events tell",
)
async def test_a_network_file_system_is_scanned_often(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"40 21 0:40 / {robot.logs} rw shared:1 - nfs4 server:/logs rw\n"
    )
    monkeypatch.setattr(places, "MOUNTS", table)
    async with watching(robot) as watcher:
        assert watcher.noticing.interval_s == 30.0
        assert "nfs4" in watcher.noticing.blindness
        assert watcher.advice == []  # no person can do anything about it
        table.write_text("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        await until(lambda: watcher.noticing.interval_s == 900.0)


@pytest.mark.parametrize(
    ("kind", "blind"),
    [
        ("ext4", False),
        ("vfat", False),
        ("exfat", False),
        ("tmpfs", False),
        ("fuseblk", False),
        ("overlay", True),
        ("nfs", True),
        ("cifs", True),
        ("fuse.sshfs", True),
        ("9p", True),
        ("virtiofs", True),
    ],
)
def test_file_systems_whose_events_do_not_tell_all_are_known_by_their_type(
    kind: str, blind: bool
) -> None:
    assert places.is_blind(kind) is blind


def test_the_mount_that_holds_a_directory_and_those_below_it_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "a b/logs"
    logs.mkdir(parents=True)
    there = str(logs).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        "21 1 8:1 / / rw - overlay overlay rw\n"
        f"30 21 8:2 / {there} rw - nfs server:/ rw\n"
        f"31 30 8:2 / {there} rw - ext4 /dev/sdb1 rw\n"
        f"32 31 0:9 / {there}/card rw master:1 - fuse.sshfs host:/ rw\n"
        f"33 31 0:9 / {there}2 rw - cifs //host/x rw\n"
    )
    monkeypatch.setattr(places, "MOUNTS", table)

    found, _ = places.look_at([logs, tmp_path / "missing"])

    assert found.mounts == {(str(logs), "ext4"), (f"{logs}/card", "fuse.sshfs")}
    assert found.blind == [(f"{logs}/card", "fuse.sshfs")]
    assert found.real == {(str(logs), logs.stat().st_dev, logs.stat().st_ino)}
