"""Judge a ROS 1 bag by its header and its first record.

Layout (ROS wiki, "Bags/Format/2.0"; little endian): 13 magic bytes; a bag header record, padded;
chunks; at ``index_pos`` the connection records and
one chunk info per chunk. The recorder writes ``index_pos`` last: 0 means it never closed the bag.
Where the first chunk begins follows from the two lengths of the header record: at 4117 as ROS
pads it, at 4109 as the Python library rosbags (0.11.9) does. In a bag that ROS has encrypted, what
``index_pos`` points to is ciphertext: only the header can be judged.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from petal_s3.errors import NotAFlightLog

MAGIC = b"#ROSBAG V2.0\n"
USUAL_FIRST_RECORD = len(MAGIC) + 4 + 4 + 4096
PROBE_BYTES = 1024

_U32 = struct.Struct("<I")
_FIELDS_AT = len(MAGIC) + _U32.size
_HEADER_LENGTHS = range(30, 4097)
_MOST_PADDING = 4096
_COUNTERS = {"index_pos": 8, "conn_count": 4, "chunk_count": 4}
_OP_BAG_HEADER, _OP_CHUNK, _OP_CONNECTION = 3, 5, 7
# The least that the fields of one record in the index take; a shorter index was cut.
_LEAST_CHUNK_INFO, _LEAST_CONNECTION = 108, 40


@dataclass(frozen=True)
class Header:
    """What the bag header record says: a position in bytes, two counts, if it is encrypted."""

    index_pos: int
    conn_count: int
    chunk_count: int
    encrypted: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """The same as metadata, decimal."""
        return {
            "chunk-count": str(self.chunk_count),
            "conn-count": str(self.conn_count),
            "index-pos": str(self.index_pos),
        }


def judge(shown: str, head: bytes, first: bytes, size: int) -> tuple[str, dict[str, str]]:
    """Give the verdict and the facts of a file of ``size`` bytes that begins with the magic.

    ``head`` is its beginning, ``first`` up to ``PROBE_BYTES`` from :func:`first_record` on;
    ``shown`` names the file in a refusal.
    Raises ``NotAFlightLog`` (``too_short``, ``zero_filled``, ``bad_header``).
    """
    if not head[len(MAGIC) :].strip(b"\0") and size > len(MAGIC):
        raise _zero_filled(shown)
    starts_at = first_record(head)
    if size < starts_at:
        raise NotAFlightLog(
            f"{shown} is cut inside the bag header ({starts_at} bytes): it holds no data.",
            code="too_short",
        )
    header = parse_header(head)
    if header is None:
        raise NotAFlightLog(
            f"{shown} begins like a ROS bag, but its header record is damaged.", code="bad_header"
        )
    if not header.index_pos and first and not first.strip(b"\0"):
        raise _zero_filled(shown)
    return _verdict(header, starts_at, first, size), header.facts


def first_record(head: bytes) -> int:
    """Where the record after the header record begins, by the lengths of that.

    As ROS pads it where ``head`` does not reach so far, or the lengths are impossible.
    """
    if len(head) >= _FIELDS_AT:
        (length,) = _U32.unpack_from(head, len(MAGIC))
        padding_at = _FIELDS_AT + length
        if length in _HEADER_LENGTHS and padding_at + _U32.size <= len(head):
            (padding,) = _U32.unpack_from(head, padding_at)
            if padding <= _MOST_PADDING:
                return int(padding_at + _U32.size + padding)
    return USUAL_FIRST_RECORD


def parse_header(head: bytes) -> Header | None:
    """Read the bag header record; None when it is not one. Nothing is allocated by its lengths.

    Fields that lie beyond ``head`` are not read; ``op`` and the three counters must not.
    """
    if len(head) < _FIELDS_AT:
        return None
    (length,) = _U32.unpack_from(head, len(MAGIC))
    if length not in _HEADER_LENGTHS:
        return None
    fields = _fields(head[_FIELDS_AT : _FIELDS_AT + length], length)
    if fields is None or fields.get("op") != bytes([_OP_BAG_HEADER]):
        return None
    values = {name: fields.get(name, b"") for name in _COUNTERS}
    if any(len(values[name]) != width for name, width in _COUNTERS.items()):
        return None
    counters = {name: int.from_bytes(value, "little") for name, value in values.items()}
    return Header(**counters, encrypted=bool(fields.get("encryptor")))


def _verdict(header: Header, starts_at: int, first: bytes, size: int) -> str:
    sound = header.encrypted or _first_record_sound(header, starts_at, first, size)
    if size > starts_at and not sound:
        return "damaged"
    if not header.index_pos:
        return "unindexed"
    if header.index_pos > size:
        return "truncated"
    if header.index_pos < starts_at:
        return "damaged"
    if header.encrypted:
        return "truncated" if header.index_pos == size and header.chunk_count else "complete"
    least = header.chunk_count * _LEAST_CHUNK_INFO + header.conn_count * _LEAST_CONNECTION
    return "truncated" if size - header.index_pos < least else "complete"


def _first_record_sound(header: Header, starts_at: int, first: bytes, size: int) -> bool:
    """Tell whether a chunk begins after the header, or the index where that is said to begin.

    A record whose own header is cut by the end of the file counts as sound: it is only short.
    """
    if len(first) < _U32.size:
        return True
    length = int.from_bytes(first[: _U32.size], "little")
    record = first[_U32.size : _U32.size + length]
    if starts_at + _U32.size + length > size:
        return 0 < length <= PROBE_BYTES
    fields = _fields(record, length) if length else None
    op = _OP_CONNECTION if header.index_pos == starts_at else _OP_CHUNK
    return fields is not None and fields.get("op") == bytes([op])


def _fields(record: bytes, length: int) -> Mapping[str, bytes] | None:
    """Split ``name=value`` fields of a record header of ``length`` bytes, of which ``record``
    may be only the beginning; None when they run over its end, repeat or lack the ``=``."""
    fields: dict[str, bytes] = {}
    position = 0
    while position < len(record):
        start = position + _U32.size
        if start > length:
            return None
        if start > len(record):
            break
        (field_length,) = _U32.unpack_from(record, position)
        position = start + field_length
        if position > length:
            return None
        if position > len(record):
            break
        name, equals, value = record[start:position].partition(b"=")
        key = name.decode("ascii", "replace")
        if not equals or not name or key in fields:
            return None
        fields[key] = value
    return fields


def _zero_filled(shown: str) -> NotAFlightLog:
    return NotAFlightLog(
        f"{shown} begins like a ROS bag but its body is empty (only zeros): nothing to upload.",
        code="zero_filled",
    )
