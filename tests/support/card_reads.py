"""What an autopilot was asked to read of a file, and how much of that it was asked for twice."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from petal_s3.autopilot.mavftp import DATA_BYTES, Opcode

_HEAD = struct.Struct("<HBBBBBBI")
HEAD_BYTES = _HEAD.size


class Read(NamedTuple):
    """So many bytes from there on."""

    offset: int
    size: int


def read_of(payload: bytes) -> Read | None:
    """What a request reads; none where it is another one."""
    _, _, opcode, size, _, _, _, offset = _HEAD.unpack_from(payload)
    return Read(offset, size) if opcode == Opcode.READ else None


def asked_again(before: Sequence[Read], after: Sequence[Read], size: int) -> int:
    """How many bytes of one file were asked for ``before`` something, and again ``after`` it.

    What is asked at its very end, again and again, proves that it is still the same file.
    """
    last = size - DATA_BYTES
    far = max((one.offset + one.size for one in before if one.offset < last), default=0)
    return sum(one.size for one in after if one.offset < min(far, last))
