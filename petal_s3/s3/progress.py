"""Know how far a body has really come: what the peer has acknowledged, not what a buffer took."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING, Any

from aiohttp import payload

from petal_s3.s3.http_session import Window

if TYPE_CHECKING:
    import asyncio

    from aiohttp.abc import AbstractStreamWriter


class _Body(payload.IOBasePayload):
    """A window as aiohttp sends it; tells the window which connection it leaves by."""

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        window: Any = self._value
        window.transport = writer.transport
        await super().write_with_length(writer, content_length)


payload.register_payload(_Body, Window, order=payload.Order.try_first)


def unacknowledged(transport: asyncio.WriteTransport | None) -> int | None:
    """Bytes handed to a connection that its peer has not acknowledged; none when unknown."""
    if transport is None or transport.is_closing():
        return None
    wire = transport.get_extra_info("socket")
    try:
        told = fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError):
        return None
    return int(transport.get_write_buffer_size()) + int(struct.unpack("i", told)[0])
