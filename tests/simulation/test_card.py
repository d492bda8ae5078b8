"""Whatever befalls card, link, vehicle and process: no wrong byte, and no log is left out."""

from __future__ import annotations

import pytest

from tests.simulation.card import simulate


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_card_to_which_anything_may_happen_comes_whole_and_right(seed: int) -> None:
    simulate(seed)
