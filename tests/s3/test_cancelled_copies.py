"""A cancelled row keeps its copy in the spool for a day: it may be the only one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aged import days_pass
from robot import SMALL, Robot, until

from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.outbox import copies, queries
from petal_s3.outbox.rows import Row
from petal_s3.service import row_verbs

DAY_S = 86_400.0


def spooled(robot: Robot) -> list[Path]:
    return sorted(path for path in (robot.state / "spool").iterdir() if path.name[0] != ".")


def body_of(robot: Robot, seed: int = 0) -> bytes:
    path = robot.tmp / f"body-{seed}.ulg"
    robot.store.copy(path, SMALL, seed)
    return path.read_bytes()


async def posted(robot: Robot, body: bytes, name: str = "flight.ulg") -> Row:
    """A log that came as a stream: only the spool has it."""

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    return await robot.service.receive(chunks(), name)


async def look(robot: Robot) -> None:
    """What the drain does once a minute."""
    await robot.service.ageing.step()


@pytest.mark.guarantee(
    "device",
    "a log of which only the spool has a copy is cancelled",
    "the copy stays for a day, over restarts; a retry sends it, byte by byte",
)
async def test_what_was_cancelled_comes_back_with_a_retry(robot: Robot) -> None:
    body = body_of(robot)
    row = await posted(robot, body)

    told = await robot.service.cancel(row.id)
    await robot.restart()
    await days_pass(robot, DAY_S - 120)
    await look(robot)
    kept = [copy.read_bytes() for copy in spooled(robot)]
    again = await robot.service.retry(row.id)
    done = await robot.finish(again)

    assert f"petal-s3 retry {row.id}" in told.reason
    assert kept == [body]
    assert (again.state, again.reason) == ("queued", "")
    assert done.state == "verified"
    assert robot.body(done.key) == body
    assert spooled(robot) == []


@pytest.mark.guarantee(
    "device", "a day has passed since the cancel", "the copy goes, and the row says so"
)
async def test_after_a_day_it_goes(robot: Robot) -> None:
    row = await posted(robot, body_of(robot))
    await robot.service.cancel(row.id)
    await days_pass(robot, DAY_S + 1)

    await look(robot)

    assert list((robot.state / "spool").iterdir()) == []
    now = await robot.row(row)
    assert (now.state, now.local) == ("cancelled", "deleted")
    assert "was deleted" in now.reason
    with pytest.raises(S3FileNotFoundError):
        await robot.service.retry(row.id)


@pytest.mark.guarantee(
    "device",
    "a cancel with --purge, of a row that waits or was cancelled before",
    "the copy is deleted at once",
)
@pytest.mark.parametrize("before", [True, False])
async def test_a_purge_deletes_at_once(robot: Robot, before: bool) -> None:
    row = await posted(robot, body_of(robot))
    if before:
        await row_verbs.cancel(robot.service, row.id)

    done = await row_verbs.cancel(robot.service, row.id, purge=True)

    assert (done.state, done.local) == ("cancelled", "deleted")
    assert list((robot.state / "spool").iterdir()) == []
    with pytest.raises(Conflict) as told:
        await row_verbs.cancel(robot.service, row.id, purge=True)
    assert row_verbs.is_so(told.value)


@pytest.mark.guarantee(
    "device",
    "the same bytes come again after a cancel, and are cancelled again",
    "one copy and one row; its day begins anew",
)
async def test_the_same_bytes_cancelled_twice_are_one_copy(robot: Robot) -> None:
    body = body_of(robot)
    first = await posted(robot, body)
    await robot.service.cancel(first.id)
    await days_pass(robot, DAY_S - 60)

    second = await posted(robot, body)
    await robot.service.cancel(second.id)
    await days_pass(robot, DAY_S - 60)
    await look(robot)

    assert second.id == first.id
    assert second.state == "queued"
    assert [copy.read_bytes() for copy in spooled(robot)] == [body]
    assert len(await robot.service.outbox(queries.rows)) == 1


async def test_a_copy_of_a_file_that_is_enqueued_again_is_sent(robot: Robot) -> None:
    outside = robot.tmp / "outside.ulg"
    outside.write_bytes(body_of(robot))
    row = await robot.service.enqueue(outside)
    await robot.service.cancel(row.id)
    await days_pass(robot, DAY_S + 1)
    await look(robot)

    again = await robot.service.enqueue(outside)
    outside.unlink()
    done = await robot.finish(again)

    assert (done.id, done.state) == (row.id, "verified")
    assert robot.body(done.key) == body_of(robot)


async def lose_outbox(robot: Robot) -> None:
    await robot.service.stop()
    for file in robot.state.glob("outbox.db*"):
        file.unlink()
    await robot.run()


@pytest.mark.guarantee(
    "device",
    "the outbox is lost after a cancel",
    "the copy has a cancelled row again: it is not sent unasked, and not swept",
)
async def test_without_the_outbox_it_stays_cancelled(robot: Robot) -> None:
    body = body_of(robot)
    row = await posted(robot, body)
    kept = await posted(robot, body_of(robot, 1), "other.ulg")
    await robot.service.cancel(row.id)

    await lose_outbox(robot)
    await until(lambda: len(robot.sql("SELECT id FROM log")) == 2)
    await until(lambda: robot.sql("SELECT id FROM log WHERE state = 'verified'"))

    [cancelled] = await robot.service.outbox(queries.rows, "cancelled")
    assert len(robot.stored()) == 1
    assert (cancelled.name, cancelled.has_copy) == ("flight.ulg", True)
    assert robot.body(robot.stored()[0]) == body_of(robot, 1) != body
    assert kept.name == "other.ulg"
    await robot.service.retry(cancelled.id)
    done = await robot.until_state(cancelled, "verified")
    assert robot.body(done.key) == body


async def test_after_a_retry_the_loss_of_the_outbox_does_not_cancel_it_again(robot: Robot) -> None:
    row = await posted(robot, body_of(robot))
    await robot.service.cancel(row.id)
    await robot.service.retry(row.id)

    await lose_outbox(robot)

    await until(lambda: robot.sql("SELECT id FROM log WHERE state = 'verified'"))
    assert robot.body(robot.stored()[0]) == body_of(robot)


@pytest.mark.guarantee(
    "device",
    "the outbox is lost, and the setting for the largest log is smaller now",
    "a copy that is too large for it is kept with a dead row, and not swept",
)
async def test_a_copy_that_is_refused_after_the_loss_of_the_outbox_is_kept(robot: Robot) -> None:
    await posted(robot, body_of(robot))
    await robot.service.stop()
    for file in robot.state.glob("outbox.db*"):
        file.unlink()
    await robot.run(max_file_size=SMALL - 1)
    await until(lambda: robot.sql("SELECT id FROM log WHERE state = 'dead'"))

    assert len(await robot.service.outbox(copies.needed)) == 1
    assert [copy.read_bytes() for copy in spooled(robot)] == [body_of(robot)]
    [row] = await robot.service.outbox(queries.rows)
    await robot.run()
    await robot.service.retry(row.id)
    await robot.until_state(row, "verified")


async def test_a_cancel_is_done_where_the_copy_cannot_be_marked(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await posted(robot, body_of(robot))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("petal_s3.intake.spool.create_private", full)
    done = await robot.service.cancel(row.id)

    assert done.state == "cancelled"
    assert len(spooled(robot)) == 1
    assert len([*(robot.state / "spool").iterdir()]) == 2, "what describes it was lost"
