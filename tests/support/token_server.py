"""A server on a free loopback port that gives session tokens, as a test wants them given."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from aiohttp import web


class Giver(Protocol):
    """What answers every request, and is told its own URL."""

    url: str

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever its method and path."""


G = TypeVar("G", bound=Giver)


@asynccontextmanager
async def serving(giver: G, tls: ssl.SSLContext | None = None) -> AsyncIterator[G]:
    """Let ``giver`` answer at ``giver.url``, over TLS with ``tls``."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", giver.post)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls is not None else "http"
    giver.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/token"
    try:
        yield giver
    finally:
        await runner.cleanup()
