"""The simulated card behind MAVFTP.

The line loses, delays, doubles and mixes up; others use it too, and its server loses its sessions.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from pathlib import Path

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.ftp_client import Entry, FtpError, Held, Silence, Sink
from petal_s3.autopilot.mavftp import DATA_BYTES, Nak, Opcode, Request
from petal_s3.demo.card_server import CardServer
from tests.support.card_line import Line, World
from tests.support.card_model import CardModel
from tests.support.card_robot import Killed

_ACK, _NAK = 128, 129
_HEAD = struct.Struct("<HBBBBBBI")
_SILENT_S, _HELD_S, _STOLEN_S = 8.0, 1.0, 2.0
_REFUSALS, _STRANGE = 6, 12


class Broken(AssertionError):
    """Bytes that no log had, a log that is missing, a request in flight, bytes given up in vain."""


class WiredCard(CardModel):
    """The files of the model, as they come over the wire.

    ``before_block`` is called before each read is answered; what it raises happens on the wire.
    ``versions``: all that ever lay at each path: nothing else may be handed out.
    """

    def __init__(
        self, root: Path, rng: random.Random, versions: dict[str, list[bytes]], *, hashes: bool
    ) -> None:
        super().__init__(hashes=hashes)
        self._rng = rng
        self._root = root
        self._versions = versions
        self._there: dict[str, bytes] = {}
        self.server = CardServer(root, lists_times=rng.random() < 0.5)
        self.line = Line(
            bytes_s=rng.choice([5_760.0, 92_160.0, 1e6]),
            late_s=rng.choice([0.001, 0.02]),
            jitter_s=rng.choice([0.0, 0.0, 0.03]),
            loss=rng.choice([0.0, 0.01, 0.05]),
            duplicates=rng.choice([0.0, 0.05]),
        )
        self.die: Callable[[], None] = lambda: None
        """Kills the process that asks, at once."""
        self.may_ask: Callable[[], Held | None] = lambda: None
        self.is_armed: Callable[[], bool] = lambda: False
        self.asked_in_flight = 0
        self._world: World | None = None
        self._silent_until = self._held_until = 0.0
        self._refusals = self._strange = 0

    def boot(self) -> None:
        """Another process asks from now on; what is still on the line comes to it."""
        before, loop = self._world, asyncio.get_running_loop()
        world = self._world = World(self.server, self.line, self._rng.randrange(1 << 30))
        if before is not None:
            before.heard = lambda reply: world.heard(reply) if world.heard else None
            before.send = lambda payload: None  # type: ignore[method-assign]
        world.before_answer = self._before_answer
        world.change_reply = self._change_reply
        send = world.send

        def watched(payload: bytes) -> None:
            self.asked_in_flight += self.is_armed()
            send(payload)

        world.send = watched  # type: ignore[method-assign]
        terms = Terms(self._hold, self._hold, loop.time, may_reset=self._rng.random() < 0.5)
        self.client = MavftpCard(world, terms)

    def calm(self) -> None:
        """All is well from now on."""
        self._silent_until = self._held_until = 0.0
        self._refusals = self._strange = 0
        self.line.loss = 0.0

    # -- as the client asks

    async def list_directory(self, path: str) -> list[Entry]:
        return await self.client.list_directory(path)

    async def open_size(self, path: str) -> int:
        return await self.client.open_size(path)

    async def crc32(self, path: str) -> int | None:
        return await self.client.crc32(path) if self.hashes else None

    async def read(self, path: str, start: int, end: int, sink: Sink) -> None:
        at = start

        async def checked(block: bytes) -> None:
            nonlocal at
            known = self._versions.get(path, [])
            if not any(one[at : at + len(block)] == block for one in known):
                raise Broken(f"bytes of no version of {path} were handed out at {at}")
            at += len(block)
            await sink(block)

        await self.client.read(path, start, end, checked)

    # -- what befalls

    def steal(self) -> None:
        """Another client takes the session, and reads a file of its own."""
        self.server.close()
        if self.files:
            other = self._rng.choice(sorted(self.files)).encode()
            loop = asyncio.get_running_loop()
            self.server.answer(Request(Opcode.OPEN, other).payload(9), loop.time())
            loop.call_later(_STOLEN_S, self.server.close)

    def chatter(self) -> None:
        """What others are answered is heard, too."""
        self._strange = _STRANGE

    def _hold(self) -> Held | None:
        if asyncio.get_running_loop().time() < self._held_until:
            return Held("Nothing may be asked of the autopilot now.", reason="silent")
        return self.may_ask()

    def _before_answer(self, payload: bytes) -> None:
        self._mirror()
        number, session, opcode, _, _, _, _, offset = _HEAD.unpack_from(payload)
        if opcode != Opcode.READ:
            return
        now = asyncio.get_running_loop().time()
        try:
            self.before_block("", offset)
        except Held as held:
            if held.reason != "armed":  # of that the heartbeat tells
                self._held_until = now + _HELD_S
        except Silence:
            self._silent_until = now + _SILENT_S
        except FtpError:
            self._refusals = _REFUSALS
        except Killed:
            self.die()
        if self._strange:
            self._strange -= 1
            self._answer_of_another(number, session, offset)

    def _answer_of_another(self, number: int, session: int, offset: int) -> None:
        """A reply of our number from another place, or an old one that has our place."""
        if self._rng.random() < 0.5:
            offset += DATA_BYTES * self._rng.randint(1, 9)
        else:
            number = (number - self._rng.randint(300, 3000)) & 0xFFFF
        data = self._rng.randbytes(DATA_BYTES)
        reply = _HEAD.pack((number + 1) & 0xFFFF, session, _ACK, len(data), 5, 0, 0, offset) + data
        assert self._world is not None
        self._world._hear(reply)

    def _change_reply(self, reply: bytes) -> bytes | None:
        if asyncio.get_running_loop().time() < self._silent_until:
            return None
        number, session, _, _, opcode, _, _, offset = _HEAD.unpack_from(reply)
        if self._refusals and opcode == Opcode.READ:
            self._refusals -= 1
            head = _HEAD.pack(number, session, _NAK, 1, opcode, 0, 0, offset)
            return (head + bytes([Nak.FAIL])).ljust(len(reply), b"\0")
        return reply

    def _mirror(self) -> None:
        """Let the server see the files as they are now; they change in place."""
        for path in self._there.keys() - self.files.keys():
            del self._there[path]
            (self._root / path.lstrip("/")).unlink()
        for path, content in self.files.items():
            if self._there.get(path) is not content:
                place = self._root / path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                self._there[path] = content
        for folder in self.folders:
            (self._root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
