"""How aiohttp sends a part of a file; imported with the HTTP session, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiohttp import payload

from petal_s3.s3.request_body import FilePart

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter


class _Payload(payload.IOBasePayload):
    """A file part as aiohttp sends it; tells the part which connection it leaves by."""

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        part = cast("FilePart", self._value)
        part.transport = writer.transport
        before = writer.output_size
        part.written = lambda: min(part.position, writer.output_size - before)
        await super().write_with_length(writer, content_length)


payload.register_payload(_Payload, FilePart, order=payload.Order.try_first)
