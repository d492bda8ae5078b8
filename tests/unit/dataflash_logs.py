"""DataFlash logs as tests write them, message by message."""

from __future__ import annotations

import struct

MARK = b"\xa3\x95"
FORMATS = {
    "FMT": (128, 89, "BBnNZ", "Type,Length,Name,Format,Columns"),
    "PARM": (64, 3 + 8 + 16 + 4, "QNf", "TimeUS,Name,Value"),
    "MSG": (65, 3 + 8 + 64, "QZ", "TimeUS,Message"),
    "GPS": (66, 3 + 8 + 1 + 4 + 2, "QBIH", "TimeUS,Status,GMS,GWk"),
    "IMU": (67, 3 + 8 + 12, "Qfff", "TimeUS,GyrX,GyrY,GyrZ"),
}


def fmt(name: str, kind: int, length: int, fields: str, columns: str) -> bytes:
    told = name.encode(), fields.encode(), columns.encode()
    return MARK + b"\x80" + struct.pack("<BB4s16s64s", kind, length, *told)


def known(name: str) -> bytes:
    kind, length, fields, columns = FORMATS[name]
    return fmt(name, kind, length, fields, columns)


def message(name: str, content: bytes) -> bytes:
    kind, length, *_ = FORMATS[name]
    return (MARK + bytes([kind]) + content).ljust(length, b"\0")


def imu(at_us: int) -> bytes:
    return message("IMU", struct.pack("<Qfff", at_us, 0.5, -0.25, 1.0))


def gps(at_us: int, week: int, ms: int, status: int = 3) -> bytes:
    return message("GPS", struct.pack("<QBIH", at_us, status, ms, week))


def said(at_us: int, text: bytes) -> bytes:
    return message("MSG", struct.pack("<Q64s", at_us, text))


ALL_FORMATS = b"".join(known(name) for name in FORMATS)
BEGIN = ALL_FORMATS + said(5_000_000, b"ArduCopter V4.5.7 (2a3dc4b7)")


def flight(messages: int, *, begin: bytes = BEGIN) -> bytes:
    """A log of so many further messages, ten a second, each tenth of them of the GPS."""
    body = [
        gps(at, 2378, 252_000_000 + at // 1000) if at % 1_000_000 == 0 else imu(at)
        for at in range(5_100_000, 5_100_000 + 100_000 * messages, 100_000)
    ]
    return begin + b"".join(body)
