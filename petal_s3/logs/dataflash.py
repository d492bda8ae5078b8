"""Judge an ArduPilot DataFlash log (``.BIN``) by the messages at its beginning and at its end.

Layout (ArduPilot, ``libraries/AP_Logger/LogStructure.h``; little endian): messages of the bytes
A3 95, a type and a payload. An FMT message (type 128, 89 bytes) tells a type's length, its 3 bytes
of header among it, and its fields; it comes before the first message of that type, and first of
all. There is no length, end mark or checksum of the whole: damage can be seen, completeness cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from petal_s3.errors import NotAFlightLog
from petal_s3.logs.dataflash_messages import (
    FMT,
    FMT_BYTES,
    LEAST_GAPS,
    Format,
    Formats,
    Piece,
    described,
    follow,
    found,
    through,
)
from petal_s3.logs.reading import Read
from petal_s3.logs.ulog import END_FACT, START_FACT, fact_text

HEAD_BYTES = 64 * 1024
"""Of real logs the formats take 10 to 20 KiB; parameters and the name of the firmware follow."""
TAIL_BYTES = 32 * 1024

_ABOUT_FORMATS = frozenset({"FMT", "FMTU", "UNIT", "MULT"})
_LAST_MESSAGES = 9
_FIRMWARE = re.compile(rb"(?:APM:)?([A-Za-z][\w-]{0,30}) V([0-9][^ ]{0,30}) \(([0-9a-f]{6,40})\)")
_GPS_EPOCH_S, _LEAP_S = 315_964_800, 18  # leap seconds since 2017
_WEEK_S, _WEEKS = 604_800, range(1043, 5000)  # from the year 2000 on
_LEAST_FIX = 3
_LONGEST_UPTIME_US = 10**14


def judge(shown: str, head: bytes, read: Read, size: int) -> tuple[str, dict[str, str]]:
    """Give the verdict and the facts of a file of ``size`` bytes that begins with the magic.

    ``head`` is its beginning; of the rest at most ``HEAD_BYTES`` and ``TAIL_BYTES`` are read.
    ``shown`` names the file in a refusal.
    Raises ``NotAFlightLog`` (``too_short``, ``zero_filled``, ``bad_header``).
    """
    data = head + read(len(head), max(0, min(size, HEAD_BYTES) - len(head)))
    if len(data) < FMT_BYTES:
        why = f"is cut inside its first message ({FMT_BYTES} bytes): it holds no data."
        raise NotAFlightLog(f"{shown} {why}", code="too_short")
    if not data[3:].strip(b"\0"):
        why = "begins like a DataFlash log but its body is empty (only zeros): nothing to upload."
        raise NotAFlightLog(f"{shown} {why}", code="zero_filled")
    if described(data, 0) is None:
        why = "begins like a DataFlash log, but its first message describes no format."
        raise NotAFlightLog(f"{shown} {why}", code="bad_header")
    formats = Formats({FMT: Format(FMT_BYTES, "FMT", "BBnNZ", ("Type", "Length"))})
    first = Piece(data)
    end = follow(first, 0, formats)
    last = first if len(data) >= size else _last(first, end, read, size, formats)
    facts = _times(first, last, formats) | _firmware(first, formats)
    return _verdict(first, last, formats), facts


def _verdict(first: Piece, last: Piece, formats: Formats) -> str:
    if first.damaged or last.damaged:
        return "damaged"
    if last.cut:
        return "truncated"
    if last is first and all(formats[kind].name in _ABOUT_FORMATS for kind, _ in first.messages):
        return "header_only"
    return "complete"


def _last(first: Piece, end: int, read: Read, size: int, formats: Formats) -> Piece:
    """The messages in the last bytes; ``end``: where those of ``first`` end."""
    at = max(end, size - TAIL_BYTES)
    data = read(at, size - at)
    start = 0 if at == end and not first.damaged else found(data, 0, formats)
    last, gaps = through(data, start, formats)
    told = reversed(gaps.most_common())  # of several lengths of a type the most common one
    late = {kind: length for (kind, length), seen in told if seen >= LEAST_GAPS}
    if late:
        guessed = {kind: Format(length, "", "", ("",)) for kind, length in late.items()}
        formats |= guessed | formats
        last, _ = through(data, start, formats)
    return last


def _times(first: Piece, last: Piece, formats: Formats) -> dict[str, str]:
    """When the log begins and ends since the boot, and its beginning by GPS, where it tells so."""
    begins = next(_clocks(first, formats), None)
    if begins is None:
        return {}
    ends = sorted(at for at in list(_clocks(last, formats))[-_LAST_MESSAGES:] if at >= begins)
    facts = {"boot-us": str(begins)}
    if ends:
        facts[END_FACT] = str(ends[len(ends) // 2])  # the median: one may be stale
    for piece in (last, first):
        for kind, at in reversed(piece.messages):
            if formats[kind].name == "GPS":
                start = _start(formats[kind].numbers(piece.data, at), begins)
                if start is not None:
                    return facts | {START_FACT: str(start)}
    return facts


def _clocks(piece: Piece, formats: Formats) -> Iterator[int]:
    timed = {kind for kind, known in formats.items() if known.timed}
    for kind, at in piece.messages:
        if kind in timed:
            yield int.from_bytes(piece.data[at + 3 : at + 11], "little")


def _start(gps: dict[str, int], begins: int) -> int | None:
    """Seconds since 1970 at the log's beginning, by one GPS message; none without a fix."""
    week, since = gps.get("GWk", 0), gps.get("TimeUS", -1) - begins
    if gps.get("Status", 0) < _LEAST_FIX or week not in _WEEKS:
        return None
    if not 0 <= since < _LONGEST_UPTIME_US:
        return None
    now = _GPS_EPOCH_S - _LEAP_S + week * _WEEK_S + gps.get("GMS", 0) / 1000
    return int(now - since / 1e6)


def _firmware(first: Piece, formats: Formats) -> dict[str, str]:
    """The firmware's name, release and commit, by the first message text that tells them."""
    for kind, at in first.messages:
        if formats[kind].name == "MSG":
            said = _FIRMWARE.search(first.data[at : at + formats[kind].length])
            if said:
                name, release, commit = map(fact_text, said.groups())
                return {"sys-name": name, "ver-sw-release": f"v{release}", "ver-sw": commit}
    return {}
