"""Requests that the autopilot answers one by one; sessions that are taken and given back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from petal_s3.autopilot import mavftp
from petal_s3.autopilot.driving import Driver, Terms
from petal_s3.autopilot.ftp_client import FtpError, Held, NotFound, Silence
from petal_s3.autopilot.mavftp import Nak, Opcode, Reply, Request
from petal_s3.autopilot.question import Question, Sequence16
from petal_s3.core.tasks import cancel_and_wait

SESSION_S = 10.0
"""How long PX4 keeps a session when nobody asks anything; 30 s from 1.18 on."""
_IDLE_S = (11.0, 31.0)
"""How long to ask nothing while all sessions are taken: who was killed keeps one so long."""
_GIVE_BACK_S = (0.3, 0.5)
_POLL_S = 0.05
_WORDS = {
    Opcode.LIST: "list",
    Opcode.LIST_WITH_TIME: "list",
    Opcode.OPEN: "open",
    Opcode.CRC32: "compute the checksum of",
}
_NAKS = {
    Nak.FAIL: "it failed",
    Nak.ERRNO: "it failed",
    Nak.INVALID_SESSION: "the session is not open",
    Nak.NO_SESSIONS: "another client uses all its sessions",
    Nak.END_OF_FILE: "the file ends before that",
    Nak.UNKNOWN_COMMAND: "it does not know this request",
    Nak.NOT_FOUND: "there is no such file or directory",
}


@dataclass(frozen=True)
class Opened:
    """A file that was opened, and its size then."""

    session: int
    size: int


class Asking:
    """Whoever asks has a turn; a session that could not be given back is, as soon as it may be.

    What another client of the autopilot may use is never reset, unless ``may_reset``: then, where
    all sessions have been taken for longer than any idle one is kept.
    """

    def __init__(self, driver: Driver, numbers: Sequence16, terms: Terms) -> None:
        self.driver = driver
        self._numbers = numbers
        self._now = terms.now
        self._may_begin = terms.may_begin
        self._may_reset = terms.may_reset
        self._turn = asyncio.Lock()
        self._left: tuple[int, float] | None = None
        self._giving_back: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Ask nothing more by itself."""
        if self._giving_back is not None:
            await cancel_and_wait(self._giving_back)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Nobody else asks while the block runs; raises :class:`Held`."""
        async with self._turn:
            held = self._may_begin()
            if held is not None:
                raise held
            await self.stop()
            await self._give_back()
            yield

    async def ask(self, opcode: Opcode, path: str, *, offset: int = 0, session: int = 0) -> Reply:
        """Ask about a path; raises :class:`Silence` and :class:`Held`."""
        data = mavftp.path_bytes(path)
        if len(data) >= mavftp.DATA_BYTES:
            raise NotFound(f"MAVFTP cannot carry so long a path: {path}", ftp_code=Nak.NOT_FOUND)
        request = Request(opcode, data, session=session, offset=offset)
        question = await self._answered(Question(request, self._numbers))
        if question.reply is None:
            raise Silence(
                f"The autopilot did not answer when it was asked to {_WORDS[opcode]} {path}."
            )
        return question.reply

    async def open(self, path: str) -> Opened:
        """Open a file; :class:`FtpError` where no session becomes free in 42 s."""
        reply = await self._try_open(path)
        for wait_s in _IDLE_S:
            if reply.nak == Nak.NO_SESSIONS:
                await asyncio.sleep(wait_s)  # any request would keep the session alive
                reply = await self._try_open(path)
        if reply.nak == Nak.NO_SESSIONS and self._may_reset:
            await self._answered(Question(Request(Opcode.RESET), self._numbers))
            reply = await self._try_open(path)
        check(reply, f"open {path}")
        return Opened(reply.session, mavftp.number(reply) or 0)

    async def _try_open(self, path: str) -> Reply:
        # ArduPilot takes the number that the client chooses.
        session = random.randrange(1, 256)  # noqa: S311 - no secret
        return await self.ask(Opcode.OPEN, path, session=session)

    async def close(self, session: int) -> None:
        """Give a session back; one that is none any more is as good."""
        self._left = session, self._now()
        await self._terminate(session)
        self._left = None

    def leave(self, session: int) -> None:
        """Give a session back as soon as it may be, unless it ends by itself before."""
        self._left = session, self._now()
        self._giving_back = asyncio.create_task(self._give_back_when_allowed())

    async def _give_back_when_allowed(self) -> None:
        while self._left is not None and self._now() - self._left[1] < SESSION_S:
            with suppress(Held):
                await self._give_back()
            await asyncio.sleep(_POLL_S)

    async def _give_back(self) -> None:
        left = self._left
        if left is not None and self._now() - left[1] < SESSION_S:
            await self._terminate(left[0])
        self._left = None

    async def _terminate(self, session: int) -> None:
        request = Request(Opcode.TERMINATE, session=session)
        await self._answered(Question(request, self._numbers, waits_s=_GIVE_BACK_S))

    async def _answered(self, question: Question) -> Question:
        self.driver.begin(question)
        try:
            await self.driver.until(lambda: False)
        finally:
            self.driver.end()
        return question


def check(reply: Reply, what: str) -> None:
    """Raise the refusal of a reply as an error; ``what`` was asked."""
    if not reply.nak:
        return
    kind = NotFound if reply.nak == Nak.NOT_FOUND else FtpError
    why = next((words for nak, words in _NAKS.items() if nak == reply.nak), "it does not say why")
    number = f"{reply.nak}" if reply.errno is None else f"{reply.nak}, errno {reply.errno}"
    raise kind(
        f"The autopilot was asked to {what} and refused: {why} (MAVFTP {number}).",
        ftp_code=reply.nak,
        errno=reply.errno,
    )
