"""Reads on their way: which are answered, which were overtaken, which are late."""

from __future__ import annotations

from petal_s3.autopilot.mavftp import Reply
from petal_s3.autopilot.peer import Asked

_MOST_REORDERED = 16
_MOST_LATE = 256


class InFlight:
    """Reads by their number, in the order in which they were sent.

    One that is overtaken by the answer to a later one counts as lost: autopilots answer in order.
    Where such an answer comes after all, the line mixes them up, and more are let by.
    """

    def __init__(self) -> None:
        self._out: dict[int, Asked] = {}
        self._late: dict[int, Asked] = {}
        self._let_by = 1

    def __len__(self) -> int:
        return len(self._out)

    def clear(self) -> None:
        """None is waited for any more."""
        self._out.clear()
        self._late.clear()

    def add(self, number: int, asked: Asked) -> None:
        """It was sent."""
        self._out[number] = asked

    def sent_first(self) -> float | None:
        """When the oldest one that is waited for was sent."""
        for one in self._out.values():
            return one.sent_at
        return None

    def answered(self, reply: Reply) -> tuple[Asked, bool] | None:
        """The read that a reply answers, and whether it had been given up."""
        late = reply.answers in self._late
        known = self._late if late else self._out
        asked = known.get(reply.answers)
        if asked is None or not reply.belongs_to(asked.request):
            return None
        del known[reply.answers]
        if late:
            self._let_by = min(self._let_by + 1, _MOST_REORDERED)
        return asked, late

    def overtaken(self, order: int) -> list[Asked]:
        """Those that count as lost now that ``order`` is answered."""
        lost = []
        for number, one in list(self._out.items()):
            if one.order >= order:
                break
            one.overtaken += 1
            if one.overtaken >= self._let_by:
                lost.append(self._give_up(number))
        return lost

    def expired(self, now: float, patience_s: float) -> list[Asked]:
        """Those that were waited for long enough; they count as lost."""
        found = [number for number, one in self._out.items() if one.sent_at + patience_s <= now]
        return [self._give_up(number) for number in found]

    def _give_up(self, number: int) -> Asked:
        asked = self._late[number] = self._out.pop(number)
        if len(self._late) > _MOST_LATE:
            del self._late[next(iter(self._late))]
        return asked
