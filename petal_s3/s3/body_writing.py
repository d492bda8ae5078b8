"""How aiohttp writes a part of a file: to import this is to teach it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from aiohttp import payload

from petal_s3.core.threads import run_in
from petal_s3.s3.request_body import BLOCK_BYTES, FilePart

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_TURN_S = 0.004


class _Payload(payload.IOBasePayload):
    """A file part as aiohttp sends it; tells the part which connection it leaves by."""

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - that of the part
    ) -> None:
        part = cast("FilePart", getattr(self._value, "__wrapped__", self._value))
        part.leaves_by(writer.transport)
        before = writer.output_size
        part.written = lambda: min(part.position, writer.output_size - before)
        await _send(part, writer)

    async def close(self) -> None:
        """The file is another's to close."""


async def _send(part: FilePart, writer: AbstractStreamWriter) -> None:
    """Write a part block by block; a thread is asked only for what has to be waited for.

    A block is taken whole by the connection before the next is read, so that one buffer does.
    Others have their turn where something is waited for, and every few milliseconds.
    """
    limit, way = part.limit, part.transport
    size = min(BLOCK_BYTES, part.size, limit.max_read or BLOCK_BYTES)
    buffer = memoryview(bytearray(size))
    if way is not None:
        way.set_write_buffer_limits(high=1, low=0)  # with 0 for both, TLS waits for ever
    since = time.monotonic()
    while part.position < part.size:
        await limit.pause(min(size, part.size - part.position), part.waiting)
        # The first block takes the headers along.
        first = not part.position or way is None or way.is_closing()
        if first or limit.max_read or not _hand_over(part, writer):
            block = buffer[: part.read_at_hand(buffer) or await run_in(None, part.readinto, buffer)]
            if first or way is None:
                await writer.write(block)
            else:
                way.write(block)
                writer.output_size += len(block)
        if way is not None and way.get_write_buffer_size():
            await writer.drain()
            if way.get_write_buffer_size():
                buffer = memoryview(bytearray(size))  # the connection may still look at this one
        elif time.monotonic() - since > _TURN_S:
            await asyncio.sleep(0)
        else:
            continue
        since = time.monotonic()


def _hand_over(part: FilePart, writer: AbstractStreamWriter) -> int:
    """What the kernel has sent by itself; 0 for what has to go through the connection's buffer.

    Where its socket is full, a block goes that way: it is waited for there, and answers are heard.
    """
    way = part.transport
    if way is None or way.is_closing() or way.get_write_buffer_size():
        return 0
    if way.get_extra_info("ssl_object") is not None:
        return 0
    sent = part.hand_over(way.get_extra_info("socket").fileno())
    writer.output_size += sent
    return sent


payload.register_payload(_Payload, FilePart, order=payload.Order.try_first)
