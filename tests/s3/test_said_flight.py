"""What is said of the flight to one process holds up the one that uploads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from others import other_process
from robot import PART, THREE_PARTS, Robot, until

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import Conflict, Transient
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.outbox import flight_word
from petal_s3.outbox.flight_word import Word
from petal_s3.outbox.outbox import Outbox
from petal_s3.service import vehicle
from petal_s3.service.service import Service
from petal_s3.service.snapshot import read_status

SAYS_ARMED, SAYS_DISARMED = Path("armed"), Path("disarmed")
DISARMED_BEAT = Heartbeat(system=1, component=1, autopilot=12, type=2, base_mode=1)


@pytest.mark.guarantee(
    "device",
    "a process that does not upload is told that the vehicle is armed",
    "the one that uploads stops within about a second; told that it is disarmed, it goes on",
)
async def test_what_one_process_is_told_holds_up_the_one_that_uploads(
    robot: Robot, other: asyncio.subprocess.Process
) -> None:
    service = await robot.run()
    row = await robot.land(size=THREE_PARTS)
    await robot.first_part_confirmed(row)
    robot.link.rate_bytes_s = 200_000  # a part takes 25 s now
    await until(lambda: robot.flying(part=2))

    asked_at = time.monotonic()
    assert await vehicle.declare(service, armed=True) == "armed"
    paused = await robot.until_state(row, "queued")
    took_s = time.monotonic() - asked_at
    begun = robot.count("UploadPart")
    inside, outside = (
        await service.status(),
        await asyncio.to_thread(read_status, service.settings, 10),
    )
    robot.link.rate_bytes_s = 0
    assert await vehicle.declare(service, armed=False) == "disarmed"
    done = await robot.until_state(row, "verified")

    assert service.lock.held is False
    assert paused.code == "paused"
    assert took_s < 5  # within a second on a free machine; this one may be busy
    assert max(request.body_bytes for request in robot.ledger.requests("UploadPart")) == PART
    assert begun <= robot.count("UploadPart")
    for status in (inside, outside):
        assert status.flight_state == "armed"
        assert "The vehicle was said to be armed at 20" in status.reason
        assert '{"armed": false}' in status.reason
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_it_holds_from_the_first_moment_of_a_process_that_drains_later(robot: Robot) -> None:
    assert await other_process(robot, "say", SAYS_ARMED) == b"armed"
    before = (await robot.service.status()).flight_state
    service = await robot.run()
    row = await robot.land()
    await until(lambda: service.lock.held and service.gate.reason() is not None)

    assert before == "armed"
    assert robot.ops() == []
    assert await other_process(robot, "say", SAYS_DISARMED) == b"disarmed"
    await robot.until_state(row, "verified")


async def test_it_outlasts_the_process_that_drains(robot: Robot) -> None:
    await vehicle.declare(await robot.run(), armed=True)
    service = await robot.run()
    await until(lambda: service.lock.held)

    assert service.flight.declared is True
    await vehicle.declare(service, armed=False)
    service = await robot.run()
    await until(lambda: service.lock.held)
    assert service.flight.declared is None, "an end of a flight is none of the next"


@pytest.mark.guarantee(
    "device",
    "the vehicle was said to be armed, and the autopilot is heard by the process that uploads",
    "what was said is over, in every process; said again, it is refused",
)
async def test_a_heartbeat_that_the_draining_process_hears_ends_it(robot: Robot) -> None:
    service = await robot.run()
    await until(lambda: service.lock.held)
    assert await other_process(robot, "say", SAYS_ARMED) == b"armed"
    row = await robot.land()
    held = service.gate.reason()

    vehicle.heartbeat(service, DISARMED_BEAT)
    await robot.until_state(row, "verified")

    assert held is not None
    assert held.code == "armed"
    await until(lambda: robot.sql("SELECT * FROM fact WHERE name = 'flight'") == [])
    beating = asyncio.create_task(beat(service))
    assert await other_process(robot, "say", SAYS_ARMED) == b"conflict"
    await cancel_and_wait(beating)
    assert service.gate.reason() is None


async def beat(service: Service) -> None:
    while True:
        vehicle.heartbeat(service, DISARMED_BEAT)
        await asyncio.sleep(1)


async def test_what_was_said_to_a_process_is_over_there_too(robot: Robot) -> None:
    waits, drains = await robot.open(), robot.build()
    await drains.start(watch=False)
    await until(lambda: drains.lock.held)
    await vehicle.declare(waits, armed=True)
    vehicle.heartbeat(drains, DISARMED_BEAT)
    await until(lambda: robot.sql("SELECT * FROM fact WHERE name = 'flight'") == [])

    await waits.drain.said_flight.look()

    assert waits.gate.reason() is None


async def test_it_ends_with_the_boot(robot: Robot) -> None:
    await vehicle.declare(robot.service, armed=True)
    word = await robot.service.outbox(flight_word.said)
    booted_again = Outbox(robot.database, boot_id="the-next-boot")
    found = flight_word.said(booted_again)
    booted_again.close()

    assert word is not None
    assert word.armed
    assert found is None


async def test_it_outlasts_the_outbox(robot: Robot) -> None:
    service = await robot.run()
    await until(lambda: service.lock.held)
    await vehicle.declare(service, armed=True)
    robot.sql("DELETE FROM fact")  # as where it was damaged and begun anew

    await service.drain.said_flight.look()

    word = await service.outbox(flight_word.said)
    assert word is not None
    assert word.armed
    assert service.flight.declared is True


async def test_a_process_that_drains_and_takes_nothing_in_is_no_success(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petal_s3.service.said_flight.TAKEN_S", 0.2)
    service = robot.service
    hangs = robot.build()
    assert hangs.lock.take()
    with pytest.raises(Transient, match="has not taken in yet") as refused:
        await vehicle.declare(service, armed=True)

    assert refused.value.status == 503


async def test_an_old_word_of_disarmed_says_nothing_of_now(robot: Robot) -> None:
    service = robot.service
    old = Word(armed=False, since="long ago", number="1", at=service.now() - 60)
    await service.outbox(flight_word.say, old)
    await service.drain.said_flight.look()
    assert service.flight.declared is None

    await service.outbox(flight_word.say, Word(True, "now", "2", service.now()))
    await service.drain.said_flight.look()
    await service.outbox(flight_word.say, old)
    await service.drain.said_flight.look()
    assert service.flight.declared is False, "it ends what was said before"


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "armed", '{"boot": "x", "armed": 1}'])
async def test_a_word_of_another_version_is_none(robot: Robot, text: str) -> None:
    robot.sql(f"INSERT INTO fact VALUES ('flight', '{text}')")
    await robot.service.drain.said_flight.look()
    assert robot.service.flight.declared is None


async def test_a_word_against_an_autopilot_is_a_conflict(robot: Robot) -> None:
    vehicle.heartbeat(robot.service, DISARMED_BEAT)
    with pytest.raises(Conflict, match="An autopilot is heard") as refused:
        await vehicle.declare(robot.service, armed=True)
    assert refused.value.status == 409
    assert robot.service.flight.state(robot.service.now()) == "disarmed"
    assert robot.sql("SELECT * FROM fact WHERE name = 'flight'") == []
