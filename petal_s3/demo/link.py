"""A link to S3 that can be cut, slowed and counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from petal_s3.core.loop_thread import LoopThread
from petal_s3.demo.ledger import Ledger, Request

_BUFFER_BYTES = 256 * 1024
_LONG_HEADER_BYTES = 64 * 1024
# They speak of one connection, not of the message, so each side sets its own.
_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "expect"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of plain forwarding."""

    status: int = 0
    """Answer with this, after the body was read; S3 never hears of the request."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lose_answer: bool = False
    """Forward, let S3 finish, then reset the connection."""
    drop: bool = False
    """Reset the connection before anything is forwarded."""


Hook = Callable[[Request], Awaitable["Fault | None"]]


class Link:
    """A reverse proxy on loopback in front of `target_url`."""

    def __init__(
        self,
        target_url: str,
        *,
        port: int = 0,
        rate_bytes_s: float = 0,
        reset_on_cut: bool = True,
    ) -> None:
        self.target_url = target_url.rstrip("/")
        self.port = port
        self.rate_bytes_s = rate_bytes_s
        self.ledger = Ledger()
        self.on_request: Hook | None = None
        self._reset_on_cut = reset_on_cut
        self._listener: asyncio.Server | None = None
        self._free_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> str:
        """Listen; returns the URL to use instead of `target_url`."""
        # Bound for the whole life but never listening: while the link is cut nobody else can
        # take the port, and a client that calls it is refused instead of meeting itself.
        self._claim = _bound_socket(self.port)
        self.port = self._claim.getsockname()[1]
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            read_bufsize=_BUFFER_BYTES,
        )
        # aiohttp quietly repeats a PUT; the link must pass on each request exactly once.
        self._session._retry_connection = False
        self._server = web.Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
            max_line_size=_LONG_HEADER_BYTES,
            max_field_size=_LONG_HEADER_BYTES,
        )
        await self.restore()
        return self.url

    async def stop(self) -> None:
        self.cut()
        await self._server.shutdown(timeout=1)
        await self._session.close()
        self._claim.close()

    def cut(self) -> None:
        """Refuse new connections and reset the open ones, at once; from the link's own loop."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        for connection in self._server.connections:
            _abort(connection.transport, reset=self._reset_on_cut)

    async def restore(self) -> None:
        """Listen again on the same port."""
        if self._listener is None:
            loop = asyncio.get_running_loop()
            listening = _bound_socket(self.port)
            # The kernel would hold megabytes for a slow link, and hide how slow it is.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._listener = await loop.create_server(self._server, sock=listening, backlog=512)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = self.ledger.arrived(request)
        fault = (await self.on_request(record) if self.on_request else None) or Fault()
        try:
            # A connection accepted in the instant of the cut comes up only after it.
            if fault.drop or self._listener is None:
                raise ConnectionResetError
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(_CONTINUE)
                request.writer.output_size = 0
            if fault.status:
                return await self._answer(request, record, fault)
            return await self._forward(request, record, lose_answer=fault.lose_answer)
        except (ConnectionError, aiohttp.ClientError, web.RequestPayloadError):
            _abort(request.transport, reset=True)
            return web.Response(status=502)  # nobody hears it: the connection is gone
        finally:
            record.finished = time.monotonic()

    async def _answer(
        self, request: web.BaseRequest, record: Request, fault: Fault
    ) -> web.StreamResponse:
        async for _ in self._body(request, record):
            pass
        record.answered = True
        return web.Response(status=fault.status, body=fault.body, headers=fault.headers)

    async def _forward(
        self, request: web.BaseRequest, record: Request, *, lose_answer: bool
    ) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            URL(self.target_url + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            data=self._body(request, record) if request.body_exists else None,
            allow_redirects=False,
        ) as told:
            self.ledger.told(record, told.status)
            if lose_answer:
                await told.read()
                raise ConnectionResetError
            answer = web.StreamResponse(
                status=told.status, reason=told.reason, headers=_end_to_end(told.headers)
            )
            await answer.prepare(request)
            async for chunk in told.content.iter_any():
                if told.status >= HTTPStatus.MULTIPLE_CHOICES:
                    record.refusal += chunk
                await answer.write(chunk)
            await answer.write_eof()
            record.answered = True
            return answer

    async def _body(self, request: web.BaseRequest, record: Request) -> AsyncIterator[bytes]:
        while chunk := await request.content.read(self._mouthful()):
            record.first_byte = record.first_byte or time.monotonic()
            record.body_bytes += len(chunk)
            if self.rate_bytes_s > 0:
                now = time.monotonic()
                self._free_at = max(self._free_at, now) + len(chunk) / self.rate_bytes_s
                await asyncio.sleep(self._free_at - now)
            yield chunk

    def _mouthful(self) -> int:
        """Bytes to take at once: about 50 ms' worth, so that a new rate is felt soon."""
        if self.rate_bytes_s <= 0:
            return _BUFFER_BYTES
        return max(1, min(_BUFFER_BYTES, int(self.rate_bytes_s / 20)))


class LinkThread:
    """A `Link` in a thread of its own, with plain methods; a context manager."""

    def __init__(self, target_url: str, **options: Any) -> None:
        self.link = Link(target_url, **options)
        self._thread = LoopThread("s3-link")

    @property
    def url(self) -> str:
        return self.link.url

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def start(self) -> str:
        return self._thread.run(self.link.start())

    def stop(self) -> None:
        self._thread.run(self.link.stop())
        self._thread.close()

    def cut(self) -> None:
        """Returns when new connections are refused and the open ones are reset."""
        self._thread.run(self._cut())

    async def _cut(self) -> None:
        self.link.cut()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    def restore(self) -> None:
        self._thread.run(self.link.restore())

    def __enter__(self) -> LinkThread:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _bound_socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _abort(transport: asyncio.Transport | None, *, reset: bool) -> None:
    if transport is None:
        return
    wire: socket.socket | None = transport.get_extra_info("socket")
    if reset and wire is not None:
        with contextlib.suppress(OSError):  # closed already
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP_HEADERS]
