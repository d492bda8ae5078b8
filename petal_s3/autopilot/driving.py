"""Drive a conversation with the autopilot: what is due goes out, what comes in is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from petal_s3.autopilot.carrier import Carrier, Trace
from petal_s3.autopilot.ftp_client import Held
from petal_s3.autopilot.mavftp import Reply, parse
from petal_s3.core.clock import Clock

MayAsk = Callable[[], Held | None]
"""Why nothing may be asked now; none where it may. Asked before each request."""


@dataclass(frozen=True)
class Terms:
    """What may be asked, and when.

    ``may_begin`` is asked besides ``may_ask`` before anything new is begun. ``may_reset``: sessions
    that have been taken for longer than an idle one is kept may be reset. ``max_rate``: bytes of
    files per second, 0 for what the line carries.
    """

    may_ask: MayAsk
    may_begin: MayAsk
    now: Clock
    may_reset: bool = False
    max_rate: int = 0


class Talk(Protocol):
    """A conversation that knows nothing of loops and sockets."""

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sent, and nothing is waited for."""

    def due(self, now: float) -> bytes | None:
        """What is to be sent now."""

    def take(self, reply: Reply, now: float) -> None:
        """Take in a reply."""

    def next_at(self) -> float | None:
        """When something is due without any reply."""


class Driver:
    """Lets one conversation at a time send and hear."""

    def __init__(self, carrier: Carrier, terms: Terms, trace: Trace) -> None:
        self._carrier = carrier
        self._may_ask = terms.may_ask
        self._now = terms.now
        self._trace = trace
        self._talk: Talk | None = None
        self._held: Held | None = None
        self._woken = asyncio.Event()
        carrier.heard = self._hear

    def begin(self, talk: Talk) -> None:
        """From now on it sends and hears, also while nobody waits for it."""
        self._talk, self._held = talk, None
        self._pump(self._now())

    def end(self) -> None:
        """It sends and hears no more."""
        self._talk = None

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until the conversation that was begun is done, or ``true`` is.

        Raises :class:`Held` when nothing may be asked meanwhile.
        """
        talk = self._talk
        assert talk is not None
        while not talk.done and not true():
            self._woken.clear()
            self._pump(self._now())
            if self._held is not None:
                raise self._held
            if not talk.done and not true():
                await self._wake_at(talk.next_at())

    def _hear(self, payload: bytes) -> None:
        now = self._now()
        self._trace.note(payload, now, sent=False)
        reply = parse(payload)
        if reply is None or self._talk is None:
            return
        self._talk.take(reply, now)
        self._pump(now)
        self._woken.set()

    def _pump(self, now: float) -> None:
        talk = self._talk
        if talk is None or self._held is not None:
            return
        self._held = self._may_ask()
        while self._held is None:
            payload = talk.due(now)
            if payload is None:
                return
            self._send(payload, now)

    def _send(self, payload: bytes, now: float) -> None:
        self._trace.note(payload, now, sent=True)
        self._carrier.send(payload)

    async def _wake_at(self, at: float | None) -> None:
        loop = asyncio.get_running_loop()
        delay = 1.0 if at is None else max(at - self._now(), 0.0)
        timer = loop.call_later(delay, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
