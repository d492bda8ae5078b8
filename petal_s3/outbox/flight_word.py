"""What was said of the flight where no autopilot is heard, for whichever process drains.

It lies beside the id of the boot and counts no longer than that. Functions on an open
:class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from petal_s3.outbox import facts
from petal_s3.outbox.outbox import Outbox

_FACT = "flight"


@dataclass(frozen=True)
class Word:
    """One statement that the vehicle is armed or not.

    ``since``: when it was said, for people; ``at``: the same in seconds since boot. ``number``
    is its own. ``taken``: whether the process that drains has taken it in.
    """

    armed: bool
    since: str
    number: str
    at: float
    taken: bool = False


def say(outbox: Outbox, word: Word) -> None:
    """Say it, in place of what was said before."""
    facts.keep(outbox, _FACT, _text(outbox, word))


def said(outbox: Outbox) -> Word | None:
    """What was said last in this boot; none where nothing counts."""
    try:
        told = json.loads(facts.value(outbox, _FACT) or "null")
        boot = told.pop("boot")
        word = Word(**told)
    except (AttributeError, KeyError, TypeError, ValueError):  # nothing, or of another version
        return None
    return word if boot == outbox.boot_id else None


def take(outbox: Outbox, word: Word) -> None:
    """Note that the process that drains has taken in ``word``; not where another was said since."""
    outbox.sql.change(
        "UPDATE fact SET value = :new WHERE name = :fact AND value = :old",
        fact=_FACT,
        old=_text(outbox, word),
        new=_text(outbox, replace(word, taken=True)),
    )


def end(outbox: Outbox, word: Word) -> None:
    """Forget ``word``, which counts no more; not where another was said since."""
    outbox.sql.change(
        "DELETE FROM fact WHERE name = :fact AND value = :old",
        fact=_FACT,
        old=_text(outbox, word),
    )


def _text(outbox: Outbox, word: Word) -> str:
    return json.dumps({**asdict(word), "boot": outbox.boot_id})
