"""Which words may be said of which server: blame needs evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.support.personality import Personality

# What the server said, in its own words, blames nothing.
_QUOTED = re.compile(r"was answered \d{3} \w+(: [^)]*)?")
_NUMBERS = re.compile(r"\d+")
_DENIED = "403 AccessDenied"
# A refusal of these is one of the whole request: nothing else was asked along.
_PLAIN_REQUESTS = ("deletion", "list-uploads", "list-parts", "sub-resources", "encryption")


@dataclass(frozen=True)
class Said:
    """One sentence: a reason, an advice, an error or a line of the log; ``during`` an operation."""

    during: str
    text: str


@dataclass(frozen=True)
class Blame:
    """Words that put something to the blame, and whether this server gave evidence for it."""

    what: str
    words: re.Pattern[str]
    evidence: Callable[[Personality, Said], bool]


def _never(_: Personality, __: Said) -> bool:
    return False


def _denied(personality: Personality, _: Said) -> bool:
    return any(personality.how(one) == _DENIED for one in _PLAIN_REQUESTS) or bool(
        personality.how("credentials")
    )


def _unknown_key(personality: Personality, _: Said) -> bool:
    return bool(personality.how("credentials"))


def _stranger(_: Personality, said: Said) -> bool:
    return said.during == "taken"


def _gone(personality: Personality, said: Said) -> bool:
    return said.during in {"gone", "lost"} or bool(personality.how("list-parts"))


def _cut(_: Personality, said: Said) -> bool:
    return said.during == "lost"


def _words(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


BLAMES = (
    Blame("damage", _words("damaged", "corrupt", "confirmed other bytes"), _never),
    Blame("other bytes", _words("other bytes", "not the one that was proven"), _stranger),
    Blame("a taken key", _words("another object stands", "key taken", "was replaced"), _stranger),
    Blame("expiry", _words("expired", "no longer accepted"), _unknown_key),
    Blame("permissions", _words("permission", "refuses this machine", "forbidden"), _denied),
    Blame(
        "a login",
        _words(r"\blogin\b", r"\blog in\b", "not from S3", "not one of S3", "web page", "redirect"),
        _never,
    ),
    Blame("a gone upload", _words("begins anew", "no longer knows"), _gone),
    Blame("a link", _words(r"\bno link\b", "cannot be reached", "no answer from"), _cut),
    Blame("itself", _words("crashed", "error of petal-s3", "Traceback"), _never),
)


def unfounded(personality: Personality, said: Iterable[Said]) -> Iterator[str]:
    """What was said without evidence, each sentence once, whatever its numbers."""
    told: set[tuple[str, str]] = set()
    for one in said:
        own = _QUOTED.sub("", one.text)
        for blame in BLAMES:
            mark = (blame.what, _NUMBERS.sub("0", one.text))
            if mark in told or not blame.words.search(own):
                continue
            if not blame.evidence(personality, one):
                told.add(mark)
                yield f"{one.during}: blames {blame.what} without evidence: {one.text}"
