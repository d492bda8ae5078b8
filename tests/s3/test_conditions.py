"""Nobody's object is overwritten: every write says so, and one odd answer does not change that."""

from __future__ import annotations

import pytest
from rig import Rig, refusal

from tests.faults.known import CONDITIONAL

NOT_HERE = refusal(501, "NotImplemented")
GUARD = "if-none-match"
STRANGE = b"of somebody else"


def guarded(rig: Rig) -> list[bool]:
    return [GUARD in {n.lower() for n in one.headers} for one in rig.ledger.requests("PutObject")]


async def knows_conditions(rig: Rig) -> None:
    """A new process on a server that was seen to refuse to overwrite."""
    rig.known = CONDITIONAL
    await rig.restart()


@pytest.mark.guarantee(
    "answers",
    "a 501 comes to a server that has understood If-None-Match before",
    "no write goes without the condition; the row waits",
)
async def test_who_understood_the_condition_once_is_never_asked_without_it(rig: Rig) -> None:
    await knows_conditions(rig)
    await rig.attempt(await rig.land("a.ulg", seed=1))
    rig.fault("PutObject", NOT_HERE)
    row = await rig.attempt(await rig.land("b.ulg", seed=2))
    assert (row.state, row.code) == ("queued", "not_implemented")
    done = await rig.finish(row)
    assert done.state == "verified"
    assert guarded(rig) == [True, True, True]


@pytest.mark.guarantee(
    "answers",
    "a 501 comes to a server of which nothing is known, and without If-None-Match it stores",
    "one refused body is enough to learn it; from then on each key is looked at before",
)
async def test_a_condition_that_is_refused_is_learnt_from_one_body(rig: Rig) -> None:
    rig.fault("PutObject", NOT_HERE)
    first = await rig.attempt(await rig.land("a.ulg", seed=1))
    second = await rig.land("b.ulg", seed=2)
    rig.put(second.key, STRANGE)
    done = await rig.finish(second)
    assert [first.state, done.state] == ["verified", "verified"]
    assert guarded(rig) == [True, False, False]
    assert done.key != second.key
    assert rig.body(second.key) == STRANGE


@pytest.mark.guarantee(
    "answers",
    "a server knows no conditions at all",
    "one body is refused; no other is, each key is looked at before its bytes leave",
)
async def test_a_server_that_knows_no_conditions_is_not_asked_for_ever(rig: Rig) -> None:
    async def unknown(request: object) -> object:
        return NOT_HERE if GUARD in {n.lower() for n in request.headers} else None  # type: ignore[attr-defined]

    rig.always("PutObject", unknown)  # type: ignore[arg-type]
    for number in range(5):
        row = await rig.attempt(await rig.land(f"{number}.ulg", seed=number))
        assert row.state == "verified"
        asked = [one.op for one in rig.ledger.requests() if one.key == row.key]
        assert asked[0] == "HeadObject"
    assert guarded(rig) == [True, *[False] * 5]
