"""Judge an MCAP file by its header, its footer and the summary between them.

Layout (mcap.dev, "MCAP File Format Specification"; little endian): 8 magic bytes; records of u8
opcode, u64 length and content, the first one a header; data; an optional summary; a footer record
that tells where the summary begins, and its CRC-32; the magic bytes again. The writer writes the
end when it closes the file: without it the file was never closed, or was cut.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from petal_s3.errors import NotAFlightLog
from petal_s3.logs.reading import Read
from petal_s3.logs.ulog import START_FACT, fact_text

TAIL_BYTES = 1024

_WHOLE_MAGIC = b"\x89MCAP0\r\n"
_VERSION_AT, _LINE_END = 5, b"\r\n"
_RECORD = struct.Struct("<BQ")
_FOOTER = struct.Struct("<BQQQI")
_STATISTICS = struct.Struct("<QHIIIIQQ")
_END_BYTES = _FOOTER.size + len(_WHOLE_MAGIC)
_OP_HEADER, _OP_FOOTER, _OP_STATISTICS = 1, 2, 11
_TIMES_AT = {5: 6, 6: 0}  # in a message, in a chunk
_FIRST_RECORD = len(_WHOLE_MAGIC)
_LONGEST_HEADER = 4096
_MOST_SUMMARY = 1024 * 1024
# How far records are followed where there is no end: some 700 MB of chunks as rosbag2 writes them.
_WINDOW_BYTES, _MOST_WINDOWS, _MOST_RECORDS = 4096, 1024, 20_000
_NS, _EARLIEST_S, _LATEST_S = 10**9, 946_684_800, 4_102_444_800  # the years 2000 to 2100


@dataclass(frozen=True)
class _Header:
    """The header record: where the record after it begins, and its two texts."""

    end: int
    facts: dict[str, str]


def judge(shown: str, head: bytes, read: Read, size: int) -> tuple[str, dict[str, str]]:
    """Give the verdict and the facts of a file of ``size`` bytes that begins with the magic.

    ``head`` is its beginning; of a closed file the footer and a summary of at most 1 MiB are read,
    of any other the headers of its records, up to 4 MiB in all. ``shown`` names the file in a
    refusal. Raises ``NotAFlightLog`` (``too_short``, ``zero_filled``, ``bad_header``).
    """
    if not head[_FIRST_RECORD:].strip(b"\0"):
        why = "begins like an MCAP file but its body is empty (only zeros): nothing to upload."
        raise NotAFlightLog(f"{shown} {why}", code="zero_filled")
    if not head.startswith(_WHOLE_MAGIC):
        if head[_VERSION_AT + 1 :].startswith(_LINE_END):
            return "unknown_version", {}
        why = "begins like an MCAP file whose line ends were changed: copy it as binary."
        raise NotAFlightLog(f"{shown} {why}", code="bad_header")
    header = _header(shown, head, size)
    tail = read(max(header.end, size - TAIL_BYTES), TAIL_BYTES)
    if tail.endswith(_WHOLE_MAGIC):
        return _closed(header, tail, read, size)
    if len(tail) == TAIL_BYTES and not tail.strip(b"\0"):
        return "damaged", header.facts
    facts = header.facts | _since(_started(header.end, read))
    return _followed(header.end, read, size), facts


def _header(shown: str, head: bytes, size: int) -> _Header:
    opcode, start, length = next(_records(head[_FIRST_RECORD:]), (_OP_HEADER, _RECORD.size, 0))
    start += _FIRST_RECORD
    if opcode == _OP_HEADER and length <= _LONGEST_HEADER and start + length > size:
        why = "is cut inside its header record: it holds no data."
        raise NotAFlightLog(f"{shown} {why}", code="too_short")
    texts = _texts(head[start : start + length], length)
    if opcode != _OP_HEADER or start + length > size or texts is None:
        why = "begins like an MCAP file, but its header record is damaged."
        raise NotAFlightLog(f"{shown} {why}", code="bad_header")
    named = zip(("profile", "library"), map(fact_text, texts), strict=False)
    return _Header(start + length, {name: text for name, text in named if text})


def _texts(content: bytes, length: int) -> list[bytes] | None:
    """The two texts at the beginning of a record of ``length`` bytes; none where it has not both.

    Where ``content``, its first bytes, ends before, the texts end there too.
    """
    texts, at = [], 0
    for _ in range(2):
        end = at + 4 + int.from_bytes(content[at : at + 4], "little")
        if end > length:
            return None
        texts.append(content[at + 4 : end])
        at = end
    return texts


def _closed(header: _Header, tail: bytes, read: Read, size: int) -> tuple[str, dict[str, str]]:
    """The verdict and the facts of a file that ends with the magic."""
    if len(tail) < _END_BYTES:
        return "damaged", header.facts
    end = size - _END_BYTES
    opcode, length, start, offsets, crc = _FOOTER.unpack_from(tail, len(tail) - _END_BYTES)
    sound = (opcode, length) == (_OP_FOOTER, _FOOTER.size - _RECORD.size)
    if not sound or not _in_order(header.end, start, offsets, end):
        return "damaged", header.facts
    summary = read(start, end - start) if start > 0 and end - start <= _MOST_SUMMARY else b""
    if summary and crc and zlib.crc32(tail[-_END_BYTES:-12], zlib.crc32(summary)) != crc:
        return "damaged", header.facts
    records = list(_records(summary))
    if records and sum(records[-1][1:]) != len(summary):
        return "damaged", header.facts
    counted = (summary[at : at + n] for opcode, at, n in records if opcode == _OP_STATISTICS)
    counts = _counts(next(counted, b"")) or _since(_started(header.end, read))
    return "complete", header.facts | counts


def _in_order(header_end: int, summary: int, offsets: int, end: int) -> bool:
    """Whether the summary, and in it the offsets, lie behind the header and before the footer.

    0 stands for none of it.
    """
    if not summary:
        return True
    return header_end <= summary <= end and (not offsets or summary <= offsets <= end)


def _counts(content: bytes) -> dict[str, str]:
    """What the content of a statistics record tells; nothing where there is none."""
    if len(content) < _STATISTICS.size:
        return {}
    messages, _, channels, _, _, chunks, begins, ends = _STATISTICS.unpack_from(content)
    counts = {"message-count": messages, "channel-count": channels, "chunk-count": chunks}
    facts = {name: str(count) for name, count in counts.items()} | _since(begins)
    return facts | ({"end-utc": str(ends // _NS)} if START_FACT in facts and ends >= begins else {})


def _since(begins_ns: int) -> dict[str, str]:
    """The beginning of the log, where its clock counts from 1970."""
    known = _EARLIEST_S * _NS <= begins_ns < _LATEST_S * _NS
    return {START_FACT: str(begins_ns // _NS)} if known else {}


def _started(at: int, read: Read) -> int:
    """Nanoseconds at the first messages behind ``at``; 0 where the next 4 KiB do not tell."""
    window = read(at, _WINDOW_BYTES)
    for opcode, start, _ in _records(window):
        time_at = start + _TIMES_AT.get(opcode, len(window))
        if time_at + 8 <= len(window):
            return int.from_bytes(window[time_at : time_at + 8], "little")
    return 0


def _followed(at: int, read: Read, size: int) -> str:
    """The verdict of a file without its end, whose records are followed from ``at`` on.

    ``truncated`` where it ends inside a record, ``unindexed`` where it ends with one, or has more
    of them than are followed.
    """
    if at == size:
        return "header_only"
    count = 0
    for _ in range(_MOST_WINDOWS):
        begin = at
        for opcode, start, length in _records(read(begin, _WINDOW_BYTES)):
            at = begin + start + length
            count += 1
            verdict = _last_record(opcode, at, size)
            if verdict or count == _MOST_RECORDS:
                return verdict or "unindexed"
        if at == begin:  # less is left than the header of a record
            return "truncated"
    return "unindexed"


def _last_record(opcode: int, end: int, size: int) -> str:
    """The verdict where a record up to ``end`` is the last that can be followed; else empty."""
    if not opcode:
        return "damaged"
    if end > size:
        return "truncated"
    if opcode == _OP_FOOTER:  # what comes behind it is not the magic, or more than that
        return "damaged" if size - end >= len(_WHOLE_MAGIC) else "truncated"
    return "unindexed" if end == size else ""


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode of each record of which the header is in ``data``, its content's place and length."""
    at = 0
    while at + _RECORD.size <= len(data):
        opcode, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield opcode, at, length
        at += length
