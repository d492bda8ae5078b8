"""An autopilot's card in memory, which answers as the client of MAVFTP does, and may go wrong."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from petal_s3.autopilot.ftp_client import Entry, FtpError, Held, NotFound, Shorter, Sink
from petal_s3.intake.flight_state import Heartbeat

ROOT = "/fs/microsd/log"
MISSIONS = "/fs/microsd/mission_log"
BLOCK_BYTES = 239

DISARMED = Heartbeat(system=1, component=1, autopilot=12, type=2, base_mode=81)
ARMED = Heartbeat(system=1, component=1, autopilot=12, type=2, base_mode=81 | 128)


@dataclass(frozen=True)
class Asked:
    """One request of the client, as the model has seen it."""

    what: str
    path: str
    start: int = 0
    end: int = 0


@dataclass
class CardModel:
    """The files by their whole path; ``asked``: all that was asked.

    ``before_block``: called with path and offset before each block of a read, may raise or change
    files. ``may_ask``: raises where nothing may be asked.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/fs", "/fs/microsd", ROOT})
    times: dict[str, float] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    before_block: Callable[[str, int], None] = lambda path, offset: None
    before_request: Callable[[str, str], None] = lambda what, path: None
    hashes: bool = True
    block_bytes: int = BLOCK_BYTES
    wrong_crc: bool = False

    def put(self, path: str, content: bytes, root: str = ROOT) -> str:
        """A file below ``root``; returns its whole path."""
        whole = f"{root}/{path}"
        self.files[whole] = content
        for depth in range(whole.count("/")):
            self.folders.add(whole.rsplit("/", depth + 1)[0])
        return whole

    def erase(self) -> None:
        """As formatting does."""
        self.files = {"/fs/microsd/dataman": b"x"}
        self.folders = {"/fs", "/fs/microsd"}

    def bytes_read(self, path: str) -> int:
        """How many bytes of a file were asked for, windows of the comparison included."""
        return sum(one.end - one.start for one in self.asked if one.path == path)

    async def _request(self, what: str, path: str, start: int = 0, end: int = 0) -> None:
        await asyncio.sleep(0)
        self.before_request(what, path)
        self.asked.append(Asked(what, path, start, end))

    async def list_directory(self, path: str) -> list[Entry]:
        await self._request("list", path)
        if path not in self.folders:
            raise NotFound("There is no such directory.", ftp_code=10)
        inside = {name for name in self.folders | set(self.files) if _parent(name) == path}
        return [
            Entry(
                name.rpartition("/")[2],
                name in self.folders,
                len(self.files.get(name, b"")),
                self.times.get(name),
            )
            for name in sorted(inside)
        ]

    async def open_size(self, path: str) -> int:
        await self._request("open", path)
        return len(self._content(path))

    async def read(self, path: str, start: int, end: int, sink: Sink) -> None:
        await self._request("read", path, start, start)
        at = start
        while at < end:
            self.before_block(path, at)
            block = self._content(path)[at : min(end, at + self.block_bytes)]
            if not block:
                raise Shorter("The file ends before.", ftp_code=6)
            self.asked.append(Asked("block", path, at, at + len(block)))
            await sink(block)
            await asyncio.sleep(0)
            at += len(block)

    async def crc32(self, path: str) -> int | None:
        await self._request("crc32", path)
        if not self.hashes:
            return None
        found = zlib.crc32(self._content(path))
        return found ^ 1 if self.wrong_crc else found

    def _content(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFound("There is no such file.", ftp_code=10)
        return self.files[path]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def held(reason: str = "armed") -> Held:
    """Nothing may be asked."""
    return Held("Nothing may be asked of the autopilot now.", reason=reason)


def refused(code: int = 1) -> FtpError:
    """The autopilot refuses."""
    return FtpError("The autopilot refused.", ftp_code=code)
