"""Whatever befalls card, link, vehicle and process: no wrong byte, and no log is left out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial as with_words
from typing import Any
from unittest import mock

import pytest

from petal_s3.autopilot import partial
from petal_s3.autopilot.in_flight import InFlight
from petal_s3.autopilot.mavftp import Reply, Request
from petal_s3.autopilot.peer import Asked
from petal_s3.autopilot.reading import Reading
from petal_s3.intake.flight_state import FlightState
from tests.simulation.card import simulate
from tests.simulation.card_wire import Broken

ENOUGH = 40  # simulations within which a missing guard must have shown


@pytest.mark.guarantee(
    "card",
    "random simulations: a line that loses, mixes up and falls silent, other clients, kills, power "
    "cuts, files that grow, shrink, vanish and are replaced, formatting",
    "no wrong byte is handed on or entered, nothing that was fetched is given up in vain, nothing "
    "is asked in flight, and every log of the card comes into the outbox",
)
@pytest.mark.parametrize("seed", range(1, 17))
def test_a_card_to_which_anything_may_happen_comes_whole_and_right(seed: int) -> None:
    simulate(seed)


# -- an invariant that nothing can break proves nothing: without a guard it must be broken


def _of_another_place(self: Reply, request: Request) -> bool:
    return self.opcode == request.opcode


def _of_any_number(self: InFlight, reply: Reply) -> tuple[Asked, bool] | None:
    for number, one in self._out.items():
        if one.request.offset == reply.offset:
            return self._out.pop(number), False
    return None


def _take_for_ours(self: Reading, asked: Asked, known: int, data: bytes) -> None:
    self._probe = None
    self.received.prove(known)


SABOTAGE: dict[str, AbstractContextManager[Any]] = {
    "a reply of another place is taken": mock.patch.object(Reply, "belongs_to", _of_another_place),
    "an old reply is taken": mock.patch.object(InFlight, "answered", _of_any_number),
    "nobody asks whose file it is": mock.patch.object(Reading, "_probed", _take_for_ours),
    "a torn tail is believed": mock.patch.object(
        partial, "resume", lambda *given, same_boot: RESUME(*given, same_boot=True)
    ),
    "it asks in flight": mock.patch.object(FlightState, "ask_hold", lambda self, now: None),
}
RESUME = with_words(partial.resume)


@pytest.mark.parametrize("guard", SABOTAGE)
def test_a_guard_that_is_taken_away_is_missed(guard: str) -> None:
    with SABOTAGE[guard], pytest.raises(Broken):
        for seed in range(1, 2 * ENOUGH, 2):  # on the wire
            simulate(seed)


def test_a_seed_runs_the_same_way_again() -> None:
    assert simulate(5).told() == simulate(5).told()
