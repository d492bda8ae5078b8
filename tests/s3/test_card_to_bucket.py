"""A log of the autopilot's card is fetched once, whole, and proven in the bucket."""

from __future__ import annotations

import pytest
from robot import HOME, Robot

from petal_s3.demo.logs import write_ulog
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.outbox import card as card_files
from petal_s3.outbox.card import CardFile
from petal_s3.service.service import Service
from tests.support.card_model import ARMED, DISARMED, CardModel

SIZE = 120_000
OLD, NEW = "2026-11-29/08_00_00.ulg", "2026-11-30/14_25_00.ulg"


@pytest.fixture(scope="session")
def ulogs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Logs of three flights."""
    folder, found = tmp_path_factory.mktemp("ulogs"), []
    for seed in range(3):
        write_ulog(folder / "one.ulg", SIZE + seed, seed=seed)
        found.append((folder / "one.ulg").read_bytes())
    return found


@pytest.fixture
def card() -> CardModel:
    return CardModel()


class Ground:
    """The loop of one service, step by step, on the ground or in the air."""

    def __init__(self, service: Service, card: CardModel) -> None:
        self.service = service
        self.card = card
        service.fetcher.attach(card)
        assert service.fetcher.loop is not None
        self.fetcher = service.fetcher.loop

    def hear(self, beat: Heartbeat = DISARMED, times: int = 1) -> None:
        for _ in range(times):
            self.service.flight.heartbeat(beat, self.service.now())

    def fly(self) -> None:
        """Arm, and land."""
        self.hear(ARMED)
        self.hear(DISARMED, times=3)

    async def steps(self, most: int = 60) -> None:
        """Step until the loop has nothing more to do for now."""
        for _ in range(most):
            self.hear()
            if await self.fetcher.step() > 0.1:
                return
        raise AssertionError("the loop never rests")

    async def files(self) -> dict[str, CardFile]:
        found = await self.service.outbox(card_files.on_card)
        return {one.path: one for one in found}

    async def states(self) -> dict[str, str]:
        return {path: one.shown_state for path, one in (await self.files()).items()}


def opened_on(robot: Robot, card: CardModel) -> Ground:
    return Ground(robot.service, card)


@pytest.fixture
async def ground(robot: Robot, card: CardModel) -> Ground:
    """A robot that has listed an empty card before its first flight."""
    ground = opened_on(robot, card)
    await ground.steps()
    return ground


async def restarted(robot: Robot, card: CardModel, **settings: object) -> Ground:
    """The process was killed; another one goes on."""
    robot.service.fetcher.attach(None)
    await robot.restart(**settings)
    return opened_on(robot, card)


async def proven(robot: Robot, ground: Ground, path: str) -> bytes:
    """What the bucket holds of a file of the card, once it is proven."""
    row_id = (await ground.files())[path].row_id
    assert row_id is not None
    row = await robot.finish(await robot.row(row_id))
    assert (row.state, row.received_by) == ("verified", "card")
    return robot.body(row.key)


# -- from the card to the bucket


async def test_a_log_of_a_flight_is_fetched_after_the_landing_and_proven(
    robot: Robot, ground: Ground, ulogs: list[bytes]
) -> None:
    ground.card.put(NEW, ulogs[0])
    ground.fly()
    await ground.steps()
    assert await ground.states() == {NEW: "fetched"}
    assert await proven(robot, ground, NEW) == ulogs[0]
    assert await ground.states() == {NEW: "proven"}
    assert robot.stored() == [f"{HOME}20261130_142500_14_25_00.ulg"]
    assert not list(robot.state.glob("fetching/*"))
