"""The stand-alone server: the same routes over aiohttp, for robots without the host."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from aiohttp import web

from petal_s3.errors import ConfigError
from petal_s3.service.service import Service
from petal_s3.web.application import make_app
from petal_s3.web.connections import HEAD_S, MOST_CONNECTIONS, Bodies, Connection, Gate
from petal_s3.web.guard import Guard

_IDLE_S = 60.0
_STOP_S = 0.5  # aiohttp takes it twice
_LONGEST_LINE = 16 * 1024


class Server:
    """The server on its socket; ``port`` is the real one where 0 was asked for."""

    def __init__(
        self,
        service: Service,
        *,
        host: str,
        port: int,
        token: str | None,
        most: int = MOST_CONNECTIONS,
        head_s: float = HEAD_S,
    ) -> None:
        """Raises :class:`ConfigError` for an address that others reach, without a token."""
        self.host = host
        self.port = port
        self._most = most
        self._head_s = head_s
        self._gate: Gate | None = None
        guard = Guard(service.settings, bound=host, token=token, now=service.now)
        self.application = make_app(service, guard, Bodies(most), self._spoke, self._rests)
        self._runner = web.AppRunner(
            self.application,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_IDLE_S,
            shutdown_timeout=_STOP_S,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; raises :class:`ConfigError` where that cannot be."""
        await self._runner.setup()
        assert self._runner.server is not None
        gate = self._gate = Gate(self._runner.server, most=self._most, head_s=self._head_s)
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                gate, self.host.strip("[]"), self.port, backlog=128
            )
        except OSError as error:
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror  # a name has its own
            raise ConfigError(
                f"{self.host}:{self.port} cannot be listened on ({why}): set"
                " PETAL_S3_API_HOST and PETAL_S3_API_PORT."
            ) from error
        self.port = self._listening.sockets[0].getsockname()[1]

    def _spoke(self, protocol: Connection) -> None:
        if self._gate is not None:
            self._gate.spoke(protocol)

    def _rests(self, protocol: Connection) -> None:
        if self._gate is not None:
            self._gate.rests(protocol)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._runner.server.connections) if self._runner.server is not None else 0

    @property
    def watched(self) -> int:
        """How many connections may be closed to make room for others."""
        return 0 if self._gate is None else self._gate.watched

    async def stop(self) -> None:
        """Take no new connection, end what runs on."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()


async def serve(
    service: Service,
    *,
    host: str,
    port: int,
    said: Callable[[str], None],
    alongside: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Drain, watch and answer until SIGINT or SIGTERM; ``said`` is called with the address.

    Then the drain ends at once, and what is answered gets one second.
    ``alongside`` is entered when the service has started, and left when the drain has ended.
    """
    server = Server(service, host=host, port=port, token=service.settings.api_token)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await server.start()
        await service.start()
        host = server.host.strip("[]")
        async with alongside or nullcontext():
            said(f"http://{f'[{host}]' if ':' in host else host}:{server.port}/")
            await ended.wait()
            await service.leave_off()  # callers that are still answered may take seconds
    finally:
        service.stopping = True
        await server.stop()
        await service.stop()
