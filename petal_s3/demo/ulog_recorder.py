"""Make flight logs in the format of PX4: ULog version 1."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import BinaryIO

_START_US = 20_000_000
_BLOCK_RECORDS = 8192

_ULOG_MESSAGE = "vibration_sample:uint64_t timestamp;int16_t[48] raw;"
_ULOG_RECORD = struct.Struct("<HBHQ96s")
_ULOG_PERIOD_US = 250
_ULOG_LOGGED = struct.Struct("<HBBQ")
_ULOG_INFO: Mapping[str, str | int] = {
    "ver_sw": "1c8ab2a0d7db2d14a6f320ebd8766b5ffaea28fa",
    "ver_sw_release": 0x010E03FF,
    "ver_hw": "PX4_FMU_V6X",
    "sys_name": "PX4",
    "sys_os_name": "NuttX",
    "ver_data_format": 1,
    "sys_uuid": "000600000000demo",
    "time_ref_utc": 0,
}


class UlogRecorder:
    """A ULog that grows straight under its final name, as PX4 writes it.

    Written to its end it has exactly ``total_bytes``; closed early it is smaller, but whole.
    """

    def __init__(self, path: Path, total_bytes: int, *, seed: int = 0) -> None:
        """Write the header and the definitions; ``ValueError`` if ``total_bytes`` is too few."""
        rng = random.Random(seed)  # noqa: S311 - sample data, not a secret
        definitions = _ulog_definitions()
        room = total_bytes - len(definitions) - _ULOG_LOGGED.size
        if room < 0:
            raise ValueError(f"a ULog needs {total_bytes - room} bytes, not {total_bytes}")
        self._left, self._padding = divmod(room, _ULOG_RECORD.size)
        self._sent = 0
        self._block = bytearray(
            b"".join(
                _ULOG_RECORD.pack(_ULOG_RECORD.size - 3, ord("D"), 0, 0, rng.randbytes(96))
                for _ in range(min(self._left, _BLOCK_RECORDS))
            )
        )
        self._file: BinaryIO = path.open("wb")
        self._file.write(definitions)
        self._file.flush()

    def write(self, n_bytes: int) -> int:
        """Record at least ``n_bytes`` more in whole records; gives the bytes written, 0 at end."""
        records = min(self._left, ceil(n_bytes / _ULOG_RECORD.size))
        written = 0
        while written < records:
            count = min(records - written, _BLOCK_RECORDS)
            self._write_block(count)
            written += count
        self._left -= written
        self._file.flush()
        return written * _ULOG_RECORD.size

    def close(self) -> None:
        """End the log as a landed vehicle does: one last line of text, then close."""
        text = b"[logger] closed logfile"
        if not self._left:
            text = text.ljust(self._padding)[: self._padding]
        size = _ULOG_LOGGED.size - 3 + len(text)
        self._file.write(_ULOG_LOGGED.pack(size, ord("L"), ord("6"), self._now_us) + text)
        self._file.close()

    def lose_power(self) -> None:
        """Stop where it stands."""
        self._file.close()

    @property
    def _now_us(self) -> int:
        return _START_US + self._sent * _ULOG_PERIOD_US

    def _write_block(self, count: int) -> None:
        stamp, now = struct.Struct("<Q").pack_into, self._now_us
        block, size = self._block, _ULOG_RECORD.size
        for index in range(count):
            stamp(block, index * size + 5, now + index * _ULOG_PERIOD_US)
        self._file.write(memoryview(block)[: count * size])
        self._sent += count


def _ulog_definitions() -> bytes:
    flag_bits = _ulog_record("B", bytes(40))
    info = b"".join(_ulog_record("I", _ulog_info(key, value)) for key, value in _ULOG_INFO.items())
    name = _ULOG_MESSAGE.partition(":")[0].encode()
    return b"".join(
        (
            b"ULog\x01\x12\x35\x01" + struct.pack("<Q", _START_US),
            flag_bits,
            info,
            _ulog_record("F", _ULOG_MESSAGE.encode()),
            _ulog_record("A", struct.pack("<BH", 0, 0) + name),
        )
    )


def _ulog_record(kind: str, payload: bytes) -> bytes:
    return struct.pack("<HB", len(payload), ord(kind)) + payload


def _ulog_info(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        declared, content = f"char[{len(value)}] {key}", value.encode()
    elif key == "time_ref_utc":
        declared, content = f"int32_t {key}", struct.pack("<i", value)
    else:
        declared, content = f"uint32_t {key}", struct.pack("<I", value)
    return bytes([len(declared)]) + declared.encode() + content
