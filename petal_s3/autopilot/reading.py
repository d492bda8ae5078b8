"""Read a range of an open file with several requests on their way, and prove whose file it is.

Autopilots have one session, and hand its number to whoever opens the next file: where another
client has thrown ours out, our reads are answered from its file. So each few requests there is a
probe, a read of the end of the file that goes one byte beyond: only a file of this length answers
it with so many bytes, and only ours with the same as before. What was received before such a probe
was sent came from our file, since requests are answered in their order; only then is it handed out.
"""

from __future__ import annotations

import heapq

from petal_s3.autopilot.in_flight import InFlight
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
_LONGEST_S = 1.5
"""How long to wait for a reply at most, unless the line is slower than that."""
_CATCH_UP_S = 0.1  # a loop that is late by so much sends what it owes at once
_MOST_REFUSALS = 5


class Reading:
    """Sans-IO: bytes out by :meth:`due`, replies in by :meth:`take`; the file is in ``received``.

    Times are seconds, passed in.
    """

    def __init__(self, start: int, end: int, peer: Peer, *, max_rate: int = 0) -> None:
        """``max_rate``: bytes per second, 0 for what the line carries."""
        self.received = Received(start)
        self.lost_session = False
        """The session is of no use any more: open the file and :meth:`resume`."""
        self.has_changed = False
        """It is ours all the same, but the file has another length now."""
        self.refused: Reply | None = None
        """The autopilot refuses for good."""
        self.silent = False
        """Nobody has answered for some seconds."""
        self._end = end
        self._peer = peer
        self._window = peer.window
        self._share = peer.share
        self._least_interval_s = DATA_BYTES / max_rate if max_rate else 0.0
        self._sent_at = -_CATCH_UP_S
        self._backoff = 1
        self._order = 0
        self._halved_at = self._waited_at = 0
        self._session, self._size = 0, 0
        self._tail: bytes | None = None
        self._ends = False  # whether the file of the tail was seen to end there
        self._next = start
        self._again: list[tuple[int, int]] = []
        self._out = InFlight()
        self._since_probe = 0
        self._probe: int | None = None
        """The number of the probe on its way."""
        self._refusals = 0
        self._heard_at: float | None = None

    def resume(self, session: int, size: int) -> None:
        """Go on in this session of the same file: what was not proven is asked for again."""
        self._session, self._size = session, size
        self.lost_session = self.has_changed = False
        self._out.clear()
        self._again = self.received.forget_unproven(self._next)
        self._since_probe, self._probe, self._tail, self._ends = 0, None, None, False
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

    @property
    def _interval_s(self) -> float:
        return max(self._least_interval_s, self._share.interval_s)

    def next_at(self) -> float | None:
        """When :meth:`due` has something to say without any reply; none: not before one."""
        expires = self._expires_at()
        if len(self._out) >= self._window.limit or not (self._has_more or self._wants_probe()):
            return expires
        paced = self._sent_at + self._interval_s
        return paced if expires is None else min(expires, paced)

    def _expires_at(self) -> float | None:
        """When the oldest request counts as lost."""
        sent_at = self._out.sent_first()
        return None if sent_at is None else sent_at + self._patience_s

    @property
    def _patience_s(self) -> float:
        usual = self._window.patience_s
        return max(usual, min(usual * self._backoff, _LONGEST_S))

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
        at_end = not self._has_more and not len(self._out) and self.received.has_unproven
        return not self._ends or at_end or self._since_probe >= PROBE_EVERY

    def _pick(self) -> tuple[int, int]:
        if self._again:
            return heapq.heappop(self._again)
        offset, length = self._next, min(DATA_BYTES, self._end - self._next)
        self._next += length
        return offset, length

    def _ask_probe(self, now: float) -> bytes:
        length = min(PROBE_BYTES, self._size)
        beyond = int(self._peer.reads_short or (self._tail is not None and not self._ends))
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
        self._share.sent(now)
        self._sent_at = max(now - _CATCH_UP_S, self._sent_at + self._interval_s)
        in_flight = len(self._out) + 1
        self._out.add(number, Asked(request, length, self._order, now, in_flight, known))
        return request.payload(number)

    # -- what is received

    def take(self, reply: Reply, now: float) -> None:
        """Take in a reply of any request."""
        answered = None if self.done else self._out.answered(reply)
        if answered is None:
            return
        asked, late = answered
        self._heard_at, self._backoff = now, 1
        if not late:
            self._window.answered(now - asked.sent_at, asked.in_flight, now)
            self._overtake(asked.order)
        if reply.nak:
            self._refuse(reply, asked)
        elif asked.known is not None:
            self._probed(asked, asked.known, reply.data)
        else:
            self._got(asked, reply.data[: asked.length])

    def _got(self, asked: Asked, data: bytes) -> None:
        if not data:  # the file ends before the size that it had when it was opened
            self.lost_session = self.has_changed = True
            return
        self._refusals = 0
        offset = asked.request.offset
        if self.received.add(offset, data) and len(data) < asked.length:
            heapq.heappush(self._again, (offset + len(data), asked.length - len(data)))

    def _probed(self, asked: Asked, known: int, data: bytes) -> None:
        if not asked.goes_beyond:
            data = data[: asked.length]
        if len(data) != asked.length or self._tail not in {None, data}:
            grown = self._tail is not None and data.startswith(self._tail)
            self.lost_session, self.has_changed = True, grown or not data
            return
        self._tail, self._probe = data, None
        if asked.goes_beyond:
            self._ends = self._peer.reads_short = True
        if self._ends:
            self.received.prove(known)

    def _refuse(self, reply: Reply, asked: Asked) -> None:
        if reply.nak in {Nak.INVALID_SESSION, Nak.END_OF_FILE}:
            self.lost_session = True
            return
        if asked.goes_beyond:  # MAVSDK reads no byte beyond: a longer file has one there
            self._peer.reads_short, self._ends = False, self._tail is not None
            if self._ends:
                self._repeat(asked)
                return
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS or reply.nak == Nak.UNKNOWN_COMMAND:
            self.refused = reply
        else:
            self._repeat(asked)

    # -- what is lost

    def _overtake(self, order: int) -> None:
        for one in self._out.overtaken(order):
            self._repeat(one)
            if one.order > self._halved_at:  # once in a round trip
                self._halved_at = self._order
                self._window.lost()

    def _expire(self, now: float) -> None:
        if self._heard_at is None:
            self._heard_at = now
        expires = self._expires_at()
        if expires is None or now < expires:
            return
        expired = self._out.expired(now, self._patience_s)
        for one in expired:
            self._repeat(one)
        if expired and expired[-1].order > self._waited_at:  # once in a round trip
            self._waited_at = self._order
            self._backoff *= 2
            self._window.silent()
        self.silent = now - self._heard_at >= SILENT_S

    def _repeat(self, asked: Asked) -> None:
        if asked.known is not None:
            self._probe, self._since_probe = None, PROBE_EVERY
        else:
            heapq.heappush(self._again, (asked.request.offset, asked.length))
