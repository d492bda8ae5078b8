"""A bad link to S3 with a recorder at its far end, and one in a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from petal_s3.core.loop_thread import LoopThread
from petal_s3.demo.ledger import Ledger
from petal_s3.demo.link import Link, Shape
from petal_s3.demo.recorder import Hook, Recorder

_BUFFER_BYTES = 256 * 1024


class RecordedLink(Link):
    """A link whose far end writes down each request that gets through, and may answer it."""

    def __init__(self, target_url: str, *, rate_bytes_s: float = 0) -> None:
        super().__init__(shape=Shape(up_bytes_s=rate_bytes_s), buffer_bytes=_BUFFER_BYTES)
        self._recorder = Recorder(target_url)

    @property
    def ledger(self) -> Ledger:
        """What has arrived at the far end."""
        return self._recorder.ledger

    @property
    def on_request(self) -> Hook | None:
        """Asked about each request whose head has just arrived: what happens to it?"""
        return self._recorder.on_request

    @on_request.setter
    def on_request(self, hook: Hook | None) -> None:
        self._recorder.on_request = hook

    async def start(self) -> str:
        """Listen and forward; returns the URL to use instead of the target."""
        self.lead_to(await self._recorder.start())
        return await super().start()

    async def serve_tls(self, context: ssl.SSLContext) -> str:
        """The far end, behind TLS on a port of its own; returns its URL."""
        return await self._recorder.serve(context)

    async def stop(self) -> None:
        """End everything; nothing is left running."""
        await super().stop()
        await self._recorder.stop()


class LinkThread:
    """A `RecordedLink` in a thread of its own, with plain methods; a context manager."""

    def __init__(self, target_url: str, *, rate_bytes_s: float = 0) -> None:
        self.link = RecordedLink(target_url, rate_bytes_s=rate_bytes_s)
        self._thread = LoopThread("link")

    @property
    def url(self) -> str:
        """What to use instead of the target."""
        return self.link.url

    @property
    def ledger(self) -> Ledger:
        """What has arrived at the far end."""
        return self.link.ledger

    def cut(self) -> None:
        """Returns when new connections are refused and the open ones are reset."""
        self._thread.run(self._tell(self.link.cut))

    def forward(self) -> None:
        """Returns when new connections reach the target."""
        self._thread.run(self._tell(self.link.forward))

    async def _tell(self, verb: Callable[[], object]) -> None:
        verb()
        await asyncio.sleep(0)  # the loop closes sockets in its next round

    def __enter__(self) -> LinkThread:
        self._thread.run(self.link.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self.link.stop())
        self._thread.close()
