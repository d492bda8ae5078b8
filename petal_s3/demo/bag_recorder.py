"""Make recordings in the format of ROS 1: bag version 2.0."""

from __future__ import annotations

import random
import struct
from math import ceil
from pathlib import Path
from typing import BinaryIO

_START_S = 1_760_000_000

_BAG_MAGIC = b"#ROSBAG V2.0\n"
_BAG_HEADER_BYTES = 4096
_BAG_FIRST_RECORD = len(_BAG_MAGIC) + 8 + _BAG_HEADER_BYTES
_BAG_FRAME_BYTES = 32 * 1024
_BAG_CHUNK_FRAMES = 24
_BAG_PERIOD_NS = 5_000_000
_BAG_TOPIC = b"/camera/image/compressed"
_BAG_TYPE = b"sensor_msgs/CompressedImage"
_BAG_TYPE_MD5 = b"8f7a12909da2c9d3332d540a0977563f"
_BAG_DEFINITION = (
    b"std_msgs/Header header\nstring format\nuint8[] data\n"
    + b"=" * 80
    + b"\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"
)


class BagRecorder:
    """A bag that grows as ``NAME.bag.active`` and gets its own name when closed, as in ROS.

    Written to its end it has exactly ``total_bytes``; closed early it is smaller, but whole.
    It grows by whole chunks of 24 camera frames (768 KiB).
    """

    def __init__(
        self, path: Path, total_bytes: int, *, seed: int = 0, indexed: bool = True
    ) -> None:
        """Write the header; ``ValueError`` if ``total_bytes`` hold no chunk."""
        self._noise = random.Random(seed).randbytes(1 << 20)  # noqa: S311 - sample data
        self._indexed = indexed
        self._frames = _frame_plan(total_bytes, indexed=indexed)
        self._next = self._sent = 0
        self._chunks: list[tuple[int, int, int]] = []
        self._path = path
        self._active = path.with_name(path.name + ".active")
        self._file: BinaryIO = self._active.open("wb")
        self._file.write(_bag_header(0, 0, 0))
        self._file.flush()

    def write(self, n_bytes: int) -> int:
        """Record at least ``n_bytes`` more, whole chunks; gives the bytes written, 0 at the end."""
        start = self._file.tell()
        while self._next < len(self._frames) and self._file.tell() - start < n_bytes:
            self._write_chunk(*self._frames[self._next])
            self._next += 1
        self._file.flush()
        return self._file.tell() - start

    def close(self) -> None:
        """Write the index, say in the header where it is, and give the file its final name."""
        if self._indexed:
            index_pos = self._file.tell()
            self._file.write(_connection())
            self._file.writelines(_chunk_info(*chunk) for chunk in self._chunks)
            self._file.seek(0)
            self._file.write(_bag_header(index_pos, 1, len(self._chunks)))
        self._file.close()
        self._active.rename(self._path)

    def lose_power(self) -> None:
        """Stop where it stands, still under the name ``NAME.bag.active``."""
        self._file.close()

    def _write_chunk(self, frames: int, data_bytes: int) -> None:
        position = self._file.tell()
        parts, index, offset = [_connection()], [], len(_connection())
        share, extra = divmod(data_bytes, frames)
        for frame in range(frames):
            message = self._message(share + (frame < extra))
            index.append(_time(self._sent) + struct.pack("<I", offset))
            parts.append(message)
            offset += len(message)
            self._sent += 1
        header = _header(op=b"\x05", compression=b"none", size=struct.pack("<I", offset))
        self._file.write(header + struct.pack("<I", offset))
        self._file.writelines(parts)
        self._file.write(_index_data(b"".join(index), frames))
        self._chunks.append((position, self._sent - frames, frames))

    def _message(self, data_bytes: int) -> bytes:
        stamp = struct.pack("<I", self._sent) + _time(self._sent)
        head = stamp + _string(b"camera") + _string(b"jpeg") + struct.pack("<I", data_bytes)
        # An odd stride: the same noise, but nowhere at the same place of a frame twice.
        at = self._sent * 7919 % (len(self._noise) - data_bytes)
        record = _header(op=b"\x02", conn=bytes(4), time=_time(self._sent))
        length = struct.pack("<I", len(head) + data_bytes)
        return b"".join((record, length, head, self._noise[at : at + data_bytes]))


def _frame_plan(total_bytes: int, *, indexed: bool) -> list[tuple[int, int]]:
    """How many frames, and bytes of picture data, each chunk gets to reach ``total_bytes``."""
    room = total_bytes - _BAG_FIRST_RECORD - (len(_connection()) if indexed else 0)
    frame = len(_header(op=b"\x02", conn=bytes(4), time=bytes(8))) + 4 + 12 + 10 + 8 + 4 + 12
    chunk = len(_header(op=b"\x05", compression=b"none", size=bytes(4))) + 4
    chunk += len(_connection()) + len(_index_data(b"", 0))
    chunk += len(_chunk_info(0, 0, 0)) if indexed else 0
    if room < chunk + frame:
        least = total_bytes - room + chunk + frame
        raise ValueError(f"a bag needs {least} bytes, not {total_bytes}")
    full = chunk + _BAG_CHUNK_FRAMES * (frame + _BAG_FRAME_BYTES)
    count, rest = divmod(room, full)
    if 0 < rest < chunk + frame:
        count, rest = count - 1, rest + full
    plan = [(_BAG_CHUNK_FRAMES, _BAG_CHUNK_FRAMES * _BAG_FRAME_BYTES)] * count
    if rest:
        frames = ceil((rest - chunk) / (frame + _BAG_FRAME_BYTES))
        plan.append((frames, rest - chunk - frames * frame))
    return plan


def _bag_header(index_pos: int, conn_count: int, chunk_count: int) -> bytes:
    header = _header(
        op=b"\x03",
        index_pos=struct.pack("<Q", index_pos),
        conn_count=struct.pack("<I", conn_count),
        chunk_count=struct.pack("<I", chunk_count),
    )
    padding = _BAG_HEADER_BYTES - (len(header) - 4)
    return _BAG_MAGIC + header + struct.pack("<I", padding) + b" " * padding


def _connection() -> bytes:
    data = _fields(
        topic=_BAG_TOPIC,
        type=_BAG_TYPE,
        md5sum=_BAG_TYPE_MD5,
        message_definition=_BAG_DEFINITION,
    )
    return _header(op=b"\x07", conn=bytes(4), topic=_BAG_TOPIC) + _string(data)


def _index_data(entries: bytes, count: int) -> bytes:
    one = struct.pack("<I", 1)
    header = _header(op=b"\x04", ver=one, conn=bytes(4), count=struct.pack("<I", count))
    return header + _string(entries)


def _chunk_info(position: int, first_frame: int, frames: int) -> bytes:
    header = _header(
        op=b"\x06",
        ver=struct.pack("<I", 1),
        chunk_pos=struct.pack("<Q", position),
        start_time=_time(first_frame),
        end_time=_time(first_frame + max(frames - 1, 0)),
        count=struct.pack("<I", 1),
    )
    return header + _string(struct.pack("<II", 0, frames))


def _time(frame: int) -> bytes:
    seconds, nanoseconds = divmod(frame * _BAG_PERIOD_NS, 10**9)
    return struct.pack("<II", _START_S + seconds, nanoseconds)


def _header(**fields: bytes) -> bytes:
    return _string(_fields(**fields))


def _fields(**fields: bytes) -> bytes:
    return b"".join(_string(name.encode() + b"=" + value) for name, value in fields.items())


def _string(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value
