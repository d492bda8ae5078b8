"""Whatever logs can wait for has an end, and a person is told which."""

from __future__ import annotations

from petal_s3.service import reasons
from petal_s3.service.endings import ENDINGS


def test_every_code_that_logs_can_wait_for_has_its_ending() -> None:
    waits = {*reasons.HOLDS, *reasons.TROUBLES, *reasons.WAITS, *reasons.CARD}
    assert waits - {"card_gone"} <= set(ENDINGS), "what vanished from the card does not come back"


def test_every_ending_is_of_a_known_code_and_a_sentence() -> None:
    assert set(ENDINGS) <= set(reasons.CODES)
    for code, sentence in ENDINGS.items():
        assert sentence.endswith(".") and sentence[0] in {"`", "P", sentence[0].upper()}, code
