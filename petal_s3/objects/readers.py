"""Let only a few objects be read at once: connections are left for what has to be sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from petal_s3.errors import Throttled

MOST_READERS = 4


class Readers:
    """The readers there are now; one more waits up to ``patience_s`` for one of them to end."""

    def __init__(self, patience_s: float = 10.0) -> None:
        self.patience_s = patience_s
        self.count = 0
        """How many there are."""
        self._free = asyncio.Semaphore(MOST_READERS)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Be a reader while the block runs; raises :class:`Throttled` when none of them ends."""
        try:
            await asyncio.wait_for(self._free.acquire(), self.patience_s)
        except asyncio.TimeoutError:
            raise Throttled(
                f"{MOST_READERS} objects are read already: try again when one has ended.",
                code="too_many",
            ) from None
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            self._free.release()
