"""Judge a PX4 ULog by its first and last bytes, and read what its header says.

Layout (PX4 user guide, "ULog File Format"; little endian): 7 magic bytes, a version byte, u64
microseconds at the start of the log, then records of u16 payload size, u8 type and payload.
There is no length, end mark or checksum: damage can be seen, completeness cannot be proven.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache

from petal_s3.errors import NotAFlightLog

MAGIC = b"ULog\x01\x12\x35"
ENCRYPTED_MAGIC = b"ULogEnc"
HEADER_BYTES = 16
TAIL_BYTES = 1024
FACT_CHARS = 128
START_FACT = "start-utc"
END_FACT = "end-us"

_RECORD = struct.Struct("<HB")
_DATA_TYPES = frozenset(b"ARDLCSOIMPQ")
_KINDS = re.compile(b"[%s]" % bytes(sorted(_DATA_TYPES)))
_TYPES = _DATA_TYPES | frozenset(b"BF")
# A record of an unknown type is one that a newer PX4 may write, and readers skip it. What pyulog
# (1.3.0) takes for damage in its place: no type, no payload, or a longer payload than this.
_LONGEST_UNKNOWN = 10_000
_NEWEST_KNOWN_VERSION = 1
_FLAG_BITS_BYTES = 40
# Four records in a row that fit each other do not occur by chance: over 2,000 cuts of real logs
# none was judged wrongly, and three would have done as well.
_CHAIN_RECORDS = 4
_LAST_MESSAGES = 9
TEXT_FACTS = {
    "sys_uuid": "sys-uuid",
    "ver_sw": "ver-sw",
    "ver_hw": "ver-hw",
    "sys_name": "sys-name",
    "log_type": "log-type",
}
# PX4 knows the date from GPS or a ground station (PR 25534); before 2000 it was never set. The
# clock of a log counts from boot, of some simulators from 1970: no vehicle runs for three years.
_EARLIEST_BOOT_US = 946_684_800 * 10**6
_LONGEST_UPTIME_US = 10**14
_RELEASE_STAGES = ((255, ""), (192, "-rc"), (128, "-beta"), (64, "-alpha"), (0, "-dev"))


def judge(shown: str, head: bytes, tail: bytes, size: int) -> tuple[str, dict[str, str]]:
    """Give the verdict and the facts of a file of ``size`` bytes that begins with the magic.

    ``head`` is its beginning, ``tail`` what follows when ``size`` is small, else the last
    ``TAIL_BYTES``; ``shown`` names the file in a refusal.
    Raises ``NotAFlightLog`` (``too_short``, ``zero_filled``, ``bad_header``).
    """
    if size < HEADER_BYTES:
        why = "is cut inside the 16-byte ULog header: it holds no data."
        raise NotAFlightLog(f"{shown} {why}", code="too_short")
    facts = {"boot-us": str(int.from_bytes(head[8:16], "little"))}
    if size == HEADER_BYTES:
        return "header_only", facts
    data = head + tail if size <= len(head) + len(tail) else head
    if not data[HEADER_BYTES:].strip(b"\0"):
        raise NotAFlightLog(
            f"{shown} has a ULog header but its body is empty (only zeros): nothing to upload.",
            code="zero_filled",
        )
    records, end, impossible = _walk(data)
    future = head[7] > _NEWEST_KNOWN_VERSION
    next_end = _next_end(data, end, size)
    if (
        not any(kind in _TYPES for kind, _ in records)
        and not future
        and end < size
        and (impossible or next_end <= size)
    ):
        raise NotAFlightLog(
            f"{shown} has a ULog header, but what follows it is not a ULog record.",
            code="bad_header",
        )
    facts |= _info_facts(records) | _start(records, int(facts["boot-us"]))
    ended = _end(records, tail, int(facts["boot-us"]), whole=data is not head)
    facts |= {END_FACT: ended} if ended else {}
    offsets, incompat, sound = _flag_bits(records, head[7], size)
    if offsets:
        facts["appended"] = str(len(offsets))
    faults = {
        "unknown_version": future,
        "incompat": incompat,
        "damaged": impossible or not sound or (len(tail) == TAIL_BYTES and not tail.strip(b"\0")),
        "truncated": next_end > size or (data is head and ends_cut(tail)),
    }
    return next((word for word, present in faults.items() if present), "complete"), facts


def ends_cut(tail: bytes) -> bool:
    """Tell whether a log that ends with ``tail`` stops inside a record.

    The longest chain of plausible records that reaches the end decides; without a chain of at
    least four (text or one very long record at the end) the answer is False: nothing seen.
    """
    _, length, whole = _chain(tail)
    return length >= _CHAIN_RECORDS and not whole


@lru_cache(maxsize=1)  # whether it is cut, and when it ended, is asked one after the other
def _chain(tail: bytes) -> tuple[int, int, bool]:
    """The longest chain of plausible records to the end: its start and length, if it is whole."""
    end = len(tail)
    # How many records lead from there to the end, and whether the last of them is whole.
    found = {end: (0, True)} | {start: (0, False) for start in range(max(0, end - 2), end)}
    for kind in reversed([match.start() for match in _KINDS.finditer(tail, 2)]):
        size = tail[kind - 2] | tail[kind - 1] << 8
        after = kind + 1 + size
        if not size:
            continue
        if after > end:
            found[kind - 2] = 0, False
        elif after in found:
            length, whole = found[after]
            found[kind - 2] = length + 1, whole
    longest = max(found, key=lambda start: (*found[start], -start))
    return (longest, *found[longest])


def _end(records: list[tuple[int, bytes]], tail: bytes, boot_us: int, *, whole: bool) -> str:
    """Microseconds at the last messages, as decimal; empty where ``tail`` does not tell.

    ``whole``: ``records`` are all there are. The median of the last ones: one may be stale.
    """
    start, length, _ = (0, 0, False) if whole else _chain(tail)
    if length >= _CHAIN_RECORDS:
        records = _walk(tail, start)[0]
    elif not whole:
        return ""
    told = [
        int.from_bytes(payload[2:10], "little")
        for kind, payload in records
        if kind == ord("D") and len(payload) >= 10
    ]
    last = sorted(at for at in told[-_LAST_MESSAGES:] if at >= boot_us)
    return str(last[len(last) // 2]) if last else ""


def fact_text(value: bytes) -> str:
    """Make printable ASCII of untrusted ``value``, at most 128 characters (an HTTP header)."""
    text = value.rstrip(b"\0 ")[:FACT_CHARS]
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in text).strip()


def release_text(number: int) -> str:
    """Spell PX4's ``ver_sw_release`` 0xAABBCCTT: 0x010E03FF is ``v1.14.3``, TT is the stage."""
    stage = next(word for least, word in _RELEASE_STAGES if number & 0xFF >= least)
    return f"v{number >> 24 & 0xFF}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}{stage}"


def _walk(data: bytes, position: int = HEADER_BYTES) -> tuple[list[tuple[int, bytes]], int, bool]:
    """Give the whole records (type, payload), where they end, and if what follows is none."""
    records: list[tuple[int, bytes]] = []
    while position + _RECORD.size <= len(data):
        size, kind = _RECORD.unpack_from(data, position)
        if not size or (kind not in _TYPES and not _may_be_newer(kind, size)):
            return records, position, True
        start = position + _RECORD.size
        if start + size > len(data):
            break
        records.append((kind, data[start : start + size]))
        position = start + size
    return records, position, False


def _may_be_newer(kind: int, size: int) -> bool:
    return kind != 0 and size <= _LONGEST_UNKNOWN


def _next_end(data: bytes, position: int, size: int) -> int:
    """Where the record at ``position`` would end; beyond ``size`` if its own header is cut."""
    if position == size:
        return size
    if position + _RECORD.size > size:
        return size + 1
    if position + _RECORD.size > len(data):
        return position
    return position + _RECORD.size + int.from_bytes(data[position : position + 2], "little")


def _flag_bits(
    records: list[tuple[int, bytes]], version: int, size: int
) -> tuple[list[int], bool, bool]:
    """Give the offsets of appended data, if unknown incompat bits are set, if all is sound.

    A log of the second generation may lack them, or begin with a record of another type.
    """
    flags = [payload for kind, payload in records if kind == ord("B")]
    if version == 0 or not flags:
        return [], False, True
    payload = flags[0]
    if len(payload) < _FLAG_BITS_BYTES:
        return [], False, False
    appended = bool(payload[8] & 1)
    incompat = bool(payload[8] & ~1) or any(payload[9:16])
    offsets = [at for at in struct.unpack_from("<3Q", payload, 16) if at] if appended else []
    return offsets, incompat, all(HEADER_BYTES < at <= size for at in offsets)


def _info_facts(records: list[tuple[int, bytes]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for declared, name, value in _infos(records):
        fact = _fact(declared, name, value)
        if fact is not None and fact[1]:
            facts.setdefault(*fact)
    return facts


def _infos(records: list[tuple[int, bytes]]) -> Iterator[tuple[str, str, bytes]]:
    """Type, name and value of each info message."""
    for kind, payload in records:
        key_end = 1 + payload[0]
        if kind == ord("I") and key_end <= len(payload):
            declared, _, name = payload[1:key_end].decode("ascii", "replace").partition(" ")
            yield declared, name, payload[key_end:]


def _start(records: list[tuple[int, bytes]], boot_us: int) -> dict[str, str]:
    """When the log began: the header counts from the boot, of which this tells the date."""
    for declared, name, value in _infos(records):
        if name == "boot_time_utc_us" and declared == "uint64_t" and len(value) == 8:
            booted_us = int.from_bytes(value, "little")
            if booted_us >= _EARLIEST_BOOT_US and boot_us < _LONGEST_UPTIME_US:
                return {START_FACT: str((booted_us + boot_us) // 10**6)}
    return {}


def _fact(declared: str, name: str, value: bytes) -> tuple[str, str] | None:
    if name in TEXT_FACTS and declared.startswith("char["):
        return TEXT_FACTS[name], fact_text(value)
    if name == "ver_sw_release" and declared == "uint32_t" and len(value) == 4:
        return "ver-sw-release", release_text(int.from_bytes(value, "little"))
    if name == "time_ref_utc" and declared == "int32_t" and len(value) == 4:
        return "time-ref-utc", str(int.from_bytes(value, "little", signed=True))
    return None
