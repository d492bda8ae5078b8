"""Whether the drain waits, for how long and why: blocks, backoff, and looks for the link."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import (
    ClockSkew,
    Offline,
    S3BucketError,
    S3CredentialsError,
    S3IntegrationError,
    Throttled,
)
from petal_s3.outbox import requests
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.connection import reachable
from petal_s3.s3.link_state import LinkState
from petal_s3.upload.backoff import CAP_REFUSED_S, CAP_S, Spread, backoff_s, held_s, return_s

log = logging.getLogger("petal_s3")

IDLE_S = 300.0
"""The longest that an idle drain rests; whoever enters something ends that."""
LOOK_S = 0.25
"""How often work that is under way is checked whether it may go on."""
POLL_S = 1.0
"""How often a drain that is held up looks whether it still is."""
PROBE_S = 5.0
"""How often a link that is down is tried by a bare connect."""
PROBE_FIRST_S = 1.0
"""The same, shortly after it broke."""
_PROBE_EAGER_FOR_S = 30.0
LINK_BACK = "link_back"
"""The code of a block that is over but for its last seconds: the next try is at hand."""
_LINK_BACK = "The link is back; sending goes on within a minute, or as soon as asked for."

Probe = Callable[[tuple[str, int]], Awaitable[bool]]
"""Whether a host and port can be connected to."""


@dataclass
class Timing:
    """What the drain takes from the world around it, so that a test can stand in for it."""

    now: Clock = clock.now
    spread: Spread = random.random
    probe: Probe = reachable


@dataclass(frozen=True)
class Block:
    """Why nothing at all is sent for now; times in seconds since boot.

    ``tried_at``: when that was seen last. ``of_link``: it is the link to S3. ``answerable``: an
    answer of S3 shows that it is over.
    """

    code: str
    reason: str
    since: float
    until: float
    peer: tuple[str, int] | None
    tried_at: float = 0.0
    of_link: bool = False
    answerable: bool = False


class Pause:
    """The waiting of a drain: a block holds every row, and ends early when the link is back."""

    def __init__(self, outbox: OutboxThread, timing: Timing, link_state: LinkState) -> None:
        self.block: Block | None = None
        self.link_state = link_state
        self.failures = 0
        """How many blocks there were since a row was verified, or a part was sent before the
        link broke."""
        self.seen_down = False
        """Whether a bare connect has failed since the block began."""
        self.down_since: float | None = None
        """When one failed first since one came about."""
        self.woken = asyncio.Event()
        self._outbox = outbox
        self._timing = timing
        self._probed_at = 0.0
        self._attempt_by = 0.0
        self._part_sent = False

    def wake(self) -> None:
        """Something changed (a log, the link, the flight): try now what waits."""
        self.woken.set()

    def new_log(self) -> None:
        """A log has entered the outbox: try at once, unless S3 itself asked for patience."""
        if self.block is not None and self.block.code != "throttled":
            now = self._attempt_by = self._timing.now()
            self.block = replace(self.block, until=now)
        self.wake()

    async def retry_now(self) -> None:
        """End all waiting and make every row due: a person, a landing or the link asks for it."""
        self.block = None
        await self._outbox(requests.make_due, self._timing.now())
        self.wake()

    def answered(self) -> None:
        """S3 has answered well: the link works."""
        self.block = self.down_since = None
        self.link_state.heard(self._timing.now(), well=True)

    def part_sent(self) -> None:
        """S3 has confirmed a part: the link breaks, but it works."""
        self._part_sent = True

    def succeeded(self) -> None:
        """A row was verified: the next failure is the first one again."""
        self.answered()
        self.failures = 0
        self.seen_down = self._part_sent = False

    def wait_s(self, failures: int, error: S3IntegrationError, *, refused: bool) -> float:
        """Seconds to wait after ``error``; ``refused``: trying again costs whole parts."""
        cap_s = CAP_REFUSED_S if refused else CAP_S
        more = 2 if refused else 0
        wait_s = backoff_s(failures + more, cap_s=cap_s, spread=self._timing.spread)
        return max(wait_s, error.retry_after_s or 0.0)

    def blocked_for_s(self) -> float:
        """Seconds until the block is over; then it still says why nothing was sent, and holds
        no row up."""
        return 0.0 if self.block is None else max(0.0, self.block.until - self._timing.now())

    async def blocked(self, error: S3IntegrationError) -> None:
        """Nothing can be sent for now, whichever row it is: wait, and say why."""
        now = self._timing.now()
        self.link_state.failed(error, now)
        if isinstance(error, S3BucketError | Throttled):
            self.link_state.heard(now)
        if isinstance(error, Offline) and self._part_sent:
            self.failures = 0
        self._part_sent = False
        wait_s = self.wait_s(self.failures, error, refused=isinstance(error, S3BucketError))
        self.failures += 1
        if self.block is None or self.block.code != error.code:
            log.warning("drain blocked code=%s reason=%s", error.code, error.message)
        answerable = isinstance(error, Offline | S3CredentialsError | ClockSkew)
        self.block = Block(
            error.code,
            error.message,
            now if self.block is None else self.block.since,
            now + wait_s,
            error.peer,
            now,
            of_link=isinstance(error, Offline),
            answerable=answerable,
        )
        self._attempt_by = now + held_s(spread=self._timing.spread)
        # A bare connect tells a dead link from one that connects but does not work. One that was
        # dead may have come back in this moment: the next connect tells.
        is_down = error.peer is not None and not await self._timing.probe(error.peer)
        self.seen_down = is_down or (error.peer is not None and self.down_since is not None)
        self._probed_at = self._timing.now()
        if is_down:
            self._hold()

    def _hold(self) -> None:
        """A connect has failed: after a while only connects are tried, as attempts would fail."""
        block, now = self.block, self._timing.now()
        self.down_since = now if self.down_since is None else self.down_since
        long = now - self.down_since >= _PROBE_EAGER_FOR_S
        if long and block is not None and now < self._attempt_by:
            self.block = replace(block, until=max(block.until, now + PROBE_S + 2 * POLL_S))

    async def rest(self, pause_s: float) -> None:
        """Wait to be woken, or for the link that holds everything up, at most ``pause_s``."""
        until = self._timing.now() + pause_s
        while not self.woken.is_set():
            left_s = until - self._timing.now()
            if left_s <= 0:
                return
            most_s = left_s if self.block is None else min(left_s, POLL_S)
            try:
                await asyncio.wait_for(self.woken.wait(), most_s)
            except asyncio.TimeoutError:
                if await self._has_answered() or await self._link_is_back():
                    return

    def others_wrote(self) -> None:
        """Another process has written into the outbox: try what it may have entered."""
        if self.block is not None and self.block.code == LINK_BACK:
            self.new_log()
        elif not self.blocked_for_s():
            self.wake()

    async def _has_answered(self) -> bool:
        """Whether S3 has answered another call since, so that what failed is tried now.

        Not sooner than a probe would be: small calls may pass where bodies do not.
        """
        block, well_at = self.block, self.link_state.well_at
        if block is None or not block.answerable or well_at is None or well_at <= block.tried_at:
            return False
        if self._timing.now() - block.tried_at < PROBE_S:
            until = min(block.until, block.tried_at + PROBE_S)
            self.block = replace(block, code=LINK_BACK, reason=_LINK_BACK, until=until)
            return False
        log.info("s3 answers again after_s=%.0f", well_at - block.since)
        await self.retry_now()
        return True

    async def _link_is_back(self) -> bool:
        """Whether a link that was seen down is up again: then no row waits any longer."""
        block = self.block
        if block is None or block.peer is None:
            return False
        now = self._timing.now()
        eager = now - block.since < _PROBE_EAGER_FOR_S or self.link_state.watched(now)
        if now - self._probed_at < (PROBE_FIRST_S if eager else PROBE_S):
            return False
        self._probed_at = now
        if not await self._timing.probe(block.peer):
            self.seen_down = True
            if block.of_link:
                self.link_state.lost_at = now
            self._hold()
            return False
        if not self.seen_down:
            return False  # it connects, but does not work: the backoff decides
        if block.of_link:
            self.link_state.connected_at = now
        down_since = now if self.down_since is None else self.down_since
        self.seen_down, self.down_since = False, None
        outage_s = now - down_since
        wait_s = return_s(outage_s, spread=self._timing.spread)
        log.info("link is back after_s=%.0f tried_in_s=%.0f", now - block.since, wait_s)
        if outage_s < PROBE_S:
            await self.retry_now()
            return True
        await self._outbox(requests.make_due, now)
        until = now + wait_s
        self.block = replace(block, code=LINK_BACK, reason=_LINK_BACK, until=until, peer=None)
        return True
