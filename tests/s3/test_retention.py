"""The disk ladder: only what is proven leaves the disk, and nothing else, whatever the pressure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aged import days_pass, older
from robot import DROP, HOME, SMALL, TWO_PARTS, Robot, refusal

from petal_s3.cleanup import deletion as removal
from petal_s3.cleanup.retention import Retention
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.logs import write_ulog
from petal_s3.errors import S3IntegrationError
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.outbox import deletions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.s3.server_time import date_s
from petal_s3.service import vehicle

LATER_S = 10 * 86_400.0


class Ladder:
    """The retention of a robot's service, on a disk whose free space a test decides."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.free = 1000
        self.may_not: str | None = None
        self.store: Callable[[Path], int] = lambda _: self.free

    @property
    def room(self) -> Retention:
        service = self.robot.service
        service.retention.free = self.store
        service.retention.delete_blocked_reason = lambda: self.may_not
        return service.retention

    async def step(self) -> int:
        return await self.room.step()

    def grows(self, per_file: int) -> None:
        """Each log that is gone frees so many bytes."""
        logs = self.robot.logs
        total = len(list(logs.iterdir()))

        def free(_: Path) -> int:
            return self.free + (total - len(list(logs.iterdir()))) * per_file

        self.store = free

    def entries(self) -> list[tuple[Any, ...]]:
        return self.robot.sql(
            "SELECT path, why, state, receipt IS NOT NULL FROM deletion ORDER BY id"
        )

    async def totals(self) -> deletions.Totals:
        return await self.robot.service.outbox(deletions.totals)


@pytest.fixture
def ladder(robot: Robot) -> Ladder:
    return Ladder(robot)


async def up(robot: Robot, name: str = "flight.ulg", size: int = SMALL, seed: int = 0) -> Row:
    row = await robot.finish(await robot.land(name, size, seed))
    assert row.state == "verified"
    return row


async def age(robot: Robot, row: Row, seconds: float = LATER_S) -> None:
    """The proof of this row is older by so much."""
    await older(robot, row, seconds)


def files(robot: Robot) -> list[str]:
    return sorted(path.name for path in robot.logs.iterdir())


@pytest.mark.guarantee("retention", "nobody asked for it", "nothing is ever deleted")
async def test_by_default_nothing_is_deleted(robot: Robot, ladder: Ladder) -> None:
    row = await up(robot)
    await age(robot, row)
    ladder.free = 0
    assert not ladder.room.on
    assert await ladder.step() == 0
    assert files(robot) == ["flight.ulg"]


@pytest.mark.guarantee(
    "retention",
    "a proven log is older than RETENTION_DAYS",
    "it is deleted, with its receipt in the journal",
)
async def test_an_old_proven_log_goes_and_the_journal_tells_why(
    robot: Robot, ladder: Ladder
) -> None:
    await robot.restart(retention_days=7)
    old, young = await up(robot, "old.ulg"), await up(robot, "young.ulg", seed=1)
    await age(robot, old)

    assert await ladder.step() == 1

    assert files(robot) == ["young.ulg"]
    assert ladder.entries() == [(old.path, "age", "done", 1)]
    assert await ladder.totals() == deletions.Totals(1, old.size, 0)
    kept = await robot.row(old)
    assert (kept.state, kept.local) == ("verified", "deleted")
    assert (await robot.row(young)).local == "kept"
    assert await robot.service.scan() == 0
    assert await ladder.step() == 0


@pytest.mark.guarantee(
    "retention",
    "the disk is full of logs that are not proven",
    "none of them is deleted; the operator is told that there is nothing to delete",
)
@pytest.mark.threat("server")
async def test_an_unsent_log_stays_whatever_the_pressure(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(retention_days=1, min_free_bytes=10**15)
    done = await up(robot, "done.ulg")
    await age(robot, done)
    waiting = await robot.land("waiting.ulg", seed=1)
    robot.fault("UploadPart", DROP, part=2)
    half = await robot.attempt(await robot.land("half.ulg", TWO_PARTS, priority=100))
    dead = robot.logs / "dead.ulg"
    dead.write_bytes(b"no log")
    unseen = robot.write("unseen.ulg", seed=2)
    ladder.free = 0

    assert await ladder.step() == 1
    assert await ladder.step() == 0

    assert files(robot) == ["dead.ulg", "half.ulg", "unseen.ulg", "waiting.ulg"]
    assert [(await robot.row(row)).state for row in (waiting, half)] == ["queued", "queued"]
    assert unseen.exists()
    assert "no proven log is left to delete" in ladder.room.advice[0]
    assert (await ladder.totals()).unsent == 0
    assert robot.service.reporter.report().advice == ladder.room.advice


@pytest.mark.guarantee(
    "retention",
    "the disk runs short",
    "proven logs go, the oldest proof first, until enough is free",
)
async def test_under_pressure_the_oldest_go_until_there_is_room(
    robot: Robot, ladder: Ladder
) -> None:
    await robot.restart(min_free_bytes=2000)
    rows = [await up(robot, f"log{n}.ulg", seed=n) for n in range(4)]
    for days, row in zip((1, 4, 3, 2), rows, strict=True):
        await age(robot, row, days * 86_400)
    ladder.grows(per_file=500)

    assert await ladder.step() == 2

    assert files(robot) == ["log0.ulg", "log3.ulg"]
    assert [why for _, why, _, _ in ladder.entries()] == ["pressure", "pressure"]
    assert ladder.room.advice == []


@pytest.mark.guarantee(
    "retention", "a flight is pinned", "its log never goes by age, and last of all under pressure"
)
async def test_a_pinned_log_goes_last(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(retention_days=1, min_free_bytes=2000)
    pinned, other = await up(robot, "pinned.ulg"), await up(robot, "other.ulg", seed=1)
    await robot.service.pin(pinned.id, pinned=True)
    await age(robot, pinned)
    ladder.free = 5000
    assert await ladder.step() == 0  # old enough, but pinned

    ladder.free = 1000
    ladder.grows(per_file=1000)
    assert await ladder.step() == 1
    assert files(robot) == ["pinned.ulg"]
    assert (await robot.row(other)).local == "deleted"

    ladder.store = lambda _: 0
    assert await ladder.step() == 1
    assert files(robot) == []


@pytest.mark.parametrize(
    "fault",
    [
        refusal(404, "NoSuchKey"),
        refusal(403, "AccessDenied"),
        says(200),
        says(200, b"<html>Log in</html>", {"Content-Type": "text/html"}),
        says(200, headers={"ETag": '"' + "0" * 32 + '"', "Content-Length": str(SMALL)}),
        says(302, headers={"Location": "http://portal.invalid/"}),
        DROP,
    ],
)
@pytest.mark.guarantee(
    "retention",
    "a fresh HEAD does not confirm the object: gone, replaced, refused, no link, a portal",
    "the file stays",
)
@pytest.mark.threat("server")
async def test_what_the_bucket_does_not_confirm_stays(
    robot: Robot, ladder: Ladder, fault: Fault
) -> None:
    await robot.restart(min_free_bytes=10**15)
    await up(robot)
    robot.always("HeadObject", fault)
    robot.always("ListObjectsV2", fault)
    try:
        assert await ladder.step() == 0
    except S3IntegrationError as error:
        assert error.code  # told, and tried again later
    assert files(robot) == ["flight.ulg"]
    assert ladder.entries() == []


@pytest.mark.guarantee(
    "retention", "the object was replaced or deleted in the bucket", "the file stays"
)
async def test_a_replaced_object_keeps_its_file(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(min_free_bytes=10**15)
    row, other = await up(robot), await up(robot, "other.ulg", seed=1)
    robot.put(row.key, b"x" * SMALL)
    robot.cloud.delete_object(Bucket="logs", Key=other.key)
    assert await ladder.step() == 0
    assert files(robot) == ["flight.ulg", "other.ulg"]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace(path: Path) -> None:
    new = path.with_name("new.tmp")
    write_ulog(new, SMALL, seed=9)
    new.replace(path)


def rewrite(path: Path) -> None:
    """Other bytes of the same size, with the old time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(SMALL // 2)
        file.write(b"other bytes")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


def link_away(path: Path) -> None:
    path.rename(path.with_name("moved.ulg"))
    path.symlink_to("moved.ulg")


@pytest.mark.parametrize("change", [grow, replace, rewrite, link_away])
@pytest.mark.guarantee(
    "retention",
    "the file changed after it was proven, even with size and time restored",
    "it stays: only bytes that the receipt names may go",
)
@pytest.mark.threat("user")
async def test_a_changed_file_stays(
    robot: Robot, ladder: Ladder, change: Callable[[Path], None]
) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    change(Path(row.path))
    before = files(robot)
    assert await ladder.step() == 0
    assert files(robot) == before
    assert ladder.entries() == []


@pytest.mark.guarantee("retention", "somebody writes to a proven file", "it stays")
async def test_a_file_that_is_open_for_writing_stays(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    with Path(row.path).open("r+b"):
        assert await ladder.step() == 0
    assert files(robot) == ["flight.ulg"]
    assert await ladder.step() == 1


@pytest.mark.guarantee(
    "retention",
    "the file is written to, or another takes its name, between the check and the deletion",
    "it is put back; nothing is overwritten",
)
@pytest.mark.parametrize("change", [grow, replace])
async def test_a_change_in_the_last_moment_is_seen(
    robot: Robot, ladder: Ladder, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    remove = removal.remove

    def changed_before(one: removal.Opened, aside: str) -> bool:
        change(Path(row.path))
        return remove(one, aside)

    monkeypatch.setattr(removal, "remove", changed_before)
    assert await ladder.step() == 0
    changed = Path(row.path).read_bytes()
    assert changed != b""
    assert files(robot) == ["flight.ulg"]
    assert [state for _, _, state, _ in ladder.entries()] == ["kept"]
    assert (await ladder.totals()) == deletions.Totals(0, 0, 0)


async def test_a_file_that_is_put_back_never_overwrites_a_newer_one(
    robot: Robot, ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    path = Path(row.path)
    idle = removal.check_idle

    def newer_appears(looked_at: Path) -> None:
        if looked_at != path:
            robot.store.copy(path, SMALL, 7)
            raise removal.NotDeleted("a process writes to it")
        idle(looked_at)

    monkeypatch.setattr(removal, "check_idle", newer_appears)
    assert await ladder.step() == 0
    assert files(robot) == ["flight-2.ulg", "flight.ulg"]
    assert (robot.logs / "flight-2.ulg").read_bytes() == robot.body(row.key)
    assert path.read_bytes() != robot.body(row.key)


@pytest.mark.guarantee(
    "retention",
    "bytes are written into the file after all checks, while its last name goes",
    "they are saved under a new name, counted in unsent_deleted_total and logged as critical",
)
async def test_bytes_that_lost_their_name_are_saved_and_counted(
    robot: Robot, ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    unlink = os.unlink

    def written_to_first(name: str, *, dir_fd: int | None = None) -> None:
        if str(name).startswith(".petal-s3-"):
            grow(robot.logs / name)
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", written_to_first)
        await ladder.step()
    assert (robot.logs / "flight.ulg").read_bytes() == robot.body(row.key) + b"more"
    assert (await ladder.totals()).unsent == 1
    assert "petal_s3_unsent_deleted_total 1.0" in await robot.service.overview.metrics()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("where", ["before the rename", "after the rename", "after the unlink"])
@pytest.mark.guarantee(
    "retention",
    "kill -9 in the middle of a deletion",
    "the journal tells: what was only moved aside is put back, what is gone was proven",
)
async def test_a_killed_deletion_is_ended_at_the_next_start(
    robot: Robot, ladder: Ladder, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    rename, unlink = os.rename, os.unlink

    def dies_renaming(*names: Any, **more: Any) -> None:
        if where == "after the rename":
            rename(*names, **more)
        raise Killed

    def dies_unlinking(name: Any, **more: Any) -> None:
        unlink(name, **more)
        raise Killed

    with monkeypatch.context() as patch:
        if where == "after the unlink":
            patch.setattr(os, "unlink", dies_unlinking)
        else:
            patch.setattr(os, "rename", dies_renaming)
        with pytest.raises(Killed):
            await ladder.step()

    await robot.restart(min_free_bytes=0)
    await robot.service.retention.recover()
    gone = where == "after the unlink"
    assert files(robot) == ([] if gone else ["flight.ulg"])
    assert [state for _, _, state, _ in ladder.entries()] == ["done" if gone else "kept"]
    assert (await robot.row(row)).local == ("deleted" if gone else "kept")
    await robot.restart(min_free_bytes=10**15)
    assert await ladder.step() == (0 if gone else 1)


@pytest.mark.guarantee("retention", "the vehicle is armed", "nothing is deleted in flight")
async def test_nothing_is_deleted_in_flight(robot: Robot) -> None:
    await robot.restart(min_free_bytes=10**15)
    await up(robot)
    service = robot.service
    armed = Heartbeat(system=1, component=1, autopilot=12, type=2, base_mode=128)
    vehicle.heartbeat(service, armed)
    assert await service.retention.step() == 0
    for _ in range(3):
        vehicle.heartbeat(service, Heartbeat(1, 1, 12, 2, 0))
    assert await service.retention.step() == 1


@pytest.mark.guarantee(
    "retention",
    "the device's clock is wrong: 1970, or years ahead",
    "age counts by the steady clock alone, which cannot be set",
)
@pytest.mark.parametrize("wall", [0.0, 4_000_000_000.0], ids=["1970", "2096"])
async def test_age_is_not_told_by_the_date_of_the_device(
    robot: Robot, ladder: Ladder, wall: float
) -> None:
    await robot.restart(retention_days=7)
    row = await up(robot)
    robot.service.s3.clock.wall = lambda: wall
    assert await ladder.step() == 0
    await robot.service.objects.head(row.key)
    assert await ladder.step() == 0
    await age(robot, row)
    assert await ladder.step() == 1


class Dates:
    """The dates that S3 tells, moved by so many seconds."""

    def __init__(self, robot: Robot, moved_s: float) -> None:
        self.moved_s = moved_s
        learn = robot.service.s3.clock.learn

        def moved(date: str) -> float:
            told = date_s(date)
            assert told is not None
            return learn(formatdate(told + self.moved_s, usegmt=True))

        robot.service.s3.clock.learn = moved  # type: ignore[method-assign]


async def heard(robot: Robot, key: str) -> None:
    """S3 answers, and tells its time again and again."""
    for _ in range(3):
        await robot.service.objects.head(key)


YEARS_S = 56 * 365 * 86_400.0
JUMPS = {
    "from 1970 to now": (-time.time() + 100, 0.0),
    "40 days ahead": (0.0, 40 * 86_400.0),
    "back and ahead again": (40 * 86_400.0, 80 * 86_400.0),
    "back": (0.0, -40 * 86_400.0),
}


@pytest.mark.guarantee(
    "retention",
    "the clock of S3 jumps by days or decades: from 1970 to now, 40 days ahead, back",
    "nothing is deleted; all ages begin anew, and the status says so",
)
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("between", ["nothing", "a restart"])
@pytest.mark.threat("server")
async def test_a_jump_of_the_clock_of_s3_deletes_nothing(
    robot: Robot, ladder: Ladder, jump: str, between: str
) -> None:
    before, after = JUMPS[jump]
    await robot.restart(retention_days=30)
    dates = Dates(robot, before)
    row = await up(robot)
    await heard(robot, row.key)
    assert await ladder.step() == 0
    await days_pass(robot, 29 * 86_400)

    if between == "a restart":
        await robot.restart(retention_days=30)
        dates = Dates(robot, after)
    dates.moved_s = after
    await heard(robot, row.key)
    assert await ladder.step() == 0
    await days_pass(robot, 29 * 86_400)
    deleted = [await ladder.step()]
    await days_pass(robot, 2 * 86_400)
    deleted += [await ladder.step()]

    assert deleted == [0, 1]


async def test_a_jump_is_told(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(retention_days=30)
    dates = Dates(robot, 0.0)
    row = await up(robot)
    await heard(robot, row.key)
    await robot.service.ageing.step()
    dates.moved_s = 40 * 86_400.0
    await heard(robot, row.key)

    await robot.service.ageing.step()
    [sentence] = robot.service.reporter.report().advice
    await days_pass(robot, 86_400)
    await robot.service.ageing.step()

    assert sentence.startswith("The clock of S3 has jumped by 40 days forward:")
    assert robot.service.reporter.report().advice == []


@pytest.mark.guarantee(
    "retention",
    "one answer tells an odd date, years ahead",
    "it counts for nothing before a second one agrees",
)
@pytest.mark.threat("server")
async def test_one_odd_date_begins_nothing_anew(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(retention_days=30)
    dates = Dates(robot, 0.0)
    row = await up(robot)
    await heard(robot, row.key)
    assert await ladder.step() == 0
    await days_pass(robot, 31 * 86_400)
    dates.moved_s = YEARS_S
    await robot.service.objects.head(row.key)
    odd = robot.service.s3.clock.agreed_s
    dates.moved_s = 0.0

    assert odd is None
    assert await ladder.step() == 1


async def test_a_copy_and_a_file_elsewhere_are_none_of_its_business(
    robot: Robot, ladder: Ladder
) -> None:
    outside = robot.tmp / "outside" / "card.ulg"
    robot.store.copy(outside, SMALL, 3)
    await robot.restart(min_free_bytes=10**15)
    await robot.finish(await robot.service.enqueue(outside))
    assert await ladder.step() == 0
    assert outside.exists()


async def test_one_of_two_names_frees_nothing(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(min_free_bytes=10**15)
    row = await up(robot)
    os.link(row.path, robot.tmp / "second-name.ulg")
    assert await ladder.step() == 0
    assert files(robot) == ["flight.ulg"]


async def test_it_runs_by_itself_beside_the_drain(robot: Robot) -> None:
    await robot.service.stop()
    service = robot.build(min_free_bytes=10**15)
    row = None
    service.retention.free = lambda _: 0
    await service.open()
    row = await robot.land()
    await service.start(watch=False)
    await robot.until_state(row, "verified")
    path = Path(row.path)
    service.retention.advice = ["short"]
    from robot import until

    await until(lambda: not path.exists(), within_s=90)
    assert HOME in row.key


async def test_the_figures_are_there_for_prometheus(robot: Robot) -> None:
    await up(robot)
    await robot.land("b.ulg", seed=1)
    told = await robot.service.overview.metrics()
    assert 'petal_s3_rows{state="verified"} 1.0' in told
    assert 'petal_s3_rows{state="queued"} 1.0' in told
    assert f"petal_s3_backlog_bytes {float(SMALL)}" in told
    assert "petal_s3_unsent_deleted_total 0.0" in told
    assert "petal_s3_deleted_total 0.0" in told
    assert "petal_s3_parts_resent_total 0.0" in told
    assert f'petal_s3_free_bytes{{directory="{robot.logs}"}}' in told


async def test_the_oldest_proof_is_found_by_an_index(robot: Robot) -> None:
    def plan(box: Outbox) -> str:
        found = box.sql.records(
            "EXPLAIN QUERY PLAN SELECT * FROM log INDEXED BY removable WHERE state = 'verified'"
            " AND spooled = 0 AND local = 'kept' AND pinned = 0 AND"
            " (settled_s, id) > (-1, 0) ORDER BY settled_s, id LIMIT 50"
        )
        return " ".join(str(one["detail"]) for one in found)

    told = await robot.service.outbox(plan)
    assert "removable" in told
    assert "TEMP B-TREE" not in told


@pytest.mark.guarantee(
    "retention",
    "a proven file is wanted under another key, and that has not been made yet",
    "the file stays until the other row is settled, too",
)
async def test_a_file_that_another_row_waits_for_stays(robot: Robot, ladder: Ladder) -> None:
    await robot.restart(retention_days=7)
    row = await up(robot)
    await age(robot, row)
    other = await robot.service.enqueue(
        robot.logs / "flight.ulg", key=f"{HOME}records/1/flight.ulg"
    )

    assert await ladder.step() == 0
    assert files(robot) == ["flight.ulg"]

    await robot.finish(other)
    assert await ladder.step() == 1
    assert files(robot) == []
