"""Judge an encrypted ULog (``.ulge``, or ``.ulgc`` as PX4 names it) by its header.

Layout (PX4 user guide, "Log Encryption", v1.16; little endian): 7 magic bytes, u8 version, u64
microseconds since the boot, u8 algorithm and u8 index of the key that wraps, u16 size of the
wrapped key, u16 size of the nonce; both of these; then the log, encrypted as a stream. What the log
says, and whether it is whole, only the holder of the private key can tell.
"""

from __future__ import annotations

import struct

from petal_s3.errors import NotAFlightLog
from petal_s3.logs.reading import Read

TAIL_BYTES = 1024

_HEADER = struct.Struct("<7sBQBBHH")
_KNOWN_VERSION = 1


def judge(shown: str, head: bytes, read: Read, size: int) -> tuple[str, dict[str, str]]:
    """Give the verdict and the facts of a file of ``size`` bytes that begins with the magic.

    ``head`` is its beginning; of the rest at most ``TAIL_BYTES`` are read. ``shown`` names the
    file in a refusal. Raises ``NotAFlightLog`` (``too_short``, ``zero_filled``, ``bad_header``).
    """
    if size < _HEADER.size:
        why = (
            f"is cut inside the {_HEADER.size}-byte header of an encrypted ULog: it holds no data."
        )
        raise NotAFlightLog(f"{shown} {why}", code="too_short")
    if not head[_HEADER.size :].strip(b"\0") and size > _HEADER.size:
        why = "has the header of an encrypted ULog but its body is empty (only zeros)."
        raise NotAFlightLog(f"{shown} {why}", code="zero_filled")
    _, version, boot_us, _, key_index, key_bytes, nonce_bytes = _HEADER.unpack_from(head)
    if version != _KNOWN_VERSION:
        return "unknown_version", {}
    if not key_bytes:
        why = "has the header of an encrypted ULog, but names no key: nobody can decrypt it."
        raise NotAFlightLog(f"{shown} {why}", code="bad_header")
    facts = {"boot-us": str(boot_us), "key-index": str(key_index)}
    starts_at = _HEADER.size + key_bytes + nonce_bytes
    if size <= starts_at:
        return ("header_only" if size == starts_at else "truncated"), facts
    tail = read(max(starts_at, size - TAIL_BYTES), TAIL_BYTES)
    zeros = len(tail) == TAIL_BYTES and not tail.strip(b"\0")
    return ("damaged" if zeros else "complete"), facts
