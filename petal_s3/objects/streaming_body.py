"""The open body of an object, to be read as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from petal_s3.objects.objects import Objects
from petal_s3.s3.responses import ObjectInfo


class StreamingBody:
    """An object's bytes, through breaks of the link. Close it, or use it with ``async with``."""

    def __init__(
        self, info: ObjectInfo, blocks: AsyncIterator[bytes], stack: contextlib.AsyncExitStack
    ) -> None:
        self.content_length = info.size
        self.content_type = info.content_type
        self.etag = info.etag
        self.metadata = dict(info.metadata)
        self._blocks = blocks
        self._stack = stack
        self._block = b""
        self._at = 0

    @classmethod
    async def open(cls, objects: Objects, key: str) -> StreamingBody:
        """Ask for the object; raises as :meth:`Objects.read`."""
        async with contextlib.AsyncExitStack() as stack:
            info, blocks = await stack.enter_async_context(objects.read(key))
            body = cls(info, blocks, stack.pop_all())
        objects.at_end.add(body)
        return body

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, all that is left without it; empty at the end."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if self._at == len(self._block):
                self._block, self._at = await anext(self._blocks, b""), 0
                if not self._block:
                    break
            end = len(self._block) if size < 0 else self._at + size - len(found)
            taken = self._block[self._at : end]
            found += taken
            self._at += len(taken)
        return bytes(found)

    async def next_block(self) -> bytes:
        """The next block as it came, or what is left of it; empty at the end."""
        left, self._block, self._at = self._block[self._at :], b"", 0
        return left or await anext(self._blocks, b"")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while block := await self.next_block():
            yield block

    async def close(self) -> None:
        """Give the connection back; safe to call twice."""
        await self._stack.aclose()

    async def __aenter__(self) -> StreamingBody:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
