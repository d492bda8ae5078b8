"""Whatever optional feature a server lacks: each log arrives, or a sentence names a setting."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.matrix.case import in_virtual_time, on_the_wire
from tests.matrix.many import play
from tests.matrix.pairs import covering, known, pairs, singles
from tests.matrix.sentences import Said, unfounded
from tests.support.personality import GOOD, ODDITIES, Oddity, Personality

SHARES = 5

# These touch the wire itself; the rest is the same without one.
ON_A_WIRE = (
    "good",
    "head-length=absent + joined-etag=opaque",
    "address=403 SecondLevelDomainForbidden + head-checksum=400",
    "body-checksum=400 InvalidArgument + head-checksum=400",
    "full-checksum=ignored + part-checksum=400 InvalidRequest",
    "part-etag=opaque + body-checksum=ignored",
    "prompt-reads=HEAD 2 + put-condition=ignored",
    "encryption=501 NotImplemented + list-uploads=404 NoSuchUpload",
    "copy-condition=412 PreconditionFailed + copy-metadata=ignored",
    "archive=403 InvalidObjectState + list-parts=gone: 200",
)


def test_the_covering_choice_holds_every_pair_of_features_and_every_oddity() -> None:
    chosen = list(covering())
    met = {frozenset(one.feature for one in each.oddities) for each in chosen}
    assert met == {frozenset(pair) for pair in combinations(ODDITIES, 2)}
    used = {one for each in chosen for one in each.oddities}
    assert used == {Oddity(name, how) for name, hows in ODDITIES.items() for how in hows}
    assert chosen == list(covering())
    assert len(list(pairs())) > 10 * len(chosen)


def test_a_personality_is_written_and_read_again() -> None:
    for each in (*singles(), *covering(), *known()):
        assert Personality.of(str(each)) == each


def test_blame_without_evidence_is_noticed() -> None:
    said = [Said("small", "check its permissions"), Said("small", "upload verified key=a")]
    assert len(list(unfounded(GOOD, said))) == 1
    denied = Personality.of("deletion=403 AccessDenied")
    assert list(unfounded(denied, said)) == []


def test_a_case_is_played_the_same_way_again() -> None:
    told = [in_virtual_time(Personality.of("joined-etag=opaque")).trace for _ in range(2)]
    assert [line for line in told[0] if "->" in line] == [line for line in told[1] if "->" in line]
    assert len(told[0]) > 100


@pytest.mark.timeout(840)
@pytest.mark.parametrize("share", range(SHARES), ids="share {}".format)
def test_every_pair_of_odd_features_is_borne(share: int) -> None:
    chosen = list(covering())[share::SHARES]
    reports = list(play(chosen, workers=1))
    assert [(one.name, one.failures) for one in reports if one.failures] == []
    assert len(reports) == len(chosen)
    # They were cases worth playing: logs were proven in them.
    assert sum(len(one.proofs) for one in reports) > 5 * len(reports)


@pytest.mark.parametrize("name", ON_A_WIRE)
async def test_odd_features_are_borne_on_a_real_wire(name: str) -> None:
    report = await on_the_wire(Personality.of(name))
    assert report.failures == []
    assert report.proofs
