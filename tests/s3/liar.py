"""A peer between device and S3 that answers some requests itself, in raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from robot import Robot

from petal_s3.demo.ledger import operation

_END = b"\r\n\r\n"
REQUEST_ID = {"x-amz-request-id": "0123456789ABCDEF"}


@dataclass(frozen=True)
class Heard:
    """A request that is answered with a lie."""

    op: str
    bucket: str
    key: str
    upload_id: str
    headers: Mapping[str, str]
    body: bytes


Lie = Callable[[Heard], bytes]


class Liar:
    """Passes requests on, except those that a test wants to be answered with a lie."""

    def __init__(self, target_port: int) -> None:
        self.url = ""
        self.told: Counter[str] = Counter()
        """How often each operation was lied to."""
        self.hold_open = False
        """Keep the connection after a lie, as for a next request."""
        self._target_port = target_port
        self._lies: dict[str, Lie] = {}
        self._busy: set[asyncio.Task[None]] = set()

    def lie(self, op: str, lie: Lie) -> None:
        """From now on this is the answer to every such request."""
        self._lies[op] = lie

    def repent(self) -> None:
        self._lies.clear()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._busy.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(_END)
        heard, body_bytes = _parsed(head)
        if heard.op not in self._lies:
            await self._pass_on(head, body_bytes, reader, writer)
            return False
        body = await reader.readexactly(body_bytes)
        self.told[heard.op] += 1
        told = Heard(heard.op, heard.bucket, heard.key, heard.upload_id, heard.headers, body)
        writer.write(self._lies[heard.op](told))
        await writer.drain()
        return self.hold_open

    async def _pass_on(
        self,
        head: bytes,
        body_bytes: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            to_there.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
            while body_bytes:
                block = await reader.read(min(body_bytes, 1 << 18))
                if not block:
                    return
                to_there.write(block)
                await to_there.drain()
                body_bytes -= len(block)
            while block := await there.read(1 << 18):
                writer.write(block)
                await writer.drain()
        finally:
            to_there.close()


@contextlib.asynccontextmanager
async def between(robot: Robot, **settings: object) -> AsyncIterator[Liar]:
    """A liar before the link of ``robot``, and a service that speaks to it."""
    liar = Liar(robot.link.port)
    await liar.start()
    await robot.restart(endpoint_url=liar.url, **settings)
    try:
        yield liar
    finally:
        await robot.service.stop()
        await liar.stop()


def raw(
    status: int,
    body: bytes = b"",
    *,
    length: object = None,
    reason: str = "Whatever",
    **headers: object,
) -> bytes:
    """An HTTP answer; ``length`` is what it says of its body, whatever that is."""
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if status >= 200 and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + _END + body


def xml(body: str, status: int = 200, **headers: object) -> bytes:
    """An answer in XML, as S3 gives."""
    whole = f"<?xml version='1.0' encoding='UTF-8'?>\n{body}".encode()
    return raw(status, whole, Content_Type="application/xml", **headers)


def _parsed(head: bytes) -> tuple[Heard, int]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = [line.partition(": ") for line in lines if line]
    headers = {name.lower(): value for name, _, value in pairs}
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    op = operation(method, key, query, copy="x-amz-copy-source" in headers)
    upload_id = query.get("uploadId", [""])[0]
    length = int(headers.get("content-length", "0"))
    return Heard(op, bucket, key, upload_id, headers, b""), length
