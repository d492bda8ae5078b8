"""Where a case is played: a server with a personality, in virtual time or on a real wire."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol
from unittest import mock
from urllib.parse import urlsplit

import aiohttp

from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Ledger
from petal_s3.intake.flight_state import FlightState
from petal_s3.service.service import Service
from petal_s3.upload import pause
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import BUCKET, ENDPOINT, PART, TOKENS, Reply, World
from tests.support.mind import Mind
from tests.support.personality import Personality
from tests.support.server import FaultServer
from tests.support.wire import Ask, ask

__all__ = ["BUCKET", "PART", "Place", "VirtualPlace", "WirePlace", "on_a_wire"]

_RATE = 2e6
_SPREAD = 0.1


class Place(Protocol):
    """What a case needs of its surroundings."""

    mind: Mind
    ledger: Ledger
    tick_s: float
    """How often a case looks."""
    patience_s: float
    """How long a log may take to be proven."""

    def where(self) -> dict[str, str]:
        """The settings that lead here."""

    def plan(self, op: str, fault: Fault, *, part: int = 0) -> None:
        """The next request of this operation meets ``fault``."""

    def heal(self) -> None:
        """Nothing is planned any more."""

    def serve(self, settings: Settings) -> Service:
        """A service that lives here; it is not started."""

    def server_s(self) -> float:
        """The server's time, s since 1970."""

    def case_s(self) -> float:
        """Seconds since some moment before the case."""

    async def get(self, url: str) -> tuple[int, bytes]:
        """GET a URL as a browser does: status and body."""


class VirtualPlace(World):
    """No sockets and no waiting: requests are calls into the mind of the server."""

    tick_s = 1.0
    patience_s = 600.0

    def __init__(self, loop: VirtualLoop, personality: Personality, part: int = PART) -> None:
        super().__init__(random.Random(1), loop)
        self.rate = _RATE
        self.ledger = Ledger()
        self._meets: list[tuple[str, int, Fault]] = []
        self.mind = Mind(
            BUCKET,
            now=self.true_time,
            min_part=part,
            keep=True,
            accepts=self.tokens.accepts,
            personality=personality,
        )

    def where(self) -> dict[str, str]:
        return {"endpoint_url": ENDPOINT, "session_token_url": TOKENS}

    def plan(self, op: str, fault: Fault, *, part: int = 0) -> None:
        self._meets.append((op, part, fault))

    def heal(self) -> None:
        self._meets.clear()

    def server_s(self) -> float:
        return self.true_time()

    def case_s(self) -> float:
        return self.loop.time()

    def serve(self, settings: Settings) -> Service:
        service = Service(
            settings,
            flight=FlightState(listening_since=self.boottime()),
            now=self.boottime,
            wall=self.wall,
        )
        service.drainer.timing.spread = lambda: _SPREAD
        service.drainer.timing.probe = self.probe
        service.objects.spread = lambda: _SPREAD
        assert service.tokens is not None
        service.tokens.post = self.token_post  # type: ignore[method-assign]
        return service

    async def get(self, url: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        told = {"host": str(parts.hostname)}
        asked = ask("GET", f"{parts.path}?{parts.query}", told, keep=True, bucket=BUCKET)
        answer = self.mind.answer(asked)
        return answer.status, answer.body

    def fault_for(self, asked: Ask) -> Fault:
        for number, (op, part, fault) in enumerate(self._meets):
            if op == asked.op and part in (0, asked.part):
                del self._meets[number]
                return fault
        return Fault()

    async def carry(
        self, generation: int, method: str, url: Any, headers: Mapping[str, str], data: Any
    ) -> Reply:
        self._alive(generation)
        await self._travel(self.latency_s, self.cuts, generation)
        told = {**headers, "host": url.host}
        asked = ask(method, url.raw_path_qs, told, keep=True, bucket=BUCKET)
        fault = self.fault_for(asked)
        seen = self.ledger.arrived(
            method, url.raw_path_qs, asked.headers, bucket=BUCKET, at=self.loop.time()
        )
        seen.op, seen.fault = asked.op, fault.name
        try:
            await self._send_body(asked, data, fault, self.cuts, generation)
        finally:
            seen.body_bytes, seen.crc32 = asked.body.size, asked.body.crc32
        if fault.hang:
            await self._travel(1e7, self.cuts, generation)
        answer = self.mind.answer(asked)
        await self._travel(self.latency_s, self.cuts, generation)
        if fault.deaf:
            raise aiohttp.ServerDisconnectedError
        seen.status = answer.status
        self.note(method, asked.op, asked.key.rsplit("/", 1)[-1], asked.part or "", answer.status)
        return Reply(url, answer.but(body=b"") if method == "HEAD" else answer)


class WirePlace:
    """The fault server on a real port, in real time."""

    tick_s = 0.05
    patience_s = 40.0

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self.mind = server.mind
        self.ledger = server.ledger

    def where(self) -> dict[str, str]:
        port = urlsplit(self._server.url).port
        # With a name: a bucket may stand before it.
        url = f"http://s3.localhost:{port}"
        return {"endpoint_url": url, "session_token_url": self._server.token_url}

    def plan(self, op: str, fault: Fault, *, part: int = 0) -> None:
        self._server.plan(op, fault, part=part)

    def heal(self) -> None:
        self._server.heal()

    def server_s(self) -> float:
        return time.time()

    def case_s(self) -> float:
        return clock.now()

    def serve(self, settings: Settings) -> Service:
        service = Service(settings)
        service.drainer.timing.spread = lambda: 0.01
        return service

    async def get(self, url: str) -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.read()


@contextlib.contextmanager
def _names_of_this_host() -> Iterator[None]:
    """Names below ``localhost`` are this host, as RFC 6761 has it, also where no resolver knows."""
    resolve = socket.getaddrinfo

    def find(host: Any, *args: Any, **more: Any) -> Any:
        ours = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if ours else host, *args, **more)

    with (
        mock.patch.object(socket, "getaddrinfo", find),
        mock.patch.object(pause, "LOOK_S", 0.02),
    ):
        yield


@contextlib.asynccontextmanager
async def on_a_wire(personality: Personality, part: int = PART) -> AsyncIterator[WirePlace]:
    """A server with a personality on a real port while the block runs."""
    with _names_of_this_host():
        async with FaultServer(BUCKET, min_part=part, keep=True, personality=personality) as server:
            yield WirePlace(server)


def settings_for(where: Mapping[str, str], part: int, **more: Any) -> Settings:
    """Settings of a drone that sends in small parts, one after the other."""
    given = {
        "bucket_name": BUCKET,
        "machine_id": "drone-1",
        "settle_seconds": 0.0,
        "concurrency": 1,
        "upload_while_flying": True,
        "request_timeout": 30.0,
        **where,
        **more,
    }
    return load_settings(**given).model_copy(update={"part_size": part})
