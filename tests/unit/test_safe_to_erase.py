"""Whether the autopilot's card may be erased: in doubt it must not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petal_s3.autopilot.ftp_client import NotFound, Silence
from petal_s3.demo.logs import write_ulog
from petal_s3.service import vehicle
from tests.support.card_model import DISARMED, MISSIONS, ROOT, CardModel, refused
from tests.support.card_robot import SETTLE_S, CardRobot

OLD, NEW = "2026-11-29/08_00_00.ulg", "2026-11-30/14_25_00.ulg"
SIZE = 20_000


@pytest.fixture(scope="session")
def ulog(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("ulogs") / "one.ulg"
    write_ulog(place, SIZE, seed=1)
    return place.read_bytes()


@pytest.fixture
async def robot(tmp_path: Path, ulog: bytes) -> AsyncIterator[CardRobot]:
    """A robot whose card has a log of its last flight, proven: it may be erased."""
    made = await CardRobot(tmp_path, CardModel()).start()
    await made.rest()
    made.card.put(NEW, ulog)
    made.fly()
    await made.rest()
    await made.prove(NEW)
    assert (await made.figures()).safe_to_erase is True
    yield made
    await made.stop()


async def not_safe(robot: CardRobot) -> str:
    """Why not, after two more listings; empty where it may be erased."""
    for _ in range(2):
        robot.wait(1000)
        await robot.rest()
    return (await robot.figures()).not_safe


def unread(card: CardModel, folder: str) -> None:
    """PX4 answers for a directory that it cannot read as for an empty one."""
    for path in [one for one in card.files if one.startswith(f"{folder}/")]:
        del card.files[path]


@pytest.mark.guarantee(
    "card",
    "PX4 cannot read a folder of the card, and shows it as empty",
    "the card is not safe to erase, and the folder is named",
)
async def test_what_lies_in_a_folder_that_shows_nothing_is_not_known(
    robot: CardRobot, ulog: bytes
) -> None:
    robot.card.put(OLD, ulog)
    unread(robot.card, f"{ROOT}/2026-11-29")
    assert f"{ROOT}/2026-11-29" in await not_safe(robot)
    robot.card.folders.remove(f"{ROOT}/2026-11-29")
    robot.wait(1000)
    await robot.step()
    assert "listed twice" in (await robot.figures()).not_safe
    assert await not_safe(robot) == ""


async def test_a_folder_that_is_shown_and_then_not_found_is_not_known_either(
    robot: CardRobot, ulog: bytes
) -> None:
    robot.card.put(OLD, ulog)

    def lost(what: str, path: str) -> None:
        if path == f"{ROOT}/2026-11-29":
            raise NotFound("There is no such directory.", ftp_code=10)

    robot.card.before_request = lost
    assert f"{ROOT}/2026-11-29" in await not_safe(robot)


async def test_a_card_that_shows_no_log_at_all_is_not_known(robot: CardRobot) -> None:
    unread(robot.card, ROOT)
    robot.card.folders = {one for one in robot.card.folders if not one.startswith(f"{ROOT}/")}
    assert f"{ROOT}" in await not_safe(robot)


async def test_a_tree_that_shows_nothing_is_not_known_where_logs_were_in_it(
    robot: CardRobot, ulog: bytes
) -> None:
    robot.card.folders.add(MISSIONS)
    assert await not_safe(robot) == ""
    robot.card.put(OLD, ulog, MISSIONS)
    robot.wait(1000)
    await robot.step()
    unread(robot.card, MISSIONS)
    robot.card.folders.remove(f"{MISSIONS}/2026-11-29")
    assert MISSIONS in await not_safe(robot)


@pytest.mark.guarantee(
    "card",
    "the card can no longer be listed",
    "it is not safe to erase until two listings agree again",
)
@pytest.mark.parametrize("trouble", [refused(1), Silence("It does not answer.")])
async def test_a_card_that_can_no_longer_be_listed_is_not_safe_to_erase(
    robot: CardRobot, trouble: Exception
) -> None:
    def refuse(what: str, path: str) -> None:
        raise trouble

    robot.card.before_request = refuse
    robot.wait(1000)
    await robot.step()
    assert "listed twice" in (await robot.figures()).not_safe
    robot.card.before_request = lambda what, path: None
    assert await not_safe(robot) == ""


@pytest.mark.guarantee(
    "card",
    "the autopilot restarts, and begins a log without being armed",
    "the card is not safe to erase until it was listed twice again",
)
@pytest.mark.parametrize("silent_s", [4.0, 60.0])
async def test_an_autopilot_that_was_silent_may_have_another_card(
    robot: CardRobot, ulog: bytes, silent_s: float
) -> None:
    robot.card.put(OLD, ulog)
    robot.time += silent_s
    vehicle.heartbeat(robot.service, DISARMED)
    assert await robot.fetcher.step() < SETTLE_S
    assert (await robot.figures()).safe_to_erase is False
    await robot.rest()
    assert "1 log is not proven" in (await robot.figures()).not_safe


async def test_an_autopilot_that_is_heard_again_wakes_who_waits_for_the_next_listing(
    robot: CardRobot,
) -> None:
    robot.hear()
    before = robot.service.flight.lapses
    robot.time += 4
    robot.hear()
    assert robot.service.flight.lapses == before + 1
    robot.time += 1
    robot.hear()
    assert robot.service.flight.lapses == before + 1
