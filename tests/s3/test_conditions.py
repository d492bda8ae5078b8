"""Nobody's object is overwritten: every write says so, and one odd answer does not change that."""

from __future__ import annotations

import pytest
from rig import Rig, refusal

NOT_HERE = refusal(501, "NotImplemented")
GUARD = "if-none-match"


def guarded(rig: Rig) -> list[bool]:
    return [GUARD in {n.lower() for n in one.headers} for one in rig.ledger.requests("PutObject")]


@pytest.mark.guarantee(
    "answers",
    "a 501 comes to a server that has understood If-None-Match before",
    "no write goes without the condition; the row waits",
)
async def test_who_understood_the_condition_once_is_never_asked_without_it(rig: Rig) -> None:
    await rig.attempt(await rig.land("a.ulg", seed=1))
    rig.fault("PutObject", NOT_HERE)
    row = await rig.attempt(await rig.land("b.ulg", seed=2))
    assert (row.state, row.code) == ("queued", "not_implemented")
    done = await rig.finish(row)
    assert done.state == "verified"
    assert guarded(rig) == [True, True, True]


async def test_one_odd_answer_does_not_take_the_condition_away_for_good(rig: Rig) -> None:
    rig.fault("PutObject", NOT_HERE)
    first = await rig.attempt(await rig.land("a.ulg", seed=1))
    second = await rig.attempt(await rig.land("b.ulg", seed=2))
    assert [first.state, second.state] == ["verified", "verified"]
    assert guarded(rig) == [True, False, True]


async def test_a_server_that_knows_no_conditions_is_not_asked_for_ever(rig: Rig) -> None:
    async def unknown(request: object) -> object:
        return NOT_HERE if GUARD in {n.lower() for n in request.headers} else None  # type: ignore[attr-defined]

    rig.always("PutObject", unknown)  # type: ignore[arg-type]
    for number in range(5):
        row = await rig.attempt(await rig.land(f"{number}.ulg", seed=number))
        assert row.state == "verified"
    assert guarded(rig) == [True, False, True, False, True, False, False, False]
