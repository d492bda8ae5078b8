"""MAVFTP as bytes: requests made, replies understood; https://mavlink.io/en/services/ftp.html."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from petal_s3.autopilot.ftp_client import Entry

PAYLOAD_BYTES = 251
"""The payload of a FILE_TRANSFER_PROTOCOL message."""
DATA_BYTES = 239
"""How much of a file one reply carries."""
FRAME_BYTES = 266
"""A whole reply on the line: MAVLink 2 adds 15 bytes to the payload."""
SEQUENCES = 65535
"""Sequence numbers are taken modulo this: PX4 does not recognise a repeated request 65535."""

_HEAD = struct.Struct("<HBBBBBBI")
_NUMBER = struct.Struct("<I")


class Opcode(enum.IntEnum):
    """What is asked of the autopilot; nothing here changes its card."""

    TERMINATE = 1
    RESET = 2
    LIST = 3
    OPEN = 4
    READ = 5
    CRC32 = 14
    LIST_WITH_TIME = 16


class Nak(enum.IntEnum):
    """Why the autopilot refuses."""

    FAIL = 1
    ERRNO = 2
    INVALID_SESSION = 4
    NO_SESSIONS = 5
    END_OF_FILE = 6
    UNKNOWN_COMMAND = 7
    NOT_FOUND = 10


_ACK, _NAK = 128, 129
_ENOENT = 2


@dataclass(frozen=True)
class Request:
    """What is asked; ``size`` is of a read: how many bytes are wanted."""

    opcode: Opcode
    data: bytes = b""
    session: int = 0
    offset: int = 0
    size: int = 0

    def payload(self, sequence: int) -> bytes:
        """The payload of a message that carries this request under this number."""
        head = _HEAD.pack(
            sequence,
            self.session,
            self.opcode,
            self.size or len(self.data),
            0,
            0,
            0,
            self.offset,
        )
        return (head + self.data).ljust(PAYLOAD_BYTES, b"\0")


@dataclass(frozen=True)
class Reply:
    """What was answered; ``answers`` is the number of the request it belongs to."""

    answers: int
    session: int
    opcode: int
    """Of the request."""
    offset: int
    data: bytes
    nak: int
    """Why it was refused, 0 where it was not; a missing file is always ``NOT_FOUND``."""
    errno: int | None = None

    def belongs_to(self, request: Request) -> bool:
        """Whether this can be an answer to ``request``: what is read tells where it was read."""
        if self.opcode != request.opcode:
            return False
        if request.opcode != Opcode.READ:
            return True
        same_place = self.offset == request.offset or self.nak != 0
        return same_place and self.session == request.session


def parse(payload: bytes) -> Reply | None:
    """Understand the payload of a message; none where it is no reply."""
    if len(payload) < PAYLOAD_BYTES:  # MAVLink 2 leaves out zeros at the end
        payload = payload.ljust(PAYLOAD_BYTES, b"\0")
    sequence, session, kind, size, opcode, _burst, _padding, offset = _HEAD.unpack_from(payload)
    if kind not in {_ACK, _NAK} or size > DATA_BYTES:
        return None
    data = payload[_HEAD.size : _HEAD.size + size]
    nak, errno = _refusal(data) if kind == _NAK else (0, None)
    return Reply((sequence - 1) & 0xFFFF, session, opcode, offset, data, nak, errno)


def _refusal(data: bytes) -> tuple[int, int | None]:
    nak = (data[0] if data else 0) or Nak.FAIL
    errno = data[1] if nak == Nak.ERRNO and len(data) > 1 else None
    return (Nak.NOT_FOUND if errno == _ENOENT else nak), errno


def number(reply: Reply) -> int | None:
    """The number that a reply carries: the size of a file, or a checksum."""
    return _NUMBER.unpack_from(reply.data)[0] if len(reply.data) >= _NUMBER.size else None


def path_bytes(path: str) -> bytes:
    """A path as it goes to the autopilot; names in it are as it sent them."""
    return path.encode(errors="surrogateescape")


def entries(reply: Reply) -> tuple[int, list[Entry]]:
    """How many entries a reply to a listing has, and those that are files and directories."""
    lines = [line for line in reply.data.split(b"\0") if line]
    found = [_entry(line) for line in lines]
    return len(lines), [one for one in found if one is not None]


def _entry(line: bytes) -> Entry | None:
    kind, fields = line[:1], line[1:].split(b"\t")
    name = fields[0].decode(errors="surrogateescape")
    if kind == b"D" and name not in {"", ".", ".."}:
        return Entry(name, is_directory=True, size=0, modified=_number(fields, 2))
    if kind == b"F" and name:
        size = _number(fields, 1)
        return Entry(name, is_directory=False, size=size or 0, modified=_number(fields, 2))
    return None


def _number(fields: list[bytes], place: int) -> int | None:
    text = fields[place] if place < len(fields) else b""
    return int(text) if text.isdigit() and len(text) < 20 else None
