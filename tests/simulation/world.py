"""The world a drone simulations in: the bucket, the token service, the link, the clocks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import aiohttp
from multidict import CIMultiDict

from petal_s3.demo.faults import Answer, Fault
from petal_s3.demo.tokens import TokenService
from tests.simulation.invariants import Invariants
from tests.simulation.loop import VirtualLoop
from tests.simulation.options import Options
from tests.simulation.waste import is_temporary
from tests.support.mind import Mind, Thing
from tests.support.wire import Ask, ask

BUCKET = "logs"
ENDPOINT = "http://s3.test"
TOKENS = "http://tokens.test/session"
PART = 16 * 1024
RATE = 20_000.0
_BLOCK = 4 * 1024
_SECOND = re.compile(r"-[0-9a-f]{8}\.")
_EPOCH = datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()


class World:
    """Everything outside the drone. A request passes through :meth:`carry`."""

    def __init__(self, rng: random.Random, loop: VirtualLoop) -> None:
        self.loop = loop
        self.rng = rng
        self.tokens = TokenService(now=self.true_time)
        self.mind = Mind(
            BUCKET, now=self.true_time, min_part=PART, keep=True, accepts=self.tokens.accepts
        )
        self.options = Options(rng, loop, self.mind)
        self.options.note = self.note
        self.invariants = Invariants(self)
        self.trace: list[str] = []
        self.up = True
        self.cuts = 0
        self.rate = RATE
        self.latency_s = 0.02
        self.wall_offset_s = 0.0
        self.booted_at = -50.0
        self.boot = "boot-1"
        self.planned: list[tuple[str, Fault]] = []
        self.generation = 0
        self.requests = 0
        self.free_bytes = 1 << 40
        self.racing = False
        self.losing = False
        self.midway: Callable[[Ask], bool] = lambda _: False
        self.kill_at: tuple[str, str] | None = None
        self.kill: Callable[[str], None] = lambda why: None

    # -- clocks

    def true_time(self) -> float:
        """Seconds since 1970, as the rest of the world has them."""
        return _EPOCH + self.loop.time()

    def wall(self) -> float:
        """What the device believes."""
        return self.true_time() + self.wall_offset_s

    def boottime(self) -> float:
        return self.loop.time() - self.booted_at

    def note(self, *words: object) -> None:
        """Write down what happened, for the replay and for whoever reads a failure."""
        self.trace.append(f"{self.loop.time():10.3f} " + " ".join(str(word) for word in words))

    def fingerprint(self) -> str:
        """The same for two runs of one seed, when these are the same simulation."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    # -- the link

    def cut(self) -> None:
        """Every connection breaks; new ones are refused until it is up again."""
        self.up = False
        self.cuts += 1

    async def probe(self, _peer: tuple[str, int], *_: object) -> bool:
        await asyncio.sleep(self.latency_s)
        return self.up

    async def token_post(self, _proxy: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """In place of one POST to the token service."""
        await asyncio.sleep(self.latency_s)
        if self.tokens.drop or not self.up:
            raise aiohttp.ClientConnectionError("no link")
        answer = self.tokens.answer()
        self.note("token", self.tokens.fetches, answer.status)
        return answer.status, dict(answer.headers), answer.body

    def stranger(self, key: str) -> None:
        """Somebody else's object stands at this key from now on, unless one stood there.

        Nobody has a reason to write below the second spelling, which holds our own CRC32.
        """
        body = b"a stranger's bytes"
        if key not in self.mind.things and not _SECOND.search(key):
            now = self.true_time()
            self.mind.things[key] = Thing(len(body), "0" * 32, 0, False, {}, now, body)
            self.invariants.strangers[key] = body, self.loop.time()
            self.note("stranger", key.rsplit("_", 1)[-1])

    def _lose_part(self, asked: Ask) -> bool:
        upload = self.mind.uploads.get(asked.upload_id)
        if upload is None or not upload.parts:
            return False
        number = self.rng.choice(sorted(upload.parts))
        part = upload.parts.pop(number)
        self.invariants.lost(upload.key, number, part.md5)
        self.note("lost", asked.upload_id, number)
        return True

    def fault_for(self, asked: Ask) -> Fault:
        for number, (op, fault) in enumerate(self.planned):
            if op in ("*", asked.op):
                del self.planned[number]
                return fault
        return Fault()

    async def carry(
        self, generation: int, method: str, url: Any, headers: Mapping[str, str], data: Any
    ) -> Reply:
        """Bring one request to S3 and its answer back."""
        self._alive(generation)
        if self.loop.dead:  # what a killed process had still to do is not done
            raise asyncio.CancelledError
        self.invariants.on_host(url.host)
        begun_at = self.loop.time()
        await self._travel(self.latency_s, self.cuts, generation)
        asked = ask(method, url.raw_path_qs, headers, keep=True)
        fault = self.fault_for(asked)
        self.requests += 1
        number, cuts = self.requests, self.cuts
        about = (asked.op, asked.key.rsplit("_", 1)[-1], asked.part or "", fault.name)
        self.note("ask", number, *about)
        self.invariants.on_ask(asked, begun_at)
        await self._send_body(asked, data, fault, cuts, generation)
        if fault.drop:
            raise aiohttp.ServerDisconnectedError
        if fault.hang:
            await asyncio.sleep(1e7)
        answer = self._answered(asked, fault, generation)
        bearing_s = len(answer.body) / self.rate if asked.op == "GetObject" else 0.0
        await self._travel(self.latency_s + bearing_s + fault.delay_s, cuts, generation)
        if fault.deaf:
            raise aiohttp.ServerDisconnectedError
        self.note("answer", number, answer.status)
        self.invariants.on_told(asked, answer, fault)
        return Reply(url, answer.but(body=b"") if method == "HEAD" else answer)

    def _answered(self, asked: Ask, fault: Fault, generation: int) -> Answer:
        if fault.say is not None:
            return fault.say
        self._maybe_kill(asked.op, "before", generation)
        if (refused := self.options.refusal(asked)) is not None:
            return refused
        if not is_temporary(asked.key):
            self._meddle(asked)
        answer = self.options.answer(asked)
        self.invariants.on_done(asked, answer)
        self._maybe_kill(asked.op, "after", generation)
        return answer if fault.twist is None else fault.twist(answer)

    def _meddle(self, asked: Ask) -> None:
        """What was planned for the moment at which a log is stored."""
        if self.racing and asked.op in {"PutObject", "CompleteMultipartUpload"}:
            self.racing = False
            self.stranger(asked.key)
        if self.losing and asked.op == "CompleteMultipartUpload":
            self.losing = not self._lose_part(asked)
        if asked.op in {"PutObject", "UploadPart"} and self.midway(asked):
            self.midway = lambda _: False

    def _maybe_kill(self, op: str, moment: str, generation: int) -> None:
        if self.kill_at == (op, moment):
            self.kill_at = None
            self.kill(f"{moment} {op}")
        self._alive(generation)

    async def _send_body(
        self, asked: Ask, data: Any, fault: Fault, cuts: int, generation: int
    ) -> None:
        if data is None:
            return
        body = asked.body
        blocks = (
            [data] if isinstance(data, bytes | bytearray) else iter(lambda: self._read(data), b"")
        )
        for block in blocks:
            await self._travel(len(block) / self.rate, cuts, generation)
            if fault.cut_at is not None and body.size + len(block) > fault.cut_at:
                raise aiohttp.ClientOSError(104, "Connection reset by peer")
            body.feed(bytes(block))

    @staticmethod
    def _read(data: Any) -> bytes:
        try:
            return bytes(data.read(_BLOCK))
        except Exception as error:
            # As aiohttp does: what breaks the reading of a body looks like a broken connection.
            raise aiohttp.ClientConnectionError("the body broke off") from error

    async def _travel(self, seconds: float, cuts: int, generation: int) -> None:
        await asyncio.sleep(seconds)
        self._alive(generation)
        if not self.up or cuts != self.cuts:
            raise aiohttp.ClientOSError(104, "Connection reset by peer")

    def _alive(self, generation: int) -> None:
        if generation != self.generation:
            raise asyncio.CancelledError  # the process that asked is dead


class Reply:
    """What aiobotocore reads of an answer."""

    def __init__(self, url: Any, answer: Answer) -> None:
        self.url = url
        self.status = answer.status
        self.headers = CIMultiDict(answer.headers)
        self.content = Content(answer.body)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return [(n.encode(), v.encode()) for n, v in self.headers.items()]

    def close(self) -> None:
        pass

    def release(self) -> None:
        pass

    async def read(self) -> bytes:
        return await self.content.read()


class Content:
    """The body of an answer, read in pieces or whole."""

    def __init__(self, body: bytes) -> None:
        self._file = io.BytesIO(body)
        self._size = len(body)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def at_eof(self) -> bool:
        return self._file.tell() >= self._size


class Air:
    """In place of an aiohttp session: the requests of one process go into the world."""

    _retry_connection = True

    def __init__(self, world: World) -> None:
        self._world = world
        self._generation = world.generation

    async def request(
        self, method: str, *, url: Any, headers: Mapping[str, str], data: Any, **_: Any
    ) -> Reply:
        return await self._world.carry(self._generation, method, url, headers, data)
