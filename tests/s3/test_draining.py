"""The drain as it runs by itself: who goes first, what wakes it, what holds it, what it leaves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import DROP, LOSE_ANSWER, PART, THREE_PARTS, TWO_PARTS, UNWELL, Rig, until

from petal_s3.demo.ledger import Request
from petal_s3.errors import NotNow
from petal_s3.intake.spool import DrainLock

# A row of another process and a link that is back are noticed within about 2 s; where nobody
# looked, it would take a minute. In between lies what a busy machine may add.
SOON_S = 15.0


def sent_names(rig: Rig) -> list[str]:
    return [request.key.rsplit("_", 1)[1] for request in rig.ledger.requests("PutObject")]


# -- who goes first


async def test_what_somebody_waits_for_goes_first_then_the_newest_log(rig: Rig) -> None:
    for hour in (10, 12, 11):
        path = rig.write(f"2025-07-27-{hour}-00-00.ulg", seed=hour)
        await rig.service.enqueue(path, priority=0)
    await rig.service.enqueue(rig.write("2025-07-27-09-00-00.ulg", seed=9), priority=5)

    for _ in range(4):
        await rig.step()

    sent = [name.removesuffix("-00-00.ulg").rsplit("-", 1)[1] for name in sent_names(rig)]
    assert sent == ["09", "12", "11", "10"]


async def test_a_row_in_trouble_does_not_hold_up_the_others(rig: Rig) -> None:
    rig.service.drainer._spread = lambda: 1.0
    rig.fault("PutObject", UNWELL)
    first = await rig.land("first.ulg", priority=99)
    second = await rig.land("second.ulg", seed=1)

    await rig.step()
    await rig.step()

    assert (await rig.row(first)).state == "queued"
    assert (await rig.row(second)).state == "verified"


# -- what wakes it


async def test_a_log_that_lands_wakes_an_idle_drain(rig: Rig) -> None:
    service = await rig.run()
    await until(lambda: service.lock.held)

    row = await rig.land()
    done = await rig.until_state(row, "verified")

    rig.assert_sent_once(done, rig.logs / "flight.ulg")


async def test_a_log_entered_by_another_process_is_sent_soon(rig: Rig) -> None:
    service = await rig.run()
    await rig.until_state(await rig.land("first.ulg"), "verified")
    await until(lambda: not service.drainer._woken.is_set())
    path = rig.write("second.ulg", seed=1)

    await other_process(rig, "land", path)
    entered_at = time.monotonic()
    await until(lambda: rig.count("PutObject") == 2)

    assert rig.ledger.requests("PutObject")[1].started - entered_at < SOON_S


@pytest.mark.guarantee(
    "links",
    "a log of another process lands just after the link broke",
    "it is sent soon: a block that is over holds nobody up",
)
async def test_a_log_of_another_process_is_sent_soon_though_the_drain_was_blocked(
    rig: Rig,
) -> None:
    """A block that is over holds nobody up, also when nothing was sent since."""
    service = await rig.run(spread=0.0)
    rig.fault("PutObject", DROP)
    row = await rig.land("first.ulg")
    await until(lambda: service.drainer.block is not None)
    await service.cancel(row.id)
    path = rig.write("second.ulg", seed=1)

    await other_process(rig, "land", path)
    entered_at = time.monotonic()
    await until(lambda: rig.sql("SELECT state FROM log")[-1] == ("verified",))

    assert time.monotonic() - entered_at < SOON_S


@pytest.mark.guarantee(
    "links",
    "no link for a long time, then it is back",
    "a bare connect finds it within seconds; the backoff does not count",
)
async def test_a_link_that_is_back_is_used_soon(rig: Rig) -> None:
    service = await rig.run(spread=1.0)
    succeed, first = service.drainer._succeeded, asyncio.Event()

    def succeeded() -> None:
        succeed()
        first.set()

    service.drainer._succeeded = succeeded  # type: ignore[method-assign]
    await rig.land("first.ulg")
    await first.wait()
    service.drainer._failures = 6  # as after a long time offline: the backoff says a minute
    rig.link.cut()
    row = await rig.land()
    await until(lambda: service.drainer._seen_down)
    block = service.drainer.block
    before = len(rig.ledger.requests())

    await rig.link.restore()
    back_at = time.monotonic()
    await until(lambda: len(rig.ledger.requests()) > before)

    assert block is not None
    assert block.until - block.since == 60
    assert rig.ledger.requests()[before].started - back_at < SOON_S
    rig.assert_sent_once(await rig.until_state(row, "verified"), rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "the token service is away for a long time, then back",
    "found within seconds; the backoff does not count",
)
async def test_a_token_service_that_is_back_is_used_soon(rig: Rig) -> None:
    url = rig.tokens.url
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    await rig.tokens.stop()
    service = await rig.run(spread=1.0)
    service.drainer._failures = 6
    row = await rig.land()
    await until(lambda: service.drainer._seen_down)

    await rig.tokens.start(port)
    back_at = time.monotonic()
    await rig.until_state(row, "verified")

    assert time.monotonic() - back_at < SOON_S


async def test_a_person_who_asks_does_not_wait_for_the_backoff(rig: Rig) -> None:
    service = await rig.run(spread=1.0)
    service.drainer._failures = 6
    rig.fault("PutObject", DROP)
    row = await rig.land()
    await until(lambda: service.drainer.block is not None)

    await service.retry(row.id)

    asked_at = time.monotonic()
    await rig.until_state(row, "verified")
    assert time.monotonic() - asked_at < SOON_S


# -- what holds it


async def test_a_drain_that_waits_does_not_spin(rig: Rig) -> None:
    """Between the end of a block and the next attempt of the row there is nothing to do."""
    row = await rig.land()
    service = await rig.run()
    waits = iter([0.0, 0.9])
    service.drainer._spread = lambda: next(waits, 1.0)  # the drain's wait, then the row's
    turns = 0
    turn = service.drainer._turn

    async def counted() -> float:
        nonlocal turns
        turns += 1
        return await turn()

    rig.fault("PutObject", DROP)
    service.drainer._turn = counted  # type: ignore[method-assign]

    await rig.until_state(row, "verified")

    assert turns < 20


async def test_nothing_is_sent_while_the_vehicle_is_armed(rig: Rig) -> None:
    service = await rig.run()
    service.flight.told(armed=True, now=service._now())
    row = await rig.land()

    with pytest.raises(NotNow) as refused:
        await service.wait(row.id, patience_s=0.3)
    asked = rig.ops()
    land(rig)

    assert asked == []
    assert refused.value.code == "armed"
    assert "armed" in refused.value.message
    await rig.until_state(row, "verified")


async def test_arming_in_the_middle_releases_the_row_and_landing_goes_on_from_there(
    rig: Rig,
) -> None:
    service = await rig.run(concurrency=1)
    row = await rig.land(size=THREE_PARTS)
    await until(lambda: rig.ledger.parts(row.key).confirmed >= 1)
    rig.link.rate_bytes_s = 200_000  # a part takes 25 s now
    await until(rig.flying)

    service.flight.told(armed=True, now=service._now())
    armed_at = time.monotonic()
    paused = await rig.until_state(row, "queued")
    took_s = time.monotonic() - armed_at
    cut_off = await until(lambda: [r for r in rig.ledger.requests("UploadPart") if not r.answered])
    rig.link.rate_bytes_s = 0
    land(rig)
    done = await rig.until_state(row, "verified")

    assert paused.code == "paused"
    assert paused.attempts == 0  # an interruption is no failed attempt
    assert took_s < SOON_S
    assert all(request.body_bytes < PART for request in cut_off)
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


def land(rig: Rig) -> None:
    for _ in range(3):
        rig.service.flight.told(armed=False, now=rig.service._now())


async def test_uploads_while_flying_are_a_setting(rig: Rig) -> None:
    service = await rig.run(upload_while_flying=True)
    service.flight.told(armed=True, now=service._now())

    row = await rig.land()

    assert (await rig.until_state(row, "verified")).state == "verified"


@pytest.mark.guarantee(
    "links",
    "no link while somebody waits for a log",
    "he hears the reason; the row stays in the outbox",
)
async def test_who_waits_hears_why_it_is_not_sent(rig: Rig) -> None:
    rig.link.cut()
    service = await rig.run(spread=1.0)
    row = await rig.land()

    with pytest.raises(NotNow) as refused:
        await service.wait(row.id, patience_s=2)

    assert refused.value.row_id == row.id
    assert refused.value.code == "offline"
    assert "stays in the outbox" in refused.value.message
    assert (await rig.row(row)).state in {"queued", "uploading"}


async def test_who_waits_hears_of_progress(rig: Rig) -> None:
    service = await rig.run(concurrency=1)
    rig.link.rate_bytes_s = 4e6
    row = await rig.land(size=TWO_PARTS)
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
    rig: Rig,
) -> None:
    """The row was claimed when writing failed; nobody else works on it, so it is due at once."""
    service = await rig.run(spread=0.0)

    async def write_protect(_: Request) -> None:
        await service.outbox(lambda box: box.sql.db.conn.execute("PRAGMA query_only = ON"))

    rig.fault("PutObject", write_protect)
    row = await rig.land()
    block = await until(lambda: service.drainer.block)

    await service.outbox(lambda box: box.sql.db.conn.execute("PRAGMA query_only = OFF"))
    healed_at = time.monotonic()
    await rig.until_state(row, "verified")

    assert block is not None
    assert block.code == "storage_full"
    assert time.monotonic() - healed_at < SOON_S


async def test_a_disk_that_fails_just_when_the_link_is_back_does_not_end_the_drain(
    rig: Rig,
) -> None:
    service = await rig.run(spread=1.0)
    service.drainer._failures = 6
    rig.link.cut()
    row = await rig.land()
    await until(lambda: rig.sql("SELECT code FROM log") == [("offline",)])

    await service.outbox(lambda box: box.sql.db.conn.execute("PRAGMA query_only = ON"))
    await rig.link.restore()
    await until(lambda: service.drainer.block and service.drainer.block.code == "storage_full")
    await service.outbox(lambda box: box.sql.db.conn.execute("PRAGMA query_only = OFF"))
    await service.drainer.hurry()

    rig.assert_sent_once(await rig.until_state(row, "verified"), rig.logs / "flight.ulg")


# -- giving up


async def test_cancelling_in_the_middle_stops_the_bytes_and_leaves_no_parts(rig: Rig) -> None:
    service = await rig.run(concurrency=1)
    row = await rig.land(size=THREE_PARTS)
    await until(lambda: rig.ledger.parts(row.key).confirmed >= 1)
    rig.link.rate_bytes_s = 200_000  # a part takes 25 s now
    await until(rig.flying)

    cancelled = await service.cancel(row.id)
    await until(lambda: not rig.open_uploads())

    assert cancelled.state == "cancelled"
    assert (await rig.row(row)).state == "cancelled"
    assert rig.count("CompleteMultipartUpload") == 0
    assert rig.ledger.requests("UploadPart")[-1].body_bytes < PART
    assert rig.stored() == []


@pytest.mark.parametrize("op", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
async def test_cancelling_at_any_request_leaves_no_parts(rig: Rig, op: str) -> None:
    row = await rig.land(size=THREE_PARTS)

    async def cancel(_: Request) -> None:
        await rig.service.cancel(row.id)

    rig.fault(op, cancel)
    await rig.step()
    await rig.service.drainer._turn()

    assert (await rig.row(row)).state == "cancelled"
    assert rig.open_uploads() == []


async def test_an_upload_whose_id_was_lost_is_tidied_up_when_its_row_is_cancelled(
    rig: Rig,
) -> None:
    rig.fault("CreateMultipartUpload", LOSE_ANSWER)
    row = await rig.attempt(await rig.land(size=THREE_PARTS))
    orphans = rig.open_uploads()

    await rig.service.cancel(row.id)
    await rig.service.drainer._turn()

    assert len(orphans) == 1
    assert rig.open_uploads() == []


@pytest.mark.guarantee(
    "links",
    "cut when a given-up upload is aborted",
    "it is aborted when the link is back; no parts are left",
)
async def test_leftovers_are_swept_when_the_link_is_back(rig: Rig) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", DROP, part=2)
    row = await rig.attempt(await rig.land(size=THREE_PARTS))
    await rig.service.cancel(row.id)
    rig.fault("AbortMultipartUpload", DROP)
    await rig.service.drainer._turn()
    still_open = rig.open_uploads()

    await rig.service.drainer._turn()

    assert len(still_open) == 1
    assert rig.open_uploads() == []
    assert (await rig.row(row)).upload_id is None


async def test_a_cancelled_row_that_is_retried_goes_on_with_its_parts(rig: Rig) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", DROP, part=2)
    row = await rig.attempt(await rig.land(size=THREE_PARTS))
    await rig.service.cancel(row.id)

    await rig.service.retry(row.id)
    done = await rig.attempt(row)

    rig.assert_sent_once(done, rig.logs / "flight.ulg")


# -- stopping


@pytest.mark.guarantee(
    "device",
    "stopped in the middle of an upload",
    "the row waits with what is confirmed, and nothing runs on",
)
async def test_stopping_in_the_middle_leaves_the_row_waiting_and_nothing_running(
    rig: Rig,
) -> None:
    before = asyncio.all_tasks()
    service = await rig.run(concurrency=1)
    row = await rig.land(size=THREE_PARTS)
    await until(lambda: rig.ledger.parts(row.key).confirmed >= 1)
    rig.link.rate_bytes_s = 200_000
    await until(rig.flying)

    await service.stop()

    ours = {task for task in asyncio.all_tasks() - before if "petal_s3/demo" not in repr(task)}
    assert not {task for task in ours if "petal_s3" in repr(task)}
    assert rig.sql("SELECT state, lease, sent_bytes FROM log") == [("queued", None, PART)]
    rig.link.rate_bytes_s = 0
    await rig.open()
    rig.assert_sent_once(await rig.finish(row), rig.logs / "flight.ulg")


@pytest.mark.parametrize("turns", range(5))
async def test_stopping_in_the_very_moment_of_an_answer_stops(rig: Rig, turns: int) -> None:
    """Some Pythons lose a cancellation that comes together with what was waited for."""
    service = await rig.run()
    await rig.until_state(await rig.land(), "verified")
    await until(lambda: service.drainer._woken._waiters)  # type: ignore[attr-defined]

    service.drainer.wake()
    for _ in range(turns):
        await asyncio.sleep(0)

    await asyncio.wait_for(service.stop(), 30)


async def test_stopping_twice_is_fine(rig: Rig) -> None:
    service = await rig.run()

    await service.stop()
    await service.stop()

    assert service.lock.held is False


# -- two processes, one outbox


@pytest.fixture
async def other(rig: Rig) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that drains this outbox."""
    process = await start_other(rig, "drain", Path())
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"drains\n"
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.mark.guarantee(
    "device",
    "the process that drains is killed while another one waits",
    "that one takes over at once; no confirmed part is sent again",
)
async def test_of_two_processes_one_drains_and_the_other_takes_over_when_it_is_killed(
    rig: Rig, other: asyncio.subprocess.Process
) -> None:
    rig.link.rate_bytes_s = 8e6
    service = await rig.run(concurrency=1)
    row = await rig.land(size=THREE_PARTS)
    await until(lambda: rig.ledger.parts(row.key).confirmed >= 1)
    await until(rig.flying)
    held_by_us, drained_by = service.lock.held, (await service.status())["drained_by"]

    other.kill()
    await other.wait()
    rig.link.rate_bytes_s = 0
    done = await rig.until_state(row, "verified")

    assert (held_by_us, drained_by) == (False, other.pid)
    assert service.lock.held
    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    assert rig.count("CreateMultipartUpload") == 1


async def test_who_does_not_drain_still_waits_and_hears_the_reason(
    rig: Rig, other: asyncio.subprocess.Process
) -> None:
    service = await rig.run()

    done = await service.wait((await rig.land()).id)

    assert done.state == "verified"
    assert not service.lock.held


async def start_other(rig: Rig, work: str, path: Path) -> asyncio.subprocess.Process:
    settings = {
        "bucket_name": "logs",
        "session_token_url": rig.tokens.url,
        "endpoint_url": rig.link.url,
        "machine_id": "drone-001",
        "state_dir": str(rig.state),
        "log_dirs": str(rig.logs),
        "settle_seconds": 0,
        "concurrency": 1,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("other_process.py")),
        work,
        json.dumps(settings),
        str(path),
        stdout=subprocess.PIPE,
    )


async def other_process(rig: Rig, work: str, path: Path) -> bytes:
    """Let another process do it and end."""
    process = await start_other(rig, work, path)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return said


# -- a drain for a while


async def test_a_drain_that_several_share_ends_with_the_last_of_them(rig: Rig) -> None:
    service = rig.service
    other = DrainLock(rig.state)
    first, second = service.draining(), service.draining()
    await first.__aenter__()
    await second.__aenter__()
    row = await rig.land()
    assert (await service.wait(row.id)).state == "verified"
    await first.__aexit__(None, None, None)
    assert not other.take()
    row = await rig.land("second.ulg", seed=1)
    assert (await service.wait(row.id)).state == "verified"

    await second.__aexit__(None, None, None)

    assert other.take()
    other.give()
    async with service.draining():
        row = await rig.land("third.ulg", seed=2)
        assert (await service.wait(row.id)).state == "verified"


async def test_a_drain_that_ends_releases_what_it_began(rig: Rig) -> None:
    rig.link.rate_bytes_s = 2e6
    row = await rig.land(size=TWO_PARTS)
    async with rig.service.draining():
        await until(rig.flying)
        assert (await rig.row(row)).state == "uploading"
    now = await rig.row(row)
    assert (now.state, now.lease, now.reason) == ("queued", None, "")
    assert rig.flying() == [] or await until(lambda: not rig.flying())
    rig.link.rate_bytes_s = 0
    rig.assert_sent_once(await rig.finish(row), rig.logs / "flight.ulg")


async def test_who_begins_and_ends_at_once_leaves_no_lock(rig: Rig) -> None:
    """Also when the lock was just being taken in another thread."""
    other = DrainLock(rig.state)
    for turns in range(40):
        async with rig.service.draining():
            for _ in range(turns // 4):
                await asyncio.sleep(0)
        assert not rig.service.lock.held
        assert other.take()
        other.give()
