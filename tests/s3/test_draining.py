"""The drain as it runs by itself: who goes first, what wakes it, what holds it, what it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from others import other_process
from robot import DROP, HOME, LOSE_ANSWER, PART, THREE_PARTS, TWO_PARTS, UNWELL, Robot, until

from petal_s3.demo.ledger import Request
from petal_s3.errors import NotNow
from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.service import waiting
from petal_s3.upload.backoff import RETURN_CAP_S

# A row of another process and a link that is back are noticed within about 2 s; where nobody
# looked, it would take a minute. In between lies what a busy machine may add.
SOON_S = 15.0


def sent_names(robot: Robot) -> list[str]:
    return [request.key.rsplit("_", 1)[1] for request in robot.ledger.requests("PutObject")]


# -- who goes first


async def test_what_is_waited_for_goes_first_then_the_newest_log(robot: Robot) -> None:
    for hour in (10, 12, 11):
        path = robot.write(f"2025-07-27-{hour}-00-00.ulg", seed=hour)
        await robot.service.enqueue(path, priority=0)
    await robot.service.enqueue(robot.write("2025-07-27-09-00-00.ulg", seed=9), priority=5)

    for _ in range(4):
        await robot.step()

    sent = [name.removesuffix("-00-00.ulg").rsplit("-", 1)[1] for name in sent_names(robot)]
    assert sent == ["09", "12", "11", "10"]


async def test_a_row_in_trouble_does_not_hold_up_the_others(robot: Robot) -> None:
    robot.service.drainer.timing.spread = lambda: 1.0
    robot.fault("PutObject", UNWELL)
    first = await robot.land("first.ulg", priority=99)
    second = await robot.land("second.ulg", seed=1)

    await robot.step()
    await robot.step()

    assert (await robot.row(first)).state == "queued"
    assert (await robot.row(second)).state == "verified"


# -- what wakes it


async def test_a_log_that_lands_wakes_an_idle_drain(robot: Robot) -> None:
    service = await robot.run()
    await until(lambda: service.lock.held)

    row = await robot.land()
    done = await robot.until_state(row, "verified")

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_a_log_entered_by_another_process_is_sent_soon(robot: Robot) -> None:
    service = await robot.run()
    await robot.until_state(await robot.land("first.ulg"), "verified")
    await until(lambda: not service.drainer.pause.woken.is_set())
    path = robot.write("second.ulg", seed=1)

    await other_process(robot, "land", path)
    entered_at = time.monotonic()
    await until(lambda: robot.count("PutObject") == 2)

    assert robot.ledger.requests("PutObject")[1].started - entered_at < SOON_S


@pytest.mark.guarantee(
    "links",
    "a log of another process lands just after the link broke",
    "it is sent soon: a block that is over holds nobody up",
)
async def test_a_log_of_another_process_is_sent_soon_though_the_drain_was_blocked(
    robot: Robot,
) -> None:
    """A block that is over holds nobody up, also when nothing was sent since."""
    service = await robot.run(spread=0.0)
    robot.fault("PutObject", DROP)
    row = await robot.land("first.ulg")
    await until(lambda: service.drainer.block is not None)
    await service.cancel(row.id)
    path = robot.write("second.ulg", seed=1)

    await other_process(robot, "land", path)
    entered_at = time.monotonic()
    await until(lambda: robot.sql("SELECT state FROM log")[-1] == ("verified",))

    assert time.monotonic() - entered_at < SOON_S


@pytest.mark.guarantee(
    "links",
    "no link for a long time, then it is back",
    "a bare connect finds it within seconds; the backoff does not count",
)
async def test_a_link_that_is_back_is_used_soon(robot: Robot) -> None:
    service = await robot.run(spread=1.0)
    succeed, first = service.drainer.pause.succeeded, asyncio.Event()

    def succeeded() -> None:
        succeed()
        first.set()

    service.drainer.pause.succeeded = succeeded  # type: ignore[method-assign]
    await robot.land("first.ulg")
    await first.wait()
    service.drainer.pause.failures = 6  # as after a long time offline: the backoff says a minute
    robot.link.cut()
    row = await robot.land()
    await until(lambda: service.drainer.pause.seen_down)
    block = service.drainer.block
    before = len(robot.ledger.requests())

    robot.link.forward()
    back_at = time.monotonic()
    await until(lambda: len(robot.ledger.requests()) > before)

    assert block is not None
    assert block.until - block.since == 60
    assert robot.ledger.requests()[before].started - back_at < SOON_S
    robot.assert_sent_once(await robot.until_state(row, "verified"), robot.logs / "flight.ulg")


async def back_after_long(robot: Robot, *, back: bool = True) -> Row:
    """A link that was gone for an hour is back; the drain waits for its turn among all robots."""
    service = await robot.run(spread=1.0)
    drainer = service.drainer
    drainer.pause.failures = 6  # the backoff says a minute
    robot.link.cut()
    row = await robot.land()
    await until(lambda: drainer.pause.seen_down)
    assert drainer.block is not None
    assert drainer.pause.down_since is not None
    drainer.pause.down_since -= 3600
    drainer.pause.block = replace(drainer.block, since=drainer.block.since - 3600)
    if back:
        robot.link.forward()
        await until(lambda: drainer.block is not None and drainer.block.code == "link_back")
    return row


async def retried(robot: Robot, row: Row) -> None:
    await robot.service.retry(row.id)


async def landed(robot: Robot, _: Row) -> None:
    await robot.service.landed()


async def new_log(robot: Robot, _: Row) -> None:
    await robot.land("new.ulg", seed=1)


async def new_log_elsewhere(robot: Robot, _: Row) -> None:
    await other_process(robot, "land", robot.write("new.ulg", seed=1))


async def looked(robot: Robot, _: Row) -> None:
    await robot.service.objects.page(HOME)


@pytest.mark.parametrize("asked", [retried, landed, new_log, new_log_elsewhere, looked])
@pytest.mark.guarantee(
    "links",
    "the link was gone for an hour and is back; a person retries, a flight ends, or a log lands",
    "without that the first attempt waits for 40 s at most, so that many robots do not come at"
    " once; with it all is sent now",
)
async def test_after_a_long_outage_robots_wait_for_their_turn_and_nobody_who_asks(
    robot: Robot, asked: Callable[[Robot, Row], Awaitable[None]]
) -> None:
    row = await back_after_long(robot)
    said = await robot.service.status()
    assert (said.code, robot.count("PutObject")) == ("link_back", 0)
    assert said.next_try_s is not None
    assert RETURN_CAP_S - SOON_S < said.next_try_s <= RETURN_CAP_S

    asked_at = time.monotonic()
    await asked(robot, row)
    await robot.until_state(row, "verified")

    assert time.monotonic() - asked_at < SOON_S


async def test_a_connect_that_fails_comes_in_place_of_an_attempt(robot: Robot) -> None:
    """While no connection can be made, S3 and the token service are not asked in vain."""
    await back_after_long(robot, back=False)
    pause = robot.service.drainer.pause
    assert pause.block is not None
    seen = pause.block = replace(pause.block, until=pause.block.tried_at + 12)
    tries = pause.failures

    await until(lambda: pause.block is not seen and pause.block is not None)

    assert pause.block is not None
    assert pause.block.until > seen.until
    assert pause.failures == tries


@pytest.mark.guarantee(
    "links",
    "the token service is away for a long time, then back",
    "found within seconds; the backoff does not count",
)
async def test_a_token_service_that_is_back_is_used_soon(robot: Robot) -> None:
    url = robot.tokens.url
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    await robot.tokens.stop()
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6
    row = await robot.land()
    await until(lambda: service.drainer.pause.seen_down)

    await robot.tokens.start(port)
    back_at = time.monotonic()
    await robot.until_state(row, "verified")

    assert time.monotonic() - back_at < SOON_S


async def test_a_person_who_asks_does_not_wait_for_the_backoff(robot: Robot) -> None:
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6
    robot.fault("PutObject", DROP)
    row = await robot.land()
    await until(lambda: service.drainer.block is not None)

    await service.retry(row.id)

    asked_at = time.monotonic()
    await robot.until_state(row, "verified")
    assert time.monotonic() - asked_at < SOON_S


# -- what holds it


async def test_a_drain_that_waits_does_not_spin(robot: Robot) -> None:
    """Between the end of a block and the next attempt of the row there is nothing to do."""
    row = await robot.land()
    service = await robot.run()
    waits = iter([0.0, 0.9])
    service.drainer.timing.spread = lambda: next(waits, 1.0)  # the drain's wait, then the row's
    turns = 0
    turn = service.drainer.turn

    async def counted() -> float:
        nonlocal turns
        turns += 1
        return await turn()

    robot.fault("PutObject", DROP)
    service.drainer.turn = counted  # type: ignore[method-assign]

    await robot.until_state(row, "verified")

    assert turns < 20


async def test_nothing_is_sent_while_the_vehicle_is_armed(robot: Robot) -> None:
    service = await robot.run()
    service.flight.told(armed=True, now=service.now())
    row = await robot.land()

    with pytest.raises(NotNow) as refused:
        await service.wait(row.id, patience_s=0.3)
    asked = robot.ops()
    land(robot)

    assert asked == []
    assert refused.value.code == "armed"
    assert "armed" in refused.value.message
    await robot.until_state(row, "verified")


async def test_arming_in_the_middle_releases_the_row_and_landing_goes_on_from_there(
    robot: Robot,
) -> None:
    service = await robot.run(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    await robot.first_part_confirmed(row)
    robot.link.rate_bytes_s = 200_000  # a part takes 25 s now
    await until(lambda: robot.flying(part=2))

    service.flight.told(armed=True, now=service.now())
    armed_at = time.monotonic()
    paused = await robot.until_state(row, "queued")
    took_s = time.monotonic() - armed_at
    cut_off = await until(
        lambda: [r for r in robot.ledger.requests("UploadPart") if not r.answered]
    )
    robot.link.rate_bytes_s = 0
    land(robot)
    done = await robot.until_state(row, "verified")

    assert paused.code == "paused"
    assert paused.attempts == 0  # an interruption is no failed attempt
    assert took_s < SOON_S
    assert all(request.body_bytes < PART for request in cut_off)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


def land(robot: Robot) -> None:
    for _ in range(3):
        robot.service.flight.told(armed=False, now=robot.service.now())


async def test_uploads_while_flying_are_a_setting(robot: Robot) -> None:
    service = await robot.run(upload_while_flying=True)
    service.flight.told(armed=True, now=service.now())

    row = await robot.land()

    assert (await robot.until_state(row, "verified")).state == "verified"


@pytest.mark.guarantee(
    "links",
    "no link while somebody waits for a log",
    "he hears the reason; the row stays in the outbox",
)
async def test_a_caller_that_waits_hears_why_it_is_not_sent(robot: Robot) -> None:
    robot.link.cut()
    service = await robot.run(spread=1.0)
    row = await robot.land()

    with pytest.raises(NotNow) as refused:
        await service.wait(row.id, patience_s=2)

    assert refused.value.row_id == row.id
    assert refused.value.code == "offline"
    assert "stays in the outbox" in refused.value.message
    assert (await robot.row(row)).state in {"queued", "uploading"}


async def test_a_caller_that_waits_hears_of_progress(robot: Robot) -> None:
    service = await robot.run(concurrency=1)
    robot.link.rate_bytes_s = 4e6
    row = await robot.land(size=TWO_PARTS)
    heard: list[int] = []

    done = await service.wait(row.id, on_progress=lambda moved, *_: heard.append(moved))

    assert done.state == "verified"
    assert heard == sorted(heard)
    assert heard[-1] == TWO_PARTS
    assert any(moved % PART for moved in heard[:-1])  # also within a part


@pytest.mark.guarantee(
    "device",
    "the outbox cannot be written for a moment, in the middle of an upload",
    "its row is due at once, without waiting for the end of a lease",
)
async def test_a_disk_that_was_read_only_for_a_moment_costs_no_quarter_of_an_hour(
    robot: Robot,
) -> None:
    """The row was claimed when writing failed; nobody else works on it, so it is due at once."""
    service = await robot.run(spread=0.0)

    async def write_protect(_: Request) -> None:
        await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = ON"))

    robot.fault("PutObject", write_protect)
    row = await robot.land()
    block = await until(lambda: service.drainer.block)

    await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = OFF"))
    healed_at = time.monotonic()
    await robot.until_state(row, "verified")

    assert block is not None
    assert block.code == "storage_full"
    assert time.monotonic() - healed_at < SOON_S


async def test_a_disk_that_fails_just_when_the_link_is_back_does_not_end_the_drain(
    robot: Robot,
) -> None:
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6
    robot.link.cut()
    row = await robot.land()
    await until(lambda: robot.sql("SELECT code FROM log") == [("offline",)])

    await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = ON"))
    robot.link.forward()
    await until(lambda: service.drainer.block and service.drainer.block.code == "storage_full")
    await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = OFF"))
    await service.drainer.pause.retry_now()

    robot.assert_sent_once(await robot.until_state(row, "verified"), robot.logs / "flight.ulg")


# -- giving up


async def test_cancelling_in_the_middle_stops_the_bytes_and_leaves_no_parts(robot: Robot) -> None:
    service = await robot.run(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    await robot.first_part_confirmed(row)
    robot.link.rate_bytes_s = 200_000  # a part takes 25 s now
    await until(lambda: robot.flying(part=2))

    cancelled = await service.cancel(row.id)
    await until(lambda: not robot.open_uploads())

    assert cancelled.state == "cancelled"
    assert (await robot.row(row)).state == "cancelled"
    assert robot.count("CompleteMultipartUpload") == 0
    assert robot.ledger.requests("UploadPart")[-1].body_bytes < PART
    assert robot.stored() == []


@pytest.mark.parametrize("op", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
async def test_cancelling_at_any_request_leaves_no_parts(robot: Robot, op: str) -> None:
    row = await robot.land(size=THREE_PARTS)

    async def cancel(_: Request) -> None:
        await robot.service.cancel(row.id)

    robot.fault(op, cancel)
    await robot.step()
    await robot.service.drainer.turn()

    assert (await robot.row(row)).state == "cancelled"
    assert robot.open_uploads() == []


async def test_an_upload_whose_id_was_lost_is_tidied_up_when_its_row_is_cancelled(
    robot: Robot,
) -> None:
    robot.fault("CreateMultipartUpload", LOSE_ANSWER)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    orphans = robot.open_uploads()

    await robot.service.cancel(row.id)
    await robot.service.drainer.turn()

    assert len(orphans) == 1
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "links",
    "cut when a given-up upload is aborted",
    "it is aborted when the link is back; no parts are left",
)
async def test_leftovers_are_swept_when_the_link_is_back(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    await robot.service.cancel(row.id)
    robot.fault("AbortMultipartUpload", DROP)
    await robot.service.drainer.turn()
    still_open = robot.open_uploads()

    await robot.service.drainer.turn()

    assert len(still_open) == 1
    assert robot.open_uploads() == []
    assert (await robot.row(row)).upload_id is None


async def test_a_cancelled_row_that_is_retried_goes_on_with_its_parts(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=THREE_PARTS))
    await robot.service.cancel(row.id)

    await robot.service.retry(row.id)
    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- stopping


@pytest.mark.guarantee(
    "device",
    "stopped in the middle of an upload",
    "the row waits with what is confirmed, and nothing runs on",
)
async def test_stopping_in_the_middle_leaves_the_row_waiting_and_nothing_running(
    robot: Robot,
) -> None:
    before = asyncio.all_tasks()
    service = await robot.run(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    await robot.first_part_confirmed(row)
    robot.link.rate_bytes_s = 200_000
    await until(lambda: robot.flying(part=2))

    await service.stop()

    ours = {task for task in asyncio.all_tasks() - before if "petal_s3/demo" not in repr(task)}
    assert not {task for task in ours if "petal_s3" in repr(task)}
    assert robot.sql("SELECT state, lease, sent_bytes FROM log") == [("queued", None, PART)]
    robot.link.rate_bytes_s = 0
    await robot.open()
    robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")


@pytest.mark.parametrize("turns", range(5))
async def test_stopping_in_the_very_moment_of_an_answer_stops(robot: Robot, turns: int) -> None:
    """Some Pythons lose a cancellation that comes together with what was waited for."""
    service = await robot.run()
    await robot.until_state(await robot.land(), "verified")
    await until(lambda: service.drainer.pause.woken._waiters)  # type: ignore[attr-defined]

    service.drainer.pause.wake()
    for _ in range(turns):
        await asyncio.sleep(0)

    await asyncio.wait_for(service.stop(), 30)


async def test_stopping_twice_is_fine(robot: Robot) -> None:
    service = await robot.run()

    await service.stop()
    await service.stop()

    assert service.lock.held is False


# -- two processes, one outbox


@pytest.mark.guarantee(
    "device",
    "the process that drains is killed while another one waits",
    "that one takes over at once; no confirmed part is sent again",
)
async def test_of_two_processes_one_drains_and_the_other_takes_over_when_it_is_killed(
    robot: Robot, other: asyncio.subprocess.Process
) -> None:
    robot.link.rate_bytes_s = 8e6
    service = await robot.run(concurrency=1)
    row = await robot.land(size=THREE_PARTS)
    await robot.first_part_confirmed(row)
    await until(lambda: robot.flying(part=2))
    held_by_us, drained_by = service.lock.held, (await service.status()).drained_by

    other.kill()
    await other.wait()
    robot.link.rate_bytes_s = 0
    done = await robot.until_state(row, "verified")

    assert (held_by_us, drained_by) == (False, other.pid)
    assert service.lock.held
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count("CreateMultipartUpload") == 1


async def test_a_caller_that_does_not_drain_still_waits_and_hears_the_reason(
    robot: Robot, other: asyncio.subprocess.Process
) -> None:
    service = await robot.run()

    done = await service.wait((await robot.land()).id)

    assert done.state == "verified"
    assert not service.lock.held


async def test_who_waits_for_the_last_of_many_logs_is_not_woken_by_each_before_it(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [await robot.land(f"{number}.ulg", seed=number) for number in range(8)]
    asked: list[int] = []
    get = queries.get

    def counted(outbox: Outbox, row_id: int) -> Row:
        asked.append(row_id)
        return get(outbox, row_id)

    monkeypatch.setattr(queries, "get", counted)
    monkeypatch.setattr(waiting, "LOOK_S", 600.0)  # by news alone
    async with robot.service.draining():
        done = await robot.service.wait(rows[0].id, patience_s=600)

    assert done.state == "verified"
    assert sent_names(robot)[-1] == "0.ulg"
    assert asked.count(rows[0].id) <= 5


# -- a drain for a while


async def test_a_drain_that_several_share_ends_with_the_last_of_them(robot: Robot) -> None:
    service = robot.service
    other = DrainLock(robot.state)
    first, second = service.draining(), service.draining()
    await first.__aenter__()
    await second.__aenter__()
    row = await robot.land()
    assert (await service.wait(row.id)).state == "verified"
    await first.__aexit__(None, None, None)
    assert not other.take()
    row = await robot.land("second.ulg", seed=1)
    assert (await service.wait(row.id)).state == "verified"

    await second.__aexit__(None, None, None)

    assert other.take()
    other.give()
    async with service.draining():
        row = await robot.land("third.ulg", seed=2)
        assert (await service.wait(row.id)).state == "verified"


async def test_a_drain_that_ends_releases_what_it_began(robot: Robot) -> None:
    robot.link.rate_bytes_s = 2e6
    row = await robot.land(size=TWO_PARTS)
    async with robot.service.draining():
        await until(robot.flying)
        assert (await robot.row(row)).state == "uploading"
    now = await robot.row(row)
    assert (now.state, now.lease, now.reason) == ("queued", None, "")
    assert robot.flying() == [] or await until(lambda: not robot.flying())
    robot.link.rate_bytes_s = 0
    robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")


async def test_a_caller_that_begins_and_ends_at_once_leaves_no_lock(robot: Robot) -> None:
    """Also when the lock was just being taken in another thread."""
    other = DrainLock(robot.state)
    for turns in range(40):
        async with robot.service.draining():
            for _ in range(turns // 4):
                await asyncio.sleep(0)
        assert not robot.service.lock.held
        assert other.take()
        other.give()
