"""Which personalities are tried: each oddity alone, each pair of them, or a covering choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

from tests.faults.personality import GOOD, ODDITIES, Oddity, Personality


def singles() -> Iterator[Personality]:
    """The good server, and each oddity alone."""
    yield GOOD
    for feature, hows in ODDITIES.items():
        for how in hows:
            yield Personality((Oddity(feature, how),))


def pairs() -> Iterator[Personality]:
    """Every pair of oddities of two features."""
    for one, other in combinations(ODDITIES, 2):
        for how, also in product(ODDITIES[one], ODDITIES[other]):
            yield Personality((Oddity(one, how), Oddity(other, also)))


def covering() -> Iterator[Personality]:
    """Every pair of features once, in which every oddity meets as many features as it can.

    Greedy and without chance: of each pair of features the two oddities that were used least.
    """
    used: Counter[Oddity] = Counter()
    for one, other in combinations(ODDITIES, 2):
        chosen = tuple(_rarest(feature, used) for feature in (one, other))
        used.update(chosen)
        yield Personality(chosen)


def _rarest(feature: str, used: Counter[Oddity]) -> Oddity:
    return min((Oddity(feature, how) for how in ODDITIES[feature]), key=lambda one: used[one])
