"""A reverse proxy in front of S3 that writes down each request, and lets faults meet some."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus

import aiohttp
from aiohttp import web
from yarl import URL

from petal_s3.demo.faults import Answer, Fault
from petal_s3.demo.ledger import Ledger, Request

_BUFFER_BYTES = 256 * 1024
_LONG_HEADER_BYTES = 64 * 1024
_EVER_S = 1e6
# They speak of one connection, not of the message, so each side sets its own.
_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "expect"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Hook = Callable[[Request], Awaitable["Fault | None"]]


class Recorder:
    """The proxy, on loopback; ``ledger`` holds what passed."""

    def __init__(self, target_url: str) -> None:
        self.target_url = target_url.rstrip("/")
        self.url = ""
        self.ledger = Ledger()
        self.on_request: Hook | None = None
        """Asked about each request whose head has just arrived: what happens to it?"""

    async def start(self) -> str:
        """Listen; returns the URL to use instead of ``target_url``."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            read_bufsize=_BUFFER_BYTES,
        )
        # aiohttp quietly repeats a PUT; each request is passed on exactly once.
        self._session._retry_connection = False
        self._server = web.Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
            max_line_size=_LONG_HEADER_BYTES,
            max_field_size=_LONG_HEADER_BYTES,
        )
        self._listeners: list[asyncio.Server] = []
        self.url = await self.serve()
        return self.url

    async def serve(self, tls: ssl.SSLContext | None = None) -> str:
        """Listen on one more port; returns its URL."""
        listener = await asyncio.get_running_loop().create_server(
            self._server, "127.0.0.1", 0, backlog=512, ssl=tls
        )
        self._listeners.append(listener)
        host, port = listener.sockets[0].getsockname()
        return f"{'http' if tls is None else 'https'}://{host}:{port}"

    async def stop(self) -> None:
        """End all connections, and stop listening."""
        for listener in self._listeners:
            listener.close()
        for connection in self._server.connections:
            reset(connection.transport)
        await self._server.shutdown(timeout=1)
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = self.ledger.arrived(request.method, request.raw_path, request.headers)
        fault = (await self.on_request(record) if self.on_request else None) or Fault()
        record.fault = fault.name
        try:
            if fault.drop:
                raise ConnectionResetError
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(_CONTINUE)
                request.writer.output_size = 0
            if fault.hang:
                await asyncio.sleep(_EVER_S)
            if fault.say is not None:
                return await self._answer(request, record, fault, fault.say)
            return await self._forward(request, record, fault)
        except (ConnectionError, aiohttp.ClientError, web.RequestPayloadError):
            reset(request.transport)
            return web.Response(status=502)  # is not sent: the connection is gone
        finally:
            record.finished = time.monotonic()

    async def _answer(
        self, request: web.BaseRequest, record: Request, fault: Fault, answer: Answer
    ) -> web.StreamResponse:
        """Answer in place of S3."""
        async for _ in self._body(request, record, fault):
            pass
        await asyncio.sleep(fault.delay_s)
        record.answered = True
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _forward(
        self, request: web.BaseRequest, record: Request, fault: Fault
    ) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            URL(self.target_url + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            data=self._body(request, record, fault) if request.body_exists else None,
            allow_redirects=False,
        ) as told:
            self.ledger.told(record, told.status)
            if fault.deaf:
                await told.read()
                raise ConnectionResetError
            await asyncio.sleep(fault.delay_s)
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

    @staticmethod
    async def _body(
        request: web.BaseRequest, record: Request, fault: Fault
    ) -> AsyncIterator[bytes]:
        while chunk := await request.content.read(_BUFFER_BYTES):
            record.first_byte = record.first_byte or time.monotonic()
            record.body_bytes += len(chunk)
            if fault.cut_at is not None and record.body_bytes >= fault.cut_at:
                raise ConnectionResetError
            yield chunk


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with RST, now."""
    if not isinstance(transport, asyncio.Transport):
        return
    wire: socket.socket | None = transport.get_extra_info("socket")
    if wire is not None:
        with contextlib.suppress(OSError):  # closed already
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP_HEADERS]
