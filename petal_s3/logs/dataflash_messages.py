"""Follow the messages of an ArduPilot DataFlash log, as far as formats tell their lengths.

The layout is described in :mod:`petal_s3.logs.dataflash`.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

FMT, FMT_BYTES = 128, 89
LEAST_GAPS = 3
"""So many gaps of one length tell the length of a type."""

_MARK = b"\xa3\x95"
_MARKS = re.compile(_MARK)
_HEADER_BYTES = 3
_FMT_FIELDS = struct.Struct("<BB4s16s64s")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,3}\0*")
# So many messages that follow each other do not occur by chance.
_CHAIN_MESSAGES = 4
# A log on a flash chip ends with its page: pymavlink's DFReader (2.4.50) expects so much there.
_MOST_PADDING = 249
_FIELDS = {
    **{"a": "64s", "b": "b", "B": "B", "h": "h", "H": "H", "i": "i", "I": "I", "f": "f"},
    **{"d": "d", "n": "4s", "N": "16s", "Z": "64s", "c": "h", "C": "H", "e": "i", "E": "I"},
    **{"L": "i", "M": "B", "q": "q", "Q": "Q", "g": "e"},
}


class Format(NamedTuple):
    """What an FMT message says of a type; ``length`` counts the header."""

    length: int
    name: str
    fields: str
    columns: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether a message begins with microseconds since the boot."""
        return self.columns[0] == "TimeUS" and self.fields[:1] == "Q" and self.length >= 11

    def numbers(self, data: bytes, at: int) -> dict[str, int]:
        """The whole numbers of the message at ``at``; none where its fields do not fit it."""
        if not set(self.fields) <= _FIELDS.keys():
            return {}
        shape = struct.Struct("<" + "".join(_FIELDS[one] for one in self.fields))
        if shape.size != self.length - _HEADER_BYTES:
            return {}
        values = shape.unpack_from(data, at + _HEADER_BYTES)
        named = zip(self.columns, values, strict=False)
        return {name: value for name, value in named if isinstance(value, int)}


Formats = dict[int, Format]


@dataclass
class Piece:
    """Bytes of a log, the whole messages (type, position) in them, and what was seen at the end.

    ``cut``: the last one is not whole; ``damaged``: something that is no message.
    """

    data: bytes
    messages: list[tuple[int, int]] = field(default_factory=list)
    cut: bool = False
    damaged: bool = False


def through(
    data: bytes, start: int | None, formats: Formats
) -> tuple[Piece, Counter[tuple[int, int]]]:
    """The messages from ``start`` on, and how often what has no format was how long.

    Firmware also describes types when it first uses them: in bytes that were not read.
    """
    piece, gaps = Piece(data, damaged=start is None), Counter[tuple[int, int]]()
    while start is not None:
        stop = follow(piece, start, formats, late=True)
        start = None if piece.cut or stop == len(data) else found(data, stop + 1, formats)
        if start is not None and data.startswith(_MARK, stop) and start - stop >= _HEADER_BYTES:
            gaps[data[stop + 2], start - stop] += 1
    return piece, gaps


def follow(piece: Piece, at: int, formats: Formats, *, late: bool = False) -> int:
    """Follow the messages from ``at`` on, note them, learn formats; tell where that ends.

    ``late``: a type without a format may have got it in bytes that were not read.
    """
    data, size = piece.data, len(piece.data)
    while data.startswith(_MARK, at) and at + _HEADER_BYTES <= size:
        kind = data[at + 2]
        known = formats.get(kind)
        if known is None:
            piece.damaged |= not late
            return at
        if at + known.length > size:
            piece.cut = True
            return at
        if kind == FMT:
            _learn(formats, data, at)
        piece.messages.append((kind, at))
        at += known.length
    rest = data[at : at + _MOST_PADDING + 1]
    if rest and _MARK.startswith(rest[:2]) and len(rest) < _HEADER_BYTES:
        piece.cut = True
    elif len(rest) > _MOST_PADDING or rest.strip(rest[:1]) or rest[:1] not in (b"", b"\0", b"\xff"):
        piece.damaged = True
    else:
        at = size
    return at


def found(data: bytes, at: int, formats: Formats) -> int | None:
    """Where messages that follow each other begin, from ``at`` on; none where none do."""
    for mark in _MARKS.finditer(data, at):
        if _chained(data, mark.start(), formats):
            return mark.start()
    return None


def _chained(data: bytes, at: int, formats: Formats) -> bool:
    """Whether several messages follow each other at ``at``; two are enough up to the very end."""
    for count in range(_CHAIN_MESSAGES):
        if at == len(data) and count >= 2:
            return True
        known = formats.get(data[at + 2]) if at + 2 < len(data) else None
        if known is None or not data.startswith(_MARK, at):
            return False
        at += known.length
    return at <= len(data)


def described(data: bytes, at: int) -> tuple[int, Format] | None:
    """The type and format that the FMT message at ``at`` describes; none where it cannot be."""
    kind, length, name, fields, columns = _FMT_FIELDS.unpack_from(data, at + _HEADER_BYTES)
    if length < _HEADER_BYTES or not _NAME.fullmatch(name):
        return None
    told = [text.rstrip(b"\0").decode("ascii", "replace") for text in (name, fields, columns)]
    return kind, Format(length, told[0], told[1], tuple(told[2].split(",")))


def _learn(formats: Formats, data: bytes, at: int) -> None:
    found = described(data, at)
    if found is not None:
        formats.setdefault(*found)  # what was read by one format is not read by another
