"""How long ago a row was settled: by a count of seconds that no clock can shorten.

The count begins with the outbox. It grows with the device's steady clock, which cannot be set,
boot by boot. Time without power is added only as far as S3's clock and the device's own agree on it
since a moment at which both told the same; and S3's clock is believed after two agreeing answers.
When S3's clock jumps, all ages begin anew. So an age may be too low, and is never too high.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from petal_s3.outbox import facts
from petal_s3.outbox.outbox import Outbox

HOUR_S = 3600.0
DAY_S = 86_400.0
KEEP_S = 600.0
"""How often the count is kept: so much of a boot is lost at most when the power goes."""
_FACT = "ages"


@dataclass(frozen=True)
class Moment:
    """One moment by three clocks, in seconds.

    ``now``: since boot; ``wall``: since 1970 by the device's own date; ``s3``: the same by S3's
    clock, none unless two of its answers have agreed.
    """

    now: float
    wall: float
    s3: float | None


@dataclass(frozen=True)
class Anchor:
    """A moment at which S3's clock and the device's own told the same, and the count then."""

    s3: float
    wall: float
    count: float


@dataclass(frozen=True)
class Ages:
    """The count, as it was when it was kept last: at ``at`` seconds of the boot ``boot``.

    ``anew``: the count when S3's clock jumped last, by ``jump_s`` seconds. ``ahead``: S3's time at
    the beginning of this boot, none while it is not known.
    """

    boot: str
    at: float
    count: float = 0.0
    anew: float = 0.0
    jump_s: float = 0.0
    ahead: float | None = None
    anchor: Anchor | None = None

    def oldest(self, age_s: float) -> float:
        """What was settled at this count or before it is at least ``age_s`` old; below 0: nothing
        can be."""
        return self.count - age_s if self.count - self.anew >= age_s else -1.0

    @property
    def jumped(self) -> bool:
        """Whether S3's clock has jumped within a day."""
        return self.jump_s != 0.0 and self.count - self.anew < DAY_S


def count(outbox: Outbox) -> float:
    """The count now."""
    return _now(outbox, outbox.now()).count


def carry_on(outbox: Outbox, moment: Moment) -> Ages:
    """Carry the count on to ``moment``, and see whether S3's clock has jumped."""
    before = _kept(outbox)
    ages = _now(outbox, moment.now)
    if moment.s3 is not None:
        ages = _told(ages, moment.s3, moment.now, moment.wall)
    if before is None or _worth_keeping(before, ages):
        facts.keep(outbox, _FACT, json.dumps(asdict(ages)))
    return ages


def _told(ages: Ages, s3: float, now: float, wall: float) -> Ages:
    """What S3's clock says: a jump, or how long the power was off."""
    jump_s = s3 - now - ages.ahead if ages.ahead is not None else 0.0
    anchor = ages.anchor
    if anchor is not None:
        jump_s = jump_s if abs(jump_s) > HOUR_S else min(0.0, s3 - anchor.s3)
    ages = replace(ages, ahead=s3 - now)
    if abs(jump_s) > HOUR_S:
        ages, anchor = replace(ages, anew=ages.count, jump_s=jump_s, anchor=None), None
    if anchor is not None:
        passed_s = min(s3 - anchor.s3, wall - anchor.wall)
        return replace(ages, count=max(ages.count, anchor.count + passed_s))
    if abs(wall - s3) <= HOUR_S:
        return replace(ages, anchor=Anchor(s3, wall, ages.count))
    return ages


def _worth_keeping(before: Ages, ages: Ages) -> bool:
    if (before.boot, before.anew, before.anchor) != (ages.boot, ages.anew, ages.anchor):
        return True
    moved_s = ages.count - before.count
    return moved_s >= KEEP_S or (before.ahead is None) != (ages.ahead is None)


def _now(outbox: Outbox, now: float) -> Ages:
    """The count as the steady clock alone carries it on."""
    kept = _kept(outbox)
    if kept is None:
        return Ages(outbox.boot_id, now)
    if kept.boot == outbox.boot_id and kept.at <= now:
        return replace(kept, at=now, count=kept.count + now - kept.at)
    return replace(kept, boot=outbox.boot_id, at=now, count=kept.count + now, ahead=None)


def _kept(outbox: Outbox) -> Ages | None:
    try:
        told = json.loads(facts.value(outbox, _FACT) or "null")
        anchor = told.pop("anchor")
        return Ages(**told, anchor=None if anchor is None else Anchor(**anchor))
    except (AttributeError, KeyError, TypeError, ValueError):  # nothing, or of another version
        return None
