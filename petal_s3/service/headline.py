"""The one sentence of the status: are my logs up, and if not, why? Every front end shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petal_s3.service.reasons import Reason, reason
from petal_s3.service.views.view import RowState, spoken_bytes

_GONE = ("was proven and is gone from the bucket", "were proven and are gone from the bucket")
_MORE = ", and there may be more"
_MINUTE_S = 60


@dataclass(frozen=True)
class Left:
    """What is left to send.

    ``eta_s``: how long that takes at the rate of now, none where there is none; ``clock``: at what
    time it is done, as a clock at this place shows it.
    """

    size_bytes: int = 0
    eta_s: int | None = None
    clock: str = ""


@dataclass(frozen=True)
class Found:
    """How many logs there are in each condition, and what is in the way of those not up yet.

    ``settling``: files that have changed a moment ago; ``unscanned``: files that no scan has seen.
    ``held``: files that are taken only after the flight. ``gone``: proven logs whose object was
    seen to be gone since; ``counts`` has them among those that are verified.
    ``on_card``: logs of the autopilot's card that are still to be fetched.
    ``trouble``: why there may be logs that are not counted at all. ``left``: of what has a row.
    """

    counts: Mapping[RowState, int]
    settling: int
    unscanned: int
    drained: bool
    reason: Reason | None
    trouble: Reason | None
    held: int = 0
    gone: int = 0
    on_card: int = 0
    left: Left = Left()

    @property
    def up(self) -> int:
        """How many logs are up, as far as anybody has looked."""
        return max(0, self.counts["verified"] - self.gone)

    @property
    def open(self) -> int:
        """How many logs are known that are not up yet, and may still be."""
        rows = self.counts["queued"] + self.counts["uploading"]
        return rows + self.settling + self.held + self.unscanned + self.on_card


def headline(found: Found) -> Reason:
    """The sentence and its code. "All up" only where nothing queues, settles or is unscanned."""
    if found.open:
        return _under_way(found)
    if found.trouble is not None:
        return _doubtful(found, found.trouble)
    return _lost(found) if found.gone else _settled(found.counts)


def _lost(found: Found) -> Reason:
    """Nothing waits, and the bucket has lost what was proven."""
    dead = found.counts["dead"]
    said = [f"{_logs(found.up)} up"] if found.up else []
    said += [f"{found.gone} {_GONE[found.gone > 1]}"]
    said += [f"{_others(dead)} cannot be sent: a person has to look"] if dead else []
    return Reason("object_gone", f"{'; '.join(said)}.")


def _settled(counts: Mapping[RowState, int]) -> Reason:
    up, dead, cancelled = counts["verified"], counts["dead"], counts["cancelled"]
    if up:
        more = f"; {_others(dead)} cannot be sent: a person has to look" if dead else ""
        return Reason("some_dead" if dead else "all_up", f"{_all_up(up)}{more}.")
    if dead:
        return Reason("some_dead", f"{dead} cannot be sent: a person has to look.")
    if cancelled:
        were = "was" if cancelled == 1 else "were"
        return Reason("nothing_waits", f"No log waits to be sent; {cancelled} {were} cancelled.")
    return reason("no_log")


def _under_way(found: Found) -> Reason:
    counts = found.counts
    going, waiting = counts["uploading"], counts["queued"]
    if not found.drained:  # what a killed process had begun waits
        going, waiting = 0, waiting + going
    total = found.up + found.gone + found.open
    said = [f"{found.up} of {total} log{'s' if total > 1 else ''} proven"]
    for number, one, many in (
        (found.settling, "has just been written", "have just been written"),
        (found.held, "is found and taken after the flight", "are found and taken after the flight"),
        (found.unscanned, "is not in the outbox yet", "are not in the outbox yet"),
        (found.on_card, "is on the autopilot's card yet", "are on the autopilot's card yet"),
        (found.gone, *_GONE),
        (counts["dead"], "cannot be sent", "cannot be sent"),
    ):
        said += [f"{number} {one if number == 1 else many}"] if number else []
    sentence = ", ".join([*said, *_left(found.left)]) + (_MORE if found.trouble is not None else "")
    if found.reason is not None:
        return Reason(found.reason.code, f"{sentence}; waiting: {found.reason.sentence}")
    if found.trouble is not None:
        return Reason(found.trouble.code, f"{sentence}: {found.trouble.sentence}")
    code = "uploading" if going else "its_turn" if waiting else ""
    code = code or ("settling" if found.settling else "unscanned" if found.unscanned else "")
    code = code or ("armed" if found.held else "on_card")
    return Reason(code, f"{sentence}.")


def _left(left: Left) -> list[str]:
    if not left.size_bytes:
        return []
    said = [f"{spoken_bytes(left.size_bytes)} to go"]
    if left.eta_s is not None:
        clock = f" ({left.clock})" if left.eta_s >= _MINUTE_S and left.clock else ""
        said.append(f"about {_short(left.eta_s)}{clock}")
    return said


def _short(seconds: int) -> str:
    """A time in the largest unit of which there are one and a half."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds} s"


def _doubtful(found: Found, trouble: Reason) -> Reason:
    """Nothing is known to wait, and not everything can be known."""
    up, dead = found.up, found.counts["dead"]
    said = [f"{_logs(up)} up"] if up else []
    said += [f"{found.gone} {_GONE[found.gone > 1]}"] if found.gone else []
    said += [f"{dead} cannot be sent"] if dead else []
    sentence = f"{', '.join(said)}{_MORE}: " if said else ""
    return Reason(trouble.code, f"{sentence}{trouble.sentence}")


def _all_up(count: int) -> str:
    return "The log is up" if count == 1 else f"All {count} logs are up"


def _others(count: int) -> str:
    return "1 other" if count == 1 else f"{count} others"


def _logs(count: int) -> str:
    return f"{count or 'No'} log{' is' if count < 2 else 's are'}"
