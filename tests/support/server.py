"""The fault server: S3 and a token service on one real port, programmable for every request.

Bodies are counted and digested, not kept, so that gigabytes may pass.
"""

from __future__ import annotations

import asyncio
import fcntl
import ssl
import struct
import termios
import time
from collections.abc import Callable

from aiohttp import web

from petal_s3.demo.faults import Answer, Fault
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.recorder import reset
from petal_s3.demo.tokens import TOKEN_PATH, TokenService
from tests.support.mind import MIN_PART, Mind
from tests.support.personality import GOOD, Personality
from tests.support.wire import Ask, ask

_FOREVER_S = 1e6


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
        self.tokens = TokenService(now=now)
        self.mind = Mind(
            bucket,
            now=now,
            min_part=min_part,
            keep=keep,
            accepts=self.tokens.accepts,
            personality=personality,
        )
        self.url = ""
        self.ledger = Ledger()
        """What has arrived; only parts whose answer was sent count as confirmed."""
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
            return await self.tokens.respond(request)
        asked = ask(
            request.method,
            request.raw_path,
            request.headers,
            keep=self.mind.keep,
            bucket=self.mind.bucket,
        )
        fault = self._fault(asked)
        record = self.ledger.arrived(
            request.method, request.raw_path, asked.headers, bucket=self.mind.bucket
        )
        record.op, record.fault = asked.op, fault.name
        try:
            await self._read(request, asked, fault, record)
            return await self._answer(request, asked, fault, record)
        except (ConnectionError, asyncio.IncompleteReadError, web.RequestPayloadError):
            reset(request.transport)
            return web.Response(status=500)  # is not sent: the connection is gone
        finally:
            record.finished = time.monotonic()

    async def _read(
        self, request: web.BaseRequest, asked: Ask, fault: Fault, record: Request
    ) -> None:
        if fault.drop:
            raise ConnectionResetError
        if fault.cut_at == 0:
            raise ConnectionResetError
        async for block in request.content.iter_any():
            record.body_bytes += len(block)
            asked.body.feed(block)
            if fault.cut_at is not None and record.body_bytes >= fault.cut_at:
                raise ConnectionResetError
        asked.body.end()
        record.crc32 = asked.body.crc32

    async def _answer(
        self, request: web.BaseRequest, asked: Ask, fault: Fault, record: Request
    ) -> web.StreamResponse:
        if fault.hang:
            await asyncio.sleep(_FOREVER_S)
        answer = fault.say if fault.say is not None else self.mind.answer(asked)
        if fault.twist is not None:
            answer = fault.twist(answer)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.deaf:
            raise ConnectionResetError
        self.ledger.told(record, answer.status, confirms=fault.honest)
        record.answered = True
        return await _tell(request, answer, fault.cut_answer_at)


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
