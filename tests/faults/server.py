"""The fault server: S3 and a token service on one real port, programmable for every request.

Bodies are counted and digested, not kept, so that gigabytes may pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.faults.mind import MIN_PART, Mind
from tests.faults.personality import GOOD, Personality
from tests.faults.tokens import Tokens
from tests.faults.wire import Answer, Ask, Fault, ask

TOKEN_PATH = "/session-token"
_FOREVER_S = 1e6


@dataclass
class Seen:
    """One request as the server saw it; ``status`` is 0 when it was never answered."""

    op: str
    key: str
    upload_id: str
    part: int
    begun: float
    fault: str = ""
    body_bytes: int = 0
    crc32: int = 0
    status: int = 0
    range: str = ""


class FaultServer:
    """An async context manager; ``url`` is the endpoint, ``token_url`` the token service."""

    def __init__(
        self,
        bucket: str = "logs",
        *,
        now: Callable[[], float] = time.time,
        min_part: int = MIN_PART,
        keep: bool = False,
        personality: Personality = GOOD,
    ) -> None:
        self.tokens = Tokens(now)
        self.mind = Mind(
            bucket,
            now=now,
            min_part=min_part,
            keep=keep,
            accepts=self.tokens.accepts,
            personality=personality,
        )
        self.url = ""
        self.seen: list[Seen] = []
        self.resent = 0
        """Parts that arrived whole although they were confirmed before, in the same upload."""
        self._confirmed: set[tuple[str, int, int]] = set()
        self._planned: list[tuple[str, int, Fault]] = []
        self._always: list[tuple[str, int, Fault]] = []

    @property
    def token_url(self) -> str:
        return self.url + TOKEN_PATH

    # -- what is planned

    def plan(self, op: str, fault: Fault, *, part: int = 0, times: int = 1) -> None:
        """The next ``times`` requests of this operation (``*``: of any) meet ``fault``."""
        self._planned += [(op, part, fault)] * times

    def always(self, op: str, fault: Fault, *, part: int = 0) -> None:
        """From now on every request of this operation meets it."""
        self._always.append((op, part, fault))

    def heal(self) -> None:
        """Nothing is planned any more."""
        self._planned.clear()
        self._always.clear()

    def count(self, op: str) -> int:
        """How many requests of this operation have arrived."""
        return sum(one.op == op for one in self.seen)

    @property
    def body_bytes(self) -> int:
        """Bytes of all bodies so far, those that broke off included."""
        return sum(one.body_bytes for one in self.seen)

    def _fault(self, asked: Ask) -> Fault:
        for number, (op, part, fault) in enumerate(self._planned):
            if op in ("*", asked.op) and part in (0, asked.part):
                del self._planned[number]
                return fault
        for op, part, fault in self._always:
            if op in ("*", asked.op) and part in (0, asked.part):
                return fault
        return Fault()

    # -- life

    async def start(
        self, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> str:
        """Listen; returns the endpoint's URL."""
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        scheme = "http" if tls is None else "https"
        name = host if tls is None else "localhost"
        self.url = f"{scheme}://{name}:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def __aenter__(self) -> FaultServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == TOKEN_PATH:
            return await self._token(request)
        asked = ask(
            request.method,
            request.raw_path,
            request.headers,
            keep=self.mind.keep,
            bucket=self.mind.bucket,
        )
        fault = self._fault(asked)
        seen = Seen(asked.op, asked.key, asked.upload_id, asked.part, time.monotonic(), fault.name)
        seen.range = asked.headers.get("range", "")
        self.seen.append(seen)
        try:
            await self._read(request, asked, fault, seen)
            return await self._answer(request, asked, fault, seen)
        except (ConnectionError, asyncio.IncompleteReadError, web.RequestPayloadError):
            _reset(request)
            return web.Response(status=500)  # nobody hears it

    async def _token(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.tokens.down:
            self.tokens.fetches += 1
            _reset(request)
            return web.Response(status=500)
        return await _tell(request, self.tokens.issue())

    async def _read(self, request: web.BaseRequest, asked: Ask, fault: Fault, seen: Seen) -> None:
        if fault.drop:
            raise ConnectionResetError
        if fault.cut_at == 0:
            raise ConnectionResetError
        async for block in request.content.iter_any():
            seen.body_bytes += len(block)
            asked.body.feed(block)
            if fault.cut_at is not None and seen.body_bytes >= fault.cut_at:
                raise ConnectionResetError
        asked.body.end()
        seen.crc32 = asked.body.crc32

    async def _answer(
        self, request: web.BaseRequest, asked: Ask, fault: Fault, seen: Seen
    ) -> web.StreamResponse:
        if fault.hang:
            await asyncio.sleep(_FOREVER_S)
        answer = fault.say if fault.say is not None else self._done(asked)
        if fault.twist is not None:
            answer = fault.twist(answer)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.deaf:
            raise ConnectionResetError
        seen.status = answer.status
        if asked.op == "UploadPart" and answer.status == 200 and fault.honest:
            self._confirmed.add((asked.upload_id, asked.part, asked.body.crc32))
        return await _tell(request, answer, fault.cut_answer_at)

    def _done(self, asked: Ask) -> Answer:
        if (asked.upload_id, asked.part, asked.body.crc32) in self._confirmed:
            self.resent += asked.op == "UploadPart"
        return self.mind.answer(asked)


async def _tell(
    request: web.BaseRequest, answer: Answer, cut_at: int | None = None
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    for name, value in answer.headers.items():
        if name.lower() != "content-length":
            response.headers[name] = value
    told = next((v for n, v in answer.headers.items() if n.lower() == "content-length"), "")
    # A HEAD tells the size of what it does not send.
    if not answer.lengthless:
        response.content_length = int(told) if told and not answer.body else len(answer.body)
    await response.prepare(request)
    if answer.body and request.method != "HEAD":
        await response.write(answer.body[:cut_at])
    if cut_at is not None:
        await _gone(request)
        raise ConnectionResetError
    return response


async def _gone(request: web.BaseRequest) -> None:
    """Wait until the client's kernel has all that was written: a reset would take it back."""
    way = request.transport
    while way is not None and not way.is_closing():
        wire, count = way.get_extra_info("socket"), struct.pack("i", 0)
        waits = struct.unpack("i", fcntl.ioctl(wire, termios.TIOCOUTQ, count))[0]
        if not way.get_write_buffer_size() + waits:
            return
        await asyncio.sleep(0.001)


def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is None:
        return
    wire: Any = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[FaultServer]:
    """A fault server while the block runs."""
    server = FaultServer(**options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
