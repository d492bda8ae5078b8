"""Read a range of an open file with several requests on their way, and prove whose file it is.

Autopilots have one session, and hand its number to whoever opens the next file: where another
client has thrown ours out, our reads are answered from its file. So each few requests there is a
probe, a read of the end of the file that goes one byte beyond: only a file of this length answers
it with so many bytes, and only ours with the same as before. What was received before such a probe
was sent came from our file, since requests are answered in their order; only then is it handed out.
"""

from __future__ import annotations

import heapq

from petal_s3.autopilot.mavftp import DATA_BYTES, Nak, Opcode, Reply, Request
from petal_s3.autopilot.peer import Asked, Peer
from petal_s3.autopilot.received import Received

PROBE_BYTES = DATA_BYTES - 1
PROBE_EVERY = 32 * 1024
"""Bytes asked for between two probes."""
AHEAD_BYTES = 128 * 1024
"""How far to read beyond what was handed out."""
SILENT_S = 6.0
"""How long nothing may come before nobody is there."""
_CATCH_UP_S = 0.1  # a loop that is late by so much sends what it owes at once
_MOST_REFUSALS = 5
_MOST_REORDERED = 16
_MOST_LATE = 256


class Reading:
    """Sans-IO: bytes out by :meth:`due`, replies in by :meth:`take`; the file is in ``received``.

    Times are seconds, passed in.
    """

    def __init__(self, start: int, end: int, peer: Peer, *, max_rate: int = 0) -> None:
        """``max_rate``: bytes per second, 0 for what the line carries."""
        self.received = Received(start)
        self.lost_session = False
        """The session is not ours any more: open the file and :meth:`resume`."""
        self.refused: Reply | None = None
        """The autopilot refuses for good."""
        self.silent = False
        """Nobody has answered for some seconds."""
        self._end = end
        self._peer = peer
        self._window = peer.window
        self._interval_s = DATA_BYTES / max_rate if max_rate else 0.0
        self._sent_at = -_CATCH_UP_S
        self._backoff = 1
        self._reordered = 1  # how often a request is overtaken before it counts as lost
        self._order = 0
        self._halved_at = 0
        self._session, self._size = 0, 0
        self._tail: bytes | None = None
        self._next = start
        self._again: list[tuple[int, int]] = []
        self._out: dict[int, Asked] = {}
        self._late: dict[int, Asked] = {}
        self._since_probe = 0
        self._probe: int | None = None
        """The number of the probe on its way."""
        self._refusals = 0
        self._heard_at: float | None = None

    def resume(self, session: int, size: int) -> None:
        """Go on in this session of the same file: what was not proven is asked for again."""
        self._session, self._size = session, size
        self.lost_session = False
        self._out.clear()
        self._late.clear()
        self._again = self.received.forget_unproven(self._next)
        self._since_probe, self._probe = 0, None
        self._tail = None
        self._heard_at = None

    @property
    def finished(self) -> bool:
        """Whether all was handed out."""
        return self.received.at >= self._end

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sent: all was handed out, or it cannot go on."""
        return self.finished or self.lost_session or self.silent or self.refused is not None

    # -- what is sent

    def next_at(self) -> float | None:
        """When :meth:`due` has something to say without any reply; none: not before one."""
        expires = self._expires_at()
        if len(self._out) >= self._window.limit or not (self._has_more or self._wants_probe()):
            return expires
        paced = self._sent_at + self._interval_s
        return paced if expires is None else min(expires, paced)

    def _expires_at(self) -> float | None:
        """When the oldest request counts as lost; they are kept in the order of sending."""
        for one in self._out.values():
            return one.sent_at + self._window.patience_s * self._backoff
        return None

    def due(self, now: float) -> bytes | None:
        """What is to be sent now; none where nothing is."""
        self._expire(now)
        if self.done or len(self._out) >= self._window.limit:
            return None
        if self._interval_s and now < self._sent_at + self._interval_s:
            return None
        if self._wants_probe():
            self._since_probe = 0
            return self._ask_probe(now)
        if not self._has_more:
            return None
        offset, length = self._pick()
        self._since_probe += length
        return self._ask(offset, length, now)

    @property
    def _has_more(self) -> bool:
        return bool(self._again) or self._next < min(self._end, self.received.at + AHEAD_BYTES)

    def _wants_probe(self) -> bool:
        if self._probe is not None:
            return False
        at_end = not self._has_more and not self._out and self.received.has_unproven
        return self._tail is None or at_end or self._since_probe >= PROBE_EVERY

    def _pick(self) -> tuple[int, int]:
        if self._again:
            return heapq.heappop(self._again)
        offset, length = self._next, min(DATA_BYTES, self._end - self._next)
        self._next += length
        return offset, length

    def _ask_probe(self, now: float) -> bytes:
        length = min(PROBE_BYTES, self._size)
        beyond = 1 if self._peer.reads_short else 0
        payload = self._ask(self._size - length, length, now, self.received.count, beyond)
        self._probe = self._peer.numbers.last
        return payload

    def _ask(
        self, offset: int, length: int, now: float, known: int | None = None, beyond: int = 0
    ) -> bytes:
        number = self._peer.numbers.next()
        size = length + beyond
        request = Request(Opcode.READ, session=self._session, offset=offset, size=size)
        self._order += 1
        self._sent_at = max(now - _CATCH_UP_S, self._sent_at + self._interval_s)
        in_flight = len(self._out) + 1
        self._out[number] = Asked(request, length, self._order, now, in_flight, known)
        return request.payload(number)

    # -- what is received

    def take(self, reply: Reply, now: float) -> None:
        """Take in a reply of any request."""
        late = reply.answers in self._late
        known = self._late if late else self._out
        asked = known.get(reply.answers)
        if self.done or asked is None or not reply.belongs_to(asked.request):
            return
        del known[reply.answers]
        self._heard_at, self._backoff = now, 1
        if late:  # it was overtaken, not lost
            self._reordered = min(self._reordered + 1, _MOST_REORDERED)
        else:
            self._window.answered(now - asked.sent_at, asked.in_flight, now)
            self._overtake(asked.order)
        if reply.nak:
            self._refuse(reply, asked)
        elif asked.known is not None:
            self._probed(asked, asked.known, reply.data)
        else:
            self._got(asked, reply.data[: asked.length])

    def _got(self, asked: Asked, data: bytes) -> None:
        if not data:  # the file ends before its size
            self.lost_session = True
            return
        self._refusals = 0
        offset = asked.request.offset
        if self.received.add(offset, data) and len(data) < asked.length:
            heapq.heappush(self._again, (offset + len(data), asked.length - len(data)))

    def _probed(self, asked: Asked, known: int, data: bytes) -> None:
        if not self._peer.reads_short:
            data = data[: asked.length]
        if len(data) != asked.length or self._tail not in {None, data}:
            self.lost_session = True
            return
        self._tail = data
        self._probe = None
        self.received.prove(known)

    def _refuse(self, reply: Reply, asked: Asked) -> None:
        if reply.nak in {Nak.INVALID_SESSION, Nak.END_OF_FILE}:
            self.lost_session = True
            return
        if asked.known is not None and self._peer.reads_short:  # MAVSDK reads no byte beyond
            self._peer.reads_short = False
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS or reply.nak == Nak.UNKNOWN_COMMAND:
            self.refused = reply
        else:
            self._repeat(asked)

    # -- what is lost

    def _overtake(self, order: int) -> None:
        for number, one in self._earlier(order):
            one.overtaken += 1
            if one.overtaken >= self._reordered:
                self._give_up(number, one)
                if one.order > self._halved_at:  # once in a round trip
                    self._halved_at = self._order
                    self._window.lost()

    def _earlier(self, order: int) -> list[tuple[int, Asked]]:
        found = []
        for number, one in self._out.items():
            if one.order >= order:
                break
            found.append((number, one))
        return found

    def _expire(self, now: float) -> None:
        if self._heard_at is None:
            self._heard_at = now
        expires = self._expires_at()
        if expires is None or now < expires:
            return
        before = now - self._window.patience_s * self._backoff
        expired = [(number, one) for number, one in self._out.items() if one.sent_at <= before]
        for number, one in expired:
            self._give_up(number, one)
        self._backoff *= 2
        self._window.silent()
        self.silent = now - self._heard_at >= SILENT_S

    def _give_up(self, number: int, asked: Asked) -> None:
        self._late[number] = self._out.pop(number)
        if len(self._late) > _MOST_LATE:
            del self._late[next(iter(self._late))]
        self._repeat(asked)

    def _repeat(self, asked: Asked) -> None:
        if asked.known is not None:
            self._probe, self._since_probe = None, PROBE_EVERY
        else:
            heapq.heappush(self._again, (asked.request.offset, asked.length))
