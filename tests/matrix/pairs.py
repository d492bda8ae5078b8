"""Which personalities are tried: each oddity alone, each pair of them, or a covering choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

from tests.support.personality import GOOD, ODDITIES, Oddity, Personality


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


KNOWN = (
    "head-checksum=400 + full-checksum=400 InvalidArgument + body-checksum=400 InvalidArgument"
    " + complete-checksum=400 InvalidArgument",
    "full-checksum=ignored + part-checksum=400 InvalidRequest",
    "complete-checksum=400 BadDigest",
    "part-etag=opaque",
    "part-etag=opaque + body-checksum=ignored + full-checksum=ignored",
    "joined-etag=hex-n",
    "joined-etag=hex",
    "joined-etag=whole + list-parts=501 NotImplemented",
    "address=403 SecondLevelDomainForbidden",
    "encryption=400 InvalidArgument",
    "encryption=500 InternalError",
    "prompt-reads=HEAD 25 + joined-etag=whole + list-parts=501 NotImplemented"
    " + list-uploads=404 NoSuchUpload + sub-resources=listing",
    "copy-condition=412 PreconditionFailed + sub-resources=listing",
    "head-length=absent",
    "archive=403 InvalidObjectState",
    "list-parts=gone: 404 NoSuchKey + sub-resources=listing",
    "list-parts=gone: 200 + joined-etag=hex-n",
    "copy-metadata=ignored + sub-resources=listing",
    "list-parts=no Bucket",
    "credentials=403 InvalidAccessKeyId",
    "credentials=403 SignatureDoesNotMatch",
)
"""Kinds of servers that people have, with all that is odd about each."""


def known() -> Iterator[Personality]:
    """The personalities of :data:`KNOWN`."""
    return map(Personality.of, KNOWN)


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
