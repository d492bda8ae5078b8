"""An autopilot's card over MAVFTP, as PX4 serves it: one session, closed when nobody uses it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("<HBBBBBBI")
_DATA = 239
_ACK, _NAK = 128, 129
_FAIL, _INVALID_SESSION, _NO_SESSIONS, _END, _UNKNOWN, _NOT_FOUND = 1, 4, 5, 6, 7, 10
_BURST = 15
_SMALL = 4  # replies up to this size are kept, to be sent again


class _Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class _Asked:
    sequence: int
    session: int
    opcode: int
    size: int
    offset: int
    data: bytes

    @property
    def path(self) -> str:
        return self.data[: self.size].split(b"\0")[0].decode(errors="surrogateescape")


class CardServer:
    """Sans-IO: one payload in, one out; times are seconds, passed in. It never changes the card."""

    def __init__(self, root: Path, *, idle_s: float = 10.0, lists_times: bool = False) -> None:
        """``root`` is the autopilot's ``/``; ``idle_s``: PX4 from 1.18 on has 30."""
        self.root = root
        self.idle_s = idle_s
        self.resets = 0
        """How often somebody has reset all sessions."""
        self.opened = 0
        """How often a file was opened."""
        self._file: int | None = None
        self._size = 0
        self._used_at = 0.0
        self._last: bytes = b""
        self._burst: tuple[int, int] | None = None
        self._work: dict[int, Callable[[_Asked], bytes]] = {
            1: self._terminate,
            2: self._reset,
            3: self._list,
            4: self._open,
            5: self._read,
            14: self._checksum,
            15: self._begin_burst,
        }
        if lists_times:
            self._work[16] = self._list

    @property
    def session_is_open(self) -> bool:
        return self._file is not None

    def close(self) -> None:
        """End the session, as after a restart."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._last, self._burst = None, b"", None

    def answer(self, payload: bytes, now: float) -> bytes | None:
        """The reply to a request; none to what is no request."""
        sequence, session, opcode, size, _, _, _, offset = _HEAD.unpack_from(payload)
        if opcode in {_ACK, _NAK}:
            return None
        if now - self._used_at > self.idle_s:
            self.close()
        self._used_at = now
        if self._last and _HEAD.unpack_from(self._last)[0] == sequence + 1:
            return self._last  # the same number: PX4 looks at nothing else
        asked = _Asked(sequence, session, opcode, size, offset, payload[_HEAD.size :])
        kind = _ACK
        try:
            data = self._work.get(opcode, _unknown)(asked)
        except (_Refused, FileNotFoundError) as error:
            kind = _NAK
            data = bytes([error.code if isinstance(error, _Refused) else _NOT_FOUND])
        except OSError as error:
            kind, data = _NAK, bytes([2, error.errno or 0])
        if opcode == _BURST and kind == _ACK:
            self._last = b""
            return None
        number = (sequence + 1) & 0xFFFF
        head = _HEAD.pack(number, asked.session, kind, len(data), opcode, 0, 0, offset)
        reply = (head + data).ljust(_HEAD.size + _DATA, b"\0")
        self._last = reply if len(data) <= _SMALL else b""
        return reply

    def stream(self) -> bytes | None:
        """The next reply of a burst; none where there is none."""
        if self._burst is None or self._file is None:
            return None
        number, offset = self._burst
        data = os.pread(self._file, _DATA, offset) if offset < self._size else b""
        kind, self._burst = _ACK, ((number + 1) & 0xFFFF, offset + len(data))
        if not data:
            kind, data, self._burst = _NAK, bytes([_END]), None
        head = _HEAD.pack(number, 0, kind, len(data), _BURST, 0, 0, offset)
        return (head + data).ljust(_HEAD.size + _DATA, b"\0")

    # -- what is asked

    def _place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _terminate(self, asked: _Asked) -> bytes:
        if asked.session != 0 or self._file is None:
            raise _Refused(_INVALID_SESSION)
        self.close()
        return b""

    def _reset(self, _: _Asked) -> bytes:
        self.resets += 1
        self.close()
        return b""

    def _list(self, asked: _Asked) -> bytes:
        try:
            names = sorted(one.name for one in self._place(asked.path).iterdir())
        except OSError:
            raise _Refused(_NOT_FOUND) from None
        found = b""
        for name in names[asked.offset :]:
            line = self._line(self._place(asked.path) / name, with_time=asked.opcode == 16)
            if len(found) + len(line) > _DATA:
                break
            found += line
        if not found and asked.offset:
            raise _Refused(_END)
        return found

    def _line(self, place: Path, *, with_time: bool) -> bytes:
        told = place.stat()
        kind, size = ("D", "") if place.is_dir() else ("F", f"\t{told.st_size}")
        time = f"\t{int(told.st_mtime)}" if with_time and size else ""
        return f"{kind}{place.name}{size}{time}\0".encode(errors="surrogateescape")

    def _open(self, asked: _Asked) -> bytes:
        if self._file is not None:
            raise _Refused(_NO_SESSIONS)
        self._file = os.open(self._place(asked.path), os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self.opened += 1
        asked.session = 0
        return struct.pack("<I", self._size)

    def _read(self, asked: _Asked) -> bytes:
        if asked.session != 0 or self._file is None:
            raise _Refused(_INVALID_SESSION)
        if asked.offset >= self._size:
            raise _Refused(_END)
        return os.pread(self._file, _DATA, asked.offset)

    def _begin_burst(self, asked: _Asked) -> bytes:
        if self._file is None:
            raise _Refused(_INVALID_SESSION)
        self._burst = (asked.sequence + 1) & 0xFFFF, asked.offset
        return b""

    def _checksum(self, asked: _Asked) -> bytes:
        # As NuttX computes it: nothing before, nothing after.
        found = zlib.crc32(self._place(asked.path).read_bytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF
        return struct.pack("<I", found)


def _unknown(_: _Asked) -> bytes:
    raise _Refused(_UNKNOWN)
