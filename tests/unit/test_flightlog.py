"""What a flight log is, row by row of what lies on real disks."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.demo.bag_recorder import BagRecorder
from petal_s3.demo.logs import recorder, write_bag, write_ulog
from petal_s3.demo.ulog_recorder import UlogRecorder
from petal_s3.errors import (
    NotAFlightLog,
    NotFinished,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceAway,
)
from petal_s3.logs.log_file import MAX_BYTES, FlightLog, examine
from petal_s3.logs.log_time import log_time
from petal_s3.logs.opening import Identity, open_log
from petal_s3.logs.sniff import named_like, shown_name

MOST_READ_BYTES = 4096
ULOG_MAGIC = b"ULog\x01\x12\x35"
BAG_MAGIC = b"#ROSBAG V2.0\n"
FIRST_RECORD = 4117
VERDICTS = {
    "complete",
    "truncated",
    "unindexed",
    "header_only",
    "unknown_version",
    "incompat",
    "damaged",
}


def record(kind: str, payload: bytes) -> bytes:
    return struct.pack("<HB", len(payload), ord(kind)) + payload


def info(declared: str, value: bytes) -> bytes:
    return record("I", bytes([len(declared)]) + declared.encode() + value)


def flag_bits(
    *, compat: bytes = b"", incompat: bytes = b"", offsets: tuple[int, ...] = ()
) -> bytes:
    places = (*offsets, 0, 0, 0)[:3]
    return record(
        "B", compat.ljust(8, b"\0") + incompat.ljust(8, b"\0") + struct.pack("<3Q", *places)
    )


def ulog(*records: bytes, version: int = 1, boot_us: int = 20309082) -> bytes:
    return ULOG_MAGIC + bytes([version]) + struct.pack("<Q", boot_us) + b"".join(records)


def data(count: int, size: int = 50) -> bytes:
    return b"".join(
        record("D", bytes(2) + struct.pack("<Q", n) + b"\xa5" * size) for n in range(count)
    )


def field(name: str, value: bytes) -> bytes:
    text = name.encode() + b"=" + value
    return struct.pack("<I", len(text)) + text


def counters(index_pos: int = 0, conns: int = 0, chunks: int = 0) -> bytes:
    return (
        field("index_pos", struct.pack("<Q", index_pos))
        + field("conn_count", struct.pack("<I", conns))
        + field("chunk_count", struct.pack("<I", chunks))
    )


OP = field("op", b"\x03")


def bag_header(fields: bytes, length: int | None = None, first: int = FIRST_RECORD) -> bytes:
    head = BAG_MAGIC + struct.pack("<I", len(fields) if length is None else length) + fields
    padding = first - len(head) - 4
    return head + struct.pack("<I", padding) + b" " * padding


def bag_record(op: int, body: bytes, *more: bytes) -> bytes:
    header = field("op", bytes([op])) + b"".join(more)
    return struct.pack("<I", len(header)) + header + struct.pack("<I", len(body)) + body


CHUNK = bag_record(
    5, b"x" * 500, field("compression", b"none"), field("size", struct.pack("<I", 500))
)
CONNECTION = bag_record(7, b"c" * 60, field("conn", bytes(4)), field("topic", b"/imu"))
CHUNK_INFO = bag_record(
    6,
    bytes(8),
    field("ver", struct.pack("<I", 1)),
    field("chunk_pos", struct.pack("<Q", FIRST_RECORD)),
    field("start_time", bytes(8)),
    field("end_time", bytes(8)),
    field("count", struct.pack("<I", 1)),
)
INDEX_POS = FIRST_RECORD + len(CHUNK)
SOUND_BAG = bag_header(OP + counters(INDEX_POS, 1, 1)) + CHUNK + CONNECTION + CHUNK_INFO


def rosbags_header(fields: bytes) -> bytes:
    """As the Python library rosbags writes it: the record's two parts make 4,096 bytes."""
    return bag_header(fields, first=4109)


ROSBAGS_BAG = (
    rosbags_header(OP + counters(4109 + len(CHUNK), 1, 1)) + CHUNK + CONNECTION + CHUNK_INFO
)


def encrypted_bag(header_bytes: int, *, closed: bool = True) -> bytes:
    """As ROS's encryption plugin leaves it: a long header, and no index that can be read."""
    known = OP + (counters(9117, 1, 1) if closed else counters())
    cipher = field("encryptor", b"rosbag/AesCbcEncryptor") + field("gpg_user", b"fleet")
    room = header_bytes - len(known) - len(cipher) - 4 - len("encrypted_key=")
    header = bag_header(known + cipher + field("encrypted_key", b"k" * room))
    assert int.from_bytes(header[13:17], "little") == header_bytes
    return header + bytes(range(1, 251)) * 24


SOUND_ULOG = ulog(flag_bits(), info("char[3] sys_name", b"PX4"), data(20))


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def descriptors_of(path: Path) -> list[str]:
    """Which descriptors of this process are open on the file at ``path``."""
    held = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself is closed
            if str(fd.readlink()) == str(path):
                held.append(fd.name)
    return sorted(held)


def refusal(path: Path, **options: Any) -> S3IntegrationError:
    """Read ``path``, which must be refused in one printable sentence that tells no path."""
    before = descriptors_of(path)
    with pytest.raises(S3IntegrationError) as caught:
        FlightLog.read(path, **options)
    assert descriptors_of(path) == before
    message = caught.value.message
    assert message.isprintable()
    assert message.endswith(".")
    if path.parent.name:
        assert str(path.parent) not in message
    return caught.value


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads from now on."""
    sizes: list[int] = []
    real = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        sizes.append(length)
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    return sizes


REFUSED: list[tuple[str, str, bytes, str, str]] = [
    ("an empty ULog", "x.ulg", b"", "empty", "0 bytes"),
    ("an empty bag", "x.bag", b"", "empty", "0 bytes"),
    ("one byte", "x.ulg", b"U", "too_short", "1 bytes"),
    ("one byte of a bag", "x.bag", b"#", "too_short", "1 bytes"),
    ("the ULog magic alone", "x.ulg", ULOG_MAGIC, "too_short", "7 bytes"),
    ("magic and version", "x.ulg", ULOG_MAGIC + b"\x01", "too_short", "8 bytes"),
    ("a header short of one byte", "x.ulg", ulog()[:15], "too_short", "15 bytes"),
    ("fifteen zeros", "x.ulg", bytes(15), "too_short", "15 bytes"),
    ("the bag magic without its line end", "x.bag", BAG_MAGIC[:12], "too_short", "12 bytes"),
    ("the bag magic alone", "x.bag", BAG_MAGIC, "too_short", "13 bytes"),
    ("magic and half a length", "x.bag", BAG_MAGIC + b"\x45\0", "too_short", "15 bytes"),
    ("a bag cut in its header record", "x.bag", SOUND_BAG[:40], "too_short", "cut"),
    ("a bag cut in its padding", "x.bag", SOUND_BAG[:4096], "too_short", "4117"),
    ("a bag header short of one byte", "x.bag", SOUND_BAG[: FIRST_RECORD - 1], "too_short", "4117"),
    ("the text ULogData", "x.ulg", b"ULogData" + b"x" * 90, "bad_magic", "'ULogData'"),
    ("a header and one zero", "x.ulg", ulog() + b"\0", "zero_filled", "body is empty"),
    (
        "a header and a MB of zeros",
        "x.ulg",
        ulog() + bytes(1 << 20),
        "zero_filled",
        "body is empty",
    ),
    (
        "an old header and zeros",
        "x.ulg",
        ulog(version=0) + bytes(99),
        "zero_filled",
        "body is empty",
    ),
    (
        "a newer header and zeros",
        "x.ulg",
        ulog(version=2) + bytes(99),
        "zero_filled",
        "body is empty",
    ),
    ("sixteen zeros", "x.ulg", bytes(16), "zero_filled", "zeros"),
    ("5000 zeros", "x.bag", bytes(5000), "zero_filled", "zeros"),
    ("a bag magic and zeros", "x.bag", BAG_MAGIC + bytes(9000), "zero_filled", "body is empty"),
    ("a bag magic and few zeros", "x.bag", BAG_MAGIC + bytes(9), "zero_filled", "body is empty"),
    (
        "an unclosed bag of zeros",
        "x.bag",
        bag_header(OP + counters()) + bytes(9000),
        "zero_filled",
        "body is empty",
    ),
    ("a ULog without its beginning", "x.ulg", SOUND_ULOG[30:], "bad_magic", "beginning is missing"),
    ("a bag without its beginning", "x.bag", SOUND_BAG[4130:], "bad_magic", "beginning is missing"),
    ("a ULog magic in other letters", "x.ulg", b"ulog" + ulog()[4:], "bad_magic", "55 4C 6F 67"),
    ("a web page", "x.ulg", b"<!DOCTYPE html><p>Please log in", "bad_magic", "HTML"),
    (
        "a web page after blanks",
        "x.bag",
        b"\xef\xbb\xbf\n\n <HTML><body>hello",
        "bad_magic",
        "HTML",
    ),
    ("an XML answer", "x.ulg", b'<?xml version="1.0"?><Error/>', "bad_magic", "XML"),
    ("a JSON answer", "x.ulg", b'{"error": "File not found"}', "bad_magic", "JSON"),
    ("a JSON list", "x.bag", b'["a", "b", "c", "d", "e"]', "bad_magic", "JSON"),
    (
        "a git-LFS pointer",
        "x.ulg",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "bad_magic",
        "git-LFS",
    ),
    ("plain text", "x.ulg", b"timestamp,x,y\n1,2,3\n4,5,6\n", "bad_magic", "but text"),
    ("a renamed MCAP file", "x.bag", b"\x89MCAP0\r\n" + bytes(60), "type_mismatch", "MCAP"),
    ("a renamed SQLite bag", "x.bag", b"SQLite format 3\0" + bytes(60), "bad_magic", "SQLite"),
    ("a gzip of a ULog", "x.ulg", gzip.compress(SOUND_ULOG), "compressed", "unpack"),
    ("a zip", "x.ulg", b"PK\x03\x04" + bytes(60), "compressed", "unpack"),
    ("an empty zip", "x.ulg", b"PK\x05\x06" + bytes(18), "compressed", "unpack"),
    ("a zstd", "x.bag", b"\x28\xb5\x2f\xfd" + bytes(60), "compressed", "unpack"),
    ("a bzip2", "x.bag", b"BZh91AY&SY" + bytes(60), "compressed", "unpack"),
    ("an xz", "x.bag", b"\xfd7zXZ\0" + bytes(60), "compressed", "unpack"),
    ("an lz4", "x.bag", b"\x04\x22\x4d\x18" + bytes(60), "compressed", "unpack"),
    ("a 7z", "x.ulg", b"7z\xbc\xaf\x27\x1c" + bytes(60), "compressed", "unpack"),
    ("an encrypted ULog", "x.ulg", b"ULogEnc" + bytes(60), "encrypted", ".ulge, or decrypt"),
    (
        "an encrypted ULog named bag",
        "x.bag",
        b"ULogEnc" + bytes(60),
        "type_mismatch",
        "an encrypted ULog",
    ),
    (
        "a bag named ULog",
        "x.ulg",
        SOUND_BAG,
        "type_mismatch",
        "a ULog, but its content is a ROS bag",
    ),
    (
        "a ULog named bag",
        "x.bag",
        SOUND_ULOG,
        "type_mismatch",
        "a ROS bag, but its content is a ULog",
    ),
    (
        "an old bag named ULog",
        "x.ulg",
        b"#ROSRECORD V1.2\n" + bytes(60),
        "type_mismatch",
        "ROS bag",
    ),
    ("a bag of 2009", "x.bag", b"#ROSRECORD V1.2\n" + bytes(60), "bag_version", "1.2"),
    ("a bag of 2010", "x.bag", b"#ROSLOG V1.1\n" + bytes(60), "bag_version", "1.1"),
    ("a bag 1.2 that never existed", "x.bag", b"#ROSBAG V1.2\n" + bytes(60), "bag_version", "1.2"),
    ("a bag of the future", "x.bag", b"#ROSBAG V3.0\n" + bytes(60), "bag_version", "3.0"),
    ("a bag copied as text", "x.bag", b"#ROSBAG V2.0\r\n" + SOUND_BAG[13:], "bag_version", "line"),
    ("a bag version without number", "x.bag", b"#ROSBAG Vx\n" + bytes(60), "bad_magic", "ROSBAG"),
    ("a ULog header and junk", "x.ulg", ulog(b"\xff" * 300), "bad_header", "not a ULog record"),
    ("a first record of no size", "x.ulg", ulog(record("I", b""), data(3)), "bad_header", "record"),
    (
        "a first record of type 0",
        "x.ulg",
        ulog(record("\0", b"1234"), data(3)),
        "bad_header",
        "record",
    ),
    (
        "a first record of an unknown type, longer than any",
        "x.ulg",
        ulog(record("x", bytes(10_001))),
        "bad_header",
        "record",
    ),
    (
        "a first record longer than any",
        "x.ulg",
        ulog(record("I", b"\xff" * 60000)) + b"\xff" * 99,
        "bad_header",
        "not a ULog record",
    ),
]


@pytest.mark.parametrize("row", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@pytest.mark.guarantee(
    "file",
    "no flight log: empty, too short, zeros, a web page, packed, encrypted, of another kind",
    "refused with its reason after 4 KiB at most",
)
def test_what_is_no_flight_log_is_refused_with_its_reason(
    put: Callable[[str, bytes], Path],
    reads: list[int],
    row: tuple[str, bytes, str, str],
) -> None:
    name, content, code, words = row
    error = refusal(put(name, content))
    assert isinstance(error, NotAFlightLog)
    assert (error.code, error.status, error.waiting_helps) == (code, 422, False)
    assert words in error.message
    assert f"'{name}'" in error.message
    assert sum(reads) <= MOST_READ_BYTES


BAD_BAG_HEADERS = {
    "length 29": bag_header(OP + counters(), 29),
    "length 30 holds no counters": bag_header(OP + counters(), 30),
    "length 4097": bag_header(OP + counters(), 4097),
    "length of 2 GB": bag_header(OP + counters(), 0x7FFFFFFF),
    "length of 4 GB": bag_header(OP + counters(), 0xFFFFFFFF),
    "length short of one byte": bag_header(OP + counters(), len(OP + counters()) - 1),
    "length beyond the fields": bag_header(OP + counters(), len(OP + counters()) + 2),
    "no op": bag_header(counters()),
    "the op of a chunk": bag_header(field("op", b"\x05") + counters()),
    "an op of two bytes": bag_header(field("op", b"\x03\0") + counters()),
    "op twice": bag_header(OP + OP + counters()),
    "a counter twice": bag_header(OP + counters() + field("conn_count", bytes(4))),
    "no index_pos": bag_header(OP + counters()[22:]),
    "index_pos of four bytes": bag_header(OP + field("index_pos", bytes(4)) + counters()[21:]),
    "no chunk_count": bag_header(OP + counters()[: -len(field("chunk_count", bytes(4)))]),
    "a field without =": bag_header(OP + counters() + struct.pack("<I", 4) + b"abcd"),
    "a field without name": bag_header(OP + counters() + field("", b"abcd")),
    "an empty field": bag_header(OP + counters() + bytes(4)),
    "a field beyond the header": bag_header(OP + counters() + struct.pack("<I", 99) + b"a=b"),
    "a field of 4 GB": bag_header(OP + counters() + struct.pack("<I", 0xFFFFFFFF) + b"a=b"),
    "counters after the first 3 KiB": bag_header(OP + field("x", b"y" * 3400) + counters()),
}


@pytest.mark.parametrize("header", BAD_BAG_HEADERS.values(), ids=BAD_BAG_HEADERS.keys())
def test_a_bag_with_a_damaged_header_is_refused_without_believing_its_lengths(
    put: Callable[[str, bytes], Path], reads: list[int], header: bytes
) -> None:
    assert refusal(put("x.bag", header + CHUNK)).code == "bad_header"
    assert sum(reads) <= MOST_READ_BYTES


REPEATED = ulog(flag_bits(), data(200))

ACCEPTED: list[tuple[str, str, bytes, str]] = [
    ("a header alone", "x.ulg", ulog(), "header_only"),
    ("an old header alone", "x.ulg", ulog(version=0), "header_only"),
    ("a header and one byte of a record", "x.ulg", ulog() + b"\x28", "truncated"),
    ("a header and two bytes of a record", "x.ulg", ulog() + b"\x28\0", "truncated"),
    ("a header and a record's header", "x.ulg", ulog() + b"\x28\0B", "truncated"),
    ("a cut first record", "x.ulg", ulog(flag_bits()[:-1]), "truncated"),
    ("only the flag bits", "x.ulg", ulog(flag_bits()), "complete"),
    ("a whole ULog", "x.ulg", SOUND_ULOG, "complete"),
    (
        "a ULog of the first generation",
        "x.ulg",
        ulog(info("char[2] x", b"ab"), version=0),
        "complete",
    ),
    ("longer flag bits", "x.ulg", ulog(record("B", bytes(64)), data(3)), "complete"),
    ("default parameters present", "x.ulg", ulog(flag_bits(compat=b"\x01"), data(3)), "complete"),
    ("a whole long ULog", "x.ulg", REPEATED, "complete"),
    ("a ULog short of one byte", "x.ulg", SOUND_ULOG[:-1], "truncated"),
    ("a ULog with a stray byte", "x.ulg", SOUND_ULOG + b"\x10", "truncated"),
    ("a long ULog short of one byte", "x.ulg", REPEATED[:-1], "truncated"),
    ("a long ULog cut in a record's header", "x.ulg", REPEATED + b"\x20\0", "truncated"),
    ("a long ULog with zeros at the end", "x.ulg", REPEATED + bytes(2000), "damaged"),
    (
        "a cut record larger than the file",
        "x.ulg",
        ulog(flag_bits()) + b"\xff\xffD" + b"\xa5" * 9000,
        "truncated",
    ),
    ("a ULog that ends in text", "x.ulg", REPEATED + b"dump of the stack\n" * 200, "complete"),
    ("version 2", "x.ulg", ulog(flag_bits(), data(3), version=2), "unknown_version"),
    ("version 255", "x.ulg", ulog(flag_bits(), data(3), version=255), "unknown_version"),
    (
        "version 2 with other records",
        "x.ulg",
        ulog(record("x", b"12"), version=2),
        "unknown_version",
    ),
    ("version 2 alone", "x.ulg", ulog(version=2), "header_only"),
    ("an unknown incompat bit", "x.ulg", ulog(flag_bits(incompat=b"\x02"), data(3)), "incompat"),
    (
        "a late incompat bit",
        "x.ulg",
        ulog(flag_bits(incompat=bytes(7) + b"\x80"), data(3)),
        "incompat",
    ),
    (
        "data appended",
        "x.ulg",
        ulog(flag_bits(incompat=b"\x01", offsets=(500,)), data(20)),
        "complete",
    ),
    (
        "data appended beyond the end",
        "x.ulg",
        ulog(flag_bits(incompat=b"\x01", offsets=(500, 99999)), data(20)),
        "damaged",
    ),
    (
        "data appended inside the header",
        "x.ulg",
        ulog(flag_bits(incompat=b"\x01", offsets=(16,)), data(20)),
        "damaged",
    ),
    ("offsets without their bit", "x.ulg", ulog(flag_bits(offsets=(99999,)), data(20)), "complete"),
    ("flag bits of 39 bytes", "x.ulg", ulog(record("B", bytes(39)), data(3)), "damaged"),
    ("version 1 without flag bits", "x.ulg", ulog(info("char[2] x", b"ab"), data(3)), "complete"),
    ("an unknown first record", "x.ulg", ulog(record("x", b"1234"), data(3)), "complete"),
    ("an unknown record alone", "x.ulg", ulog(record("x", b"1234")), "complete"),
    (
        "an unknown record before the flag bits' offsets",
        "x.ulg",
        ulog(record("x", b"1"), flag_bits(incompat=b"\x01", offsets=(99999,)), data(3)),
        "damaged",
    ),
    (
        "an unknown second record",
        "x.ulg",
        ulog(flag_bits(), record("x", b"1"), data(3)),
        "complete",
    ),
    (
        "an unknown record longer than any",
        "x.ulg",
        ulog(flag_bits(), record("x", bytes(10_001)), data(3)),
        "damaged",
    ),
    (
        "a second record of type 0",
        "x.ulg",
        ulog(flag_bits(), record("\0", b"1"), data(3)),
        "damaged",
    ),
    ("zeros after the flag bits", "x.ulg", ulog(flag_bits()) + bytes(9000), "damaged"),
    ("a whole bag", "x.bag", SOUND_BAG, "complete"),
    ("an empty bag", "x.bag", bag_header(OP + counters(FIRST_RECORD)), "complete"),
    ("op last", "x.bag", bag_header(counters(FIRST_RECORD) + OP), "complete"),
    (
        "one more field",
        "x.bag",
        bag_header(OP + counters(FIRST_RECORD) + field("encryptor", b"")),
        "complete",
    ),
    (
        "a header of 4083 bytes",
        "x.bag",
        bag_header(OP + counters(FIRST_RECORD) + field("x", b"y" * 4010)),
        "complete",
    ),
    ("a whole bag of rosbags", "x.bag", ROSBAGS_BAG, "complete"),
    ("an empty bag of rosbags", "x.bag", rosbags_header(OP + counters(4109)), "complete"),
    ("a bag of rosbags just opened", "x.bag", rosbags_header(OP + counters()), "unindexed"),
    (
        "a bag of rosbags never closed",
        "x.bag",
        rosbags_header(OP + counters()) + CHUNK,
        "unindexed",
    ),
    (
        "a bag of rosbags whose index was cut off",
        "x.bag",
        ROSBAGS_BAG[: 4109 + len(CHUNK)],
        "truncated",
    ),
    (
        "a bag of rosbags whose header ROS has written anew",
        "x.bag",
        bag_header(OP + counters(len(ROSBAGS_BAG), 1, 2)) + ROSBAGS_BAG[4117:] + CONNECTION * 8,
        "damaged",
    ),
    ("a bag that ROS has encrypted", "x.bag", encrypted_bag(868), "complete"),
    ("an encrypted bag that was cut", "x.bag", encrypted_bag(868)[:6000], "truncated"),
    ("an encrypted bag without its index", "x.bag", encrypted_bag(868)[:9117], "truncated"),
    ("an encrypted bag never closed", "x.bag", encrypted_bag(868, closed=False), "unindexed"),
    ("a bag just opened", "x.bag", bag_header(OP + counters()), "unindexed"),
    ("a bag never closed", "x.bag", bag_header(OP + counters()) + CHUNK, "unindexed"),
    ("a bag being appended to", "x.bag", bag_header(OP + counters(0, 1, 1)) + CHUNK, "unindexed"),
    (
        "a first chunk cut in its header",
        "x.bag",
        bag_header(OP + counters()) + CHUNK[:20],
        "unindexed",
    ),
    (
        "a first chunk cut in its length",
        "x.bag",
        bag_header(OP + counters()) + CHUNK[:2],
        "unindexed",
    ),
    (
        "a first chunk cut in its data",
        "x.bag",
        bag_header(OP + counters()) + CHUNK[:200],
        "unindexed",
    ),
    ("an index beyond the end", "x.bag", SOUND_BAG[: INDEX_POS - 1], "truncated"),
    ("an index cut off at its start", "x.bag", SOUND_BAG[:INDEX_POS], "truncated"),
    ("an index of one byte", "x.bag", SOUND_BAG[: INDEX_POS + 1], "truncated"),
    ("an index short of its infos", "x.bag", SOUND_BAG[: INDEX_POS + len(CONNECTION)], "truncated"),
    (
        "connections only",
        "x.bag",
        bag_header(OP + counters(FIRST_RECORD, 1, 0)) + CONNECTION,
        "complete",
    ),
    (
        "connections where a chunk should be",
        "x.bag",
        bag_header(OP + counters(INDEX_POS, 1, 1)) + CONNECTION + CHUNK + CHUNK_INFO,
        "damaged",
    ),
    (
        "a chunk where the index should be",
        "x.bag",
        bag_header(OP + counters(FIRST_RECORD, 1, 1)) + CHUNK + CONNECTION,
        "damaged",
    ),
    ("an index inside the header", "x.bag", bag_header(OP + counters(99, 1, 1)) + CHUNK, "damaged"),
    ("junk after the bag header", "x.bag", bag_header(OP + counters()) + b"\xff" * 900, "damaged"),
    (
        "a closed bag with a hole of zeros",
        "x.bag",
        bag_header(OP + counters(9000, 1, 1)) + bytes(9000),
        "damaged",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "verdict"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)
@pytest.mark.guarantee(
    "file",
    "cut by a power loss, never closed, or damaged behind its header",
    "it is a log: accepted, and marked as what it is",
)
def test_a_real_beginning_is_a_log_whatever_its_end(
    put: Callable[[str, bytes], Path], reads: list[int], name: str, content: bytes, verdict: str
) -> None:
    path = put(name, content)
    log = FlightLog.read(path)
    assert log.verdict == verdict
    assert log.verdict in VERDICTS
    assert log.kind == ("ulog" if name.endswith(".ulg") else "rosbag")
    assert log.content_type == f"application/x-{log.kind}"
    assert (log.path, log.identity) == (path, Identity.of(path.stat()))
    assert sum(reads) <= MOST_READ_BYTES


@pytest.mark.parametrize("name", ["x.ulg", "x.ULG", "x.ulG", "x.2.ulg", ".hidden.ulg", "é ü.ulg"])
def test_the_case_of_the_suffix_does_not_matter(
    put: Callable[[str, bytes], Path], name: str
) -> None:
    assert FlightLog.read(put(name, SOUND_ULOG)).kind == "ulog"


@pytest.mark.parametrize("name", ["x.bag", "x.Bag", "x.BAG", "x.orig.bag", "x.ulg.bag"])
def test_a_bag_is_a_bag_under_every_spelling(put: Callable[[str, bytes], Path], name: str) -> None:
    assert FlightLog.read(put(name, SOUND_BAG)).kind == "rosbag"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("x", "extension", ".ulg or .bag"),
        ("ulg", "extension", ".ulg or .bag"),
        (".ulg", "extension", ".ulg or .bag"),
        ("x.txt", "extension", ".ulg or .bag"),
        ("x.ulg.bak", "extension", ".ulg or .bag"),
        ("x.ulg ", "extension", ".ulg or .bag"),
        ("x.ulg.", "extension", ".ulg or .bag"),
        ("x.bag.orig", "extension", ".ulg or .bag"),
        ("xulg", "extension", ".ulg or .bag"),
        ("x.db3", "extension", "not supported yet"),
        ("x.tlog", "extension", "not supported yet"),
        ("x.ulg.gz", "compressed", "unpack"),
        ("x.zip", "compressed", "unpack"),
        ("x.ulgk", "extension", ".ulge or .ulgc"),
    ],
)
def test_a_name_that_is_no_log_is_refused_even_with_good_content(
    put: Callable[[str, bytes], Path], name: str, code: str, words: str
) -> None:
    error = refusal(put(name, SOUND_ULOG))
    assert (error.code, error.status) == (code, 422)
    assert words in error.message
    assert not named_like(name, FLIGHT_KINDS)


@pytest.mark.parametrize(
    "name", ["x.bag.active", "x.bag.ACTIVE", "x.ulg.part", "y.crdownload", "x.tmp"]
)
@pytest.mark.guarantee(
    "file",
    "still being recorded or copied (.active, .part)",
    "not taken before it has its name",
)
def test_a_file_that_its_writer_will_rename_is_not_finished(
    put: Callable[[str, bytes], Path], name: str
) -> None:
    error = refusal(put(name, SOUND_BAG))
    assert isinstance(error, NotFinished)
    assert (error.code, error.status, error.waiting_helps) == ("not_finished", 409, True)
    assert not named_like(name, FLIGHT_KINDS)


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [
        ("x.ulg", True),
        ("X.BAG", True),
        ("x.orig.bag", True),
        ("-x.ulg", True),
        (".x.ulg", False),
        (".ulg", False),
        ("", False),
        ("ulg", False),
        ("x.bag.active", False),
        ("x.orig.active", False),
        ("x.ulg.lock", False),
        ("x.ulge", True),
        ("x.ulgc", True),
        ("x.ulgk", False),
        ("00000012.BIN", True),
        ("x_0.mcap", True),
    ],
)
def test_a_scan_looks_at_finished_visible_logs_only(name: str, looked_at: bool) -> None:
    assert named_like(name, FLIGHT_KINDS) is looked_at


def test_a_spooled_copy_is_judged_by_its_original_name(put: Callable[[str, bytes], Path]) -> None:
    path = put("5f2a", SOUND_BAG)
    assert FlightLog.read(path, name="flight.bag").kind == "rosbag"
    assert refusal(path, name="flight.ulg").code == "type_mismatch"
    assert refusal(path, name="flight.txt").code == "extension"


@pytest.mark.parametrize(
    "name", ["", "a/b.ulg", "é" * 127 + ".ulg", "x" * 252 + ".ulg", "\udcff.ulg"]
)
def test_an_original_name_that_no_disk_would_hold_is_refused(
    put: Callable[[str, bytes], Path], name: str
) -> None:
    error = refusal(put("spooled", SOUND_ULOG), name=name)
    assert (error.code, error.status) == ("bad_name", 400)


def test_a_name_of_255_bytes_is_fine_and_256_are_refused(
    put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    assert FlightLog.read(put("x" * 251 + ".ulg", SOUND_ULOG)).verdict == "complete"
    too_long = refusal(tmp_path / ("x" * 252 + ".ulg"))
    too_deep = refusal(tmp_path.joinpath(*["d" * 200] * 25, "x.ulg"))
    assert (too_long.code, too_long.status) == ("bad_name", 400)
    assert (too_deep.code, too_deep.status) == ("bad_name", 400)


def test_a_nul_in_a_path_is_a_bad_path(tmp_path: Path) -> None:
    for path in (tmp_path / "x\0.ulg", tmp_path / "a\0b" / "x.ulg"):
        error = refusal(path)
        assert isinstance(error, NotAFlightLog)
        assert (error.code, error.status) == ("bad_path", 400)


def test_a_name_that_is_not_utf_8_is_shown_escaped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xff\n.ulg"))
    path.write_bytes(SOUND_ULOG)
    error = refusal(path)
    assert (error.code, error.status) == ("bad_name", 400)
    assert "'caf\\xff\\n.ulg'" in error.message
    assert refusal(tmp_path / "\ud800.ulg").code == "bad_name"


@pytest.mark.parametrize(
    "name",
    [
        "a\nb.ulg",
        "a\tb.ulg",
        "\x1b[31m.ulg",
        "50%.ulg",
        "a?b#c+d.ulg",
        "a'b\";.ulg",
        "-rf.ulg",
        "\u202eb.ulg",
    ],
)
def test_a_strange_name_is_accepted_and_forges_no_line(
    put: Callable[[str, bytes], Path], name: str
) -> None:
    assert FlightLog.read(put(name, SOUND_ULOG)).verdict == "complete"
    assert shown_name(name).isprintable()
    refusal(put(name, b""))


def test_a_long_name_is_shortened_in_a_sentence() -> None:
    assert len(shown_name("x" * 255)) < 130


@pytest.mark.guarantee(
    "file",
    "one byte larger than the limit, or sparse and huge",
    "refused unread",
)
def test_two_gib_is_accepted_and_one_byte_more_is_refused_unread(
    put: Callable[[str, bytes], Path], reads: list[int]
) -> None:
    path = put("big.ulg", SOUND_ULOG)
    os.truncate(path, MAX_BYTES)
    assert MAX_BYTES == 2147483648
    assert FlightLog.read(path).identity.size == MAX_BYTES
    reads.clear()
    os.truncate(path, MAX_BYTES + 1)
    error = refusal(path)
    assert (error.code, error.status, reads) == ("too_large", 413, [])


def test_the_limit_can_be_chosen(put: Callable[[str, bytes], Path]) -> None:
    path = put("x.ulg", SOUND_ULOG)
    assert FlightLog.read(path, max_bytes=len(SOUND_ULOG)).verdict == "complete"
    assert refusal(path, max_bytes=len(SOUND_ULOG) - 1).code == "too_large"


@pytest.mark.parametrize("name", ["zeros.bag", "zeros.ulg"])
def test_two_gb_of_zeros_are_refused_after_4_kib(
    put: Callable[[str, bytes], Path], reads: list[int], name: str
) -> None:
    path = put(name, b"")
    os.truncate(path, 2_000_000_000)
    assert refusal(path).code == "zero_filled"
    assert 0 < sum(reads) <= MOST_READ_BYTES


def test_a_header_says_what_flew(put: Callable[[str, bytes], Path]) -> None:
    content = ulog(
        flag_bits(incompat=b"\x01", offsets=(300, 400)),
        info("char[40] ver_sw", b"8583f1da30b63154d6ba0bc187d86135dfe33cf9"),
        info("uint32_t ver_sw_release", struct.pack("<I", 17695743)),
        info("char[8] ver_hw", b"PX4_FMU\0"),
        info("char[3] sys_name", b"PX4"),
        info("char[9] sys_mcu", b"STM32H743"),
        info("char[6] sys_uuid", b"0006ab"),
        info("int32_t time_ref_utc", struct.pack("<i", -18000)),
        info("char[7] log_type", b"mission"),
        data(10),
    )
    assert FlightLog.read(put("x.ulg", content)).facts == {
        "boot-us": "20309082",
        "appended": "2",
        "ver-sw": "8583f1da30b63154d6ba0bc187d86135dfe33cf9",
        "ver-sw-release": "v1.14.3",
        "ver-hw": "PX4_FMU",
        "sys-name": "PX4",
        "sys-uuid": "0006ab",
        "time-ref-utc": "-18000",
        "log-type": "mission",
    }


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (0x010E03FF, "v1.14.3"),
        (0x010F0000, "v1.15.0-dev"),
        (0x010F0140, "v1.15.1-alpha"),
        (0x010F0080, "v1.15.0-beta"),
        (0x010F00C1, "v1.15.0-rc"),
        (0x010F00FE, "v1.15.0-rc"),
    ],
)
def test_a_release_number_is_spelled_as_px4_spells_it(
    put: Callable[[str, bytes], Path], number: int, spelled: str
) -> None:
    content = ulog(flag_bits(), info("uint32_t ver_sw_release", struct.pack("<I", number)))
    assert FlightLog.read(put("x.ulg", content)).facts["ver-sw-release"] == spelled


def test_facts_are_short_printable_ascii_whatever_the_header_holds(
    put: Callable[[str, bytes], Path],
) -> None:
    content = ulog(
        flag_bits(),
        info("char[9] ver_hw", b"a\r\nX: \xff\0b"),
        info("char[500] sys_name", b"n" * 500),
        info("char[4] sys_uuid", bytes(4)),
        info("uint32_t ver_sw", b"1234"),
        info("uint32_t ver_sw_release", b"12"),
        info("float time_ref_utc", b"1234"),
        record("I", b"\xffchar[3] log_type"),
        record("I", b"\x00"),
        info("char[3] ver_hw", b"two"),
    )
    facts = FlightLog.read(put("x.ulg", content)).facts
    assert facts == {"boot-us": "20309082", "ver-hw": "a??X: ??b", "sys-name": "n" * 128}


def test_a_bag_says_how_much_it_holds(put: Callable[[str, bytes], Path]) -> None:
    facts = FlightLog.read(put("x.bag", SOUND_BAG)).facts
    assert facts == {"chunk-count": "1", "conn-count": "1", "index-pos": str(INDEX_POS)}


def test_hard_links_are_one_file_and_new_content_is_another(
    put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    path, other = put("x.ulg", SOUND_ULOG), tmp_path / "y.ulg"
    other.hardlink_to(path)
    first = FlightLog.read(path)
    assert FlightLog.read(other).identity == first.identity
    with path.open("ab") as file:
        file.write(data(1))
    assert FlightLog.read(path).identity != first.identity


@pytest.mark.parametrize("content", [SOUND_ULOG, b"<html>", bytes(100)])
def test_a_file_that_grows_while_it_is_examined_is_not_finished(
    put: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = put("x.ulg", content.ljust(20))
    real = os.pread

    def growing(fd: int, length: int, offset: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", growing)
    assert isinstance(refusal(path), NotFinished)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN])
@pytest.mark.parametrize("call", ["open", "pread"])
def test_a_disk_that_does_not_answer_is_waited_for(
    put: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = put("x.ulg", SOUND_ULOG)

    def failing(*_: object) -> int:
        raise OSError(number, "no answer", str(path))

    monkeypatch.setattr(os, call, failing)
    error = refusal(path)
    assert isinstance(error, SourceAway)
    assert error.waiting_helps


def test_a_file_without_permission_is_unreadable(
    put: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("x.ulg", SOUND_ULOG)
    path.chmod(0)
    if os.geteuid() == 0:

        def denied(*_: object) -> int:
            raise PermissionError(errno.EACCES, "denied", str(path))

        monkeypatch.setattr(os, "open", denied)
    error = refusal(path)
    assert isinstance(error, NotAFlightLog)
    assert (error.code, error.status) == ("unreadable", 403)


def test_what_is_missing_is_not_found(put: Callable[[str, bytes], Path], tmp_path: Path) -> None:
    below_a_file = put("x.ulg", SOUND_ULOG) / "y.ulg"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "no.ulg", tmp_path / "no" / "x.ulg", below_a_file, loop / "x.ulg"):
        error = refusal(path)
        assert isinstance(error, S3FileNotFoundError)
        assert error.code == "not_found"


def test_a_directory_is_not_a_regular_file(tmp_path: Path) -> None:
    for path in (tmp_path / "x.ulg", tmp_path / "x.bag"):
        path.mkdir()
        assert refusal(path).code == "not_regular"
        assert refusal(path / "..").code == "not_regular"
    assert refusal(Path()).code == "not_regular"


def test_a_fifo_without_writer_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "x.bag"
    os.mkfifo(fifo)
    assert refusal(fifo).code == "not_regular"


def test_a_fifo_put_in_place_of_a_file_is_refused_by_its_descriptor(
    put: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("x.bag", SOUND_BAG)

    def swap() -> None:
        path.unlink()
        os.mkfifo(path)

    swap_before_open(monkeypatch, swap)
    assert refusal(path).code == "not_regular"


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("x.ulg")
        assert refusal(tmp_path / "x.ulg").code == "not_regular"


def test_a_socket_put_in_place_of_a_file_is_refused(
    put: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("x.ulg", SOUND_ULOG)

    def no_such_device(*_: object) -> int:
        raise OSError(errno.ENXIO, "no such device or address", str(path))

    monkeypatch.setattr(os, "open", no_such_device)
    assert refusal(path).code == "not_regular"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused_without_opening_it(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda *a: opened.append(a))
    with pytest.raises(NotAFlightLog) as caught:
        open_log(Path(device))
    assert (caught.value.code, opened) == ("not_regular", [])


def test_an_open_descriptor_of_a_directory_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(NotAFlightLog) as caught:
            examine(fd, "x.ulg", max_bytes=MAX_BYTES)
    finally:
        os.close(fd)
    assert caught.value.code == "not_regular"


@pytest.mark.guarantee(
    "attack",
    "a link named like a log leads to a secret file",
    "refused without opening it; nothing tells whether it exists",
)
@pytest.mark.threat("user")
def test_a_link_tells_nothing_about_its_target(
    put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    link = tmp_path / "x.ulg"
    answers = set()
    for target in (put("y.ulg", SOUND_ULOG), Path("/etc/shadow"), tmp_path / "missing", link):
        link.symlink_to(target)
        error = refusal(link)
        assert (error.code, error.status) == ("not_allowed", 403)
        answers.add(error.message)
        link.unlink()
    assert len(answers) == 1


def swap_before_open(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], object]) -> None:
    """Do ``swap`` between the look at the name and the opening of the file."""
    real = os.open

    def late(path: Path, flags: int) -> int:
        monkeypatch.setattr(os, "open", real)
        swap()
        return real(path, flags)

    monkeypatch.setattr(os, "open", late)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log directory with a log, and beside it a place that is none of it."""
    folder, outside = tmp_path / "logs", tmp_path / "logs-evil"
    for place in (folder / "day", outside / "day"):
        place.mkdir(parents=True)
        (place / "x.ulg").write_bytes(SOUND_ULOG)
    return folder


@pytest.mark.parametrize("proc", [True, False])
def test_a_folder_swapped_for_a_link_is_seen_on_the_opened_file(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proc: bool
) -> None:
    if not proc:
        without_proc(monkeypatch)

    def swap() -> None:
        (logs / "day").rename(tmp_path / "moved")
        (logs / "day").symlink_to(tmp_path / "logs-evil" / "day")

    swap_before_open(monkeypatch, swap)
    assert refusal(logs / "day" / "x.ulg", real=True).code == "not_allowed"


@pytest.mark.threat(
    "user",
    "they swap a log for a link between the look at it and its opening",
    "it is not followed",
)
def test_a_file_swapped_for_a_link_is_not_followed(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs / "day" / "x.ulg"
    target = tmp_path / "logs-evil" / "day" / "x.ulg"

    def swap() -> None:
        path.unlink()
        path.symlink_to(target)

    swap_before_open(monkeypatch, swap)
    assert refusal(path).code == "not_allowed"


def test_a_file_deleted_between_look_and_open_is_not_found(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs / "day" / "x.ulg"
    swap_before_open(monkeypatch, path.unlink)
    assert refusal(path, real=True).code == "not_found"


def test_without_proc_the_place_is_found_by_name_and_inode(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_proc(monkeypatch)
    path = logs / "day" / "x.ulg"
    assert FlightLog.read(path, real=True).verdict == "complete"

    real = os.open

    def replaced(path: Path, flags: int) -> int:
        fd = real(path, flags)
        path.rename(path.with_name("old.ulg"))
        path.write_bytes(SOUND_ULOG)
        return fd

    monkeypatch.setattr(os, "open", replaced)
    assert refusal(path, real=True).code == "not_found"


def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.readlink

    def readlink(path: str, **options: Any) -> str:
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "no /proc", path)
        return real(path, **options)

    monkeypatch.setattr(os, "readlink", readlink)


MTIME = 1_700_000_000


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("log/2025-07-27/14_30_22.ulg", "2025-07-27 14:30:22"),
        ("log/2025-07-27/14_30_22_replayed.ulg", "2025-07-27 14:30:22"),
        ("2025-07-27/14_30_22", "2025-07-27 14:30:22"),
        ("log_5_2024-05-06-07-08-09.ulg", "2024-05-06 07:08:09"),
        ("00012-2024-05-06_07-08-09.ulg", "2024-05-06 07:08:09"),
        ("prefix_2024-05-06-07-08-09_0.bag", "2024-05-06 07:08:09"),
        ("2024-05-06_07_08_09.bag", "2024-05-06 07:08:09"),
        ("2024-05-06 07_08_09.bag", "2024-05-06 07:08:09"),
        ("2024-05-06T07-08-09.bag", "2024-05-06 07:08:09"),
        ("2025-07-27/log_5_2024-05-06-07-08-09.ulg", "2024-05-06 07:08:09"),
        ("log_40_2025-6-24-14-58-42.ulg", "2025-06-24 14:58:42"),
        ("log_7_2025-11-3-1-2-3.ulg", "2025-11-03 01:02:03"),
        ("log_7_2025-13-3-1-2-3.ulg", None),
        ("2025-07-27/25_00_00.ulg", None),
        ("2025-13-27/14_30_22.ulg", None),
        ("2025-07-27/14_30_221.ulg", None),
        ("2025-07-27/x14_30_22.ulg", None),
        ("2025-07-27/more/14_30_22.ulg", None),
        ("sess001/log100.ulg", None),
        ("a_2024-02-30-07-08-09.ulg", None),
        ("a_2024-02-30-07-08-09_2024-03-01-07-08-09.ulg", "2024-03-01 07:08:09"),
        ("12024-05-06-07-08-09.ulg", None),
        ("2024-05-06-07-08-091.ulg", None),
        ("0000-00-00-00-00-00.ulg", None),
        ("0999-01-01-00-00-00.ulg", None),
        ("1970-01-01-00-00-00.ulg", "1970-01-01 00:00:00"),
        ("٢٠٢٤-05-06-07-08-09.ulg", None),
    ],
)
def test_the_time_of_a_log_is_in_its_path_or_else_its_mtime(
    path: str, expected: str | None
) -> None:
    moment = log_time(Path(path), MTIME * 10**9 + 999_999_999)
    assert moment.tzinfo is timezone.utc
    wanted = expected or f"{datetime.fromtimestamp(MTIME, timezone.utc):%Y-%m-%d %H:%M:%S}"
    assert str(moment) == f"{wanted}+00:00"


@pytest.mark.parametrize(
    ("mtime_ns", "year"),
    [
        (0, 1970),
        (-1, 1970),
        (-(10**30), 1970),
        (10**30, 9999),
        (253402300799 * 10**9, 9999),
        (2**63 - 1, 2262),
    ],
)
def test_an_absurd_mtime_is_clamped(mtime_ns: int, year: int) -> None:
    assert log_time(Path("log100.ulg"), mtime_ns).year == year


def outcome(name: str, content: bytes) -> str:
    """Examine ``content`` and give its verdict or code; anything else fails the test."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            _, verdict, facts, _ = examine(file.fileno(), name, max_bytes=MAX_BYTES)
        except S3IntegrationError as error:
            assert error.message.isprintable()
            return error.code
    assert verdict in VERDICTS
    assert all(
        value.isascii() and value.isprintable() and len(value) <= 128 for value in facts.values()
    )
    return verdict


BEGINNINGS = [b"", ULOG_MAGIC, ULOG_MAGIC + b"\x01", ulog(flag_bits()), BAG_MAGIC, SOUND_BAG]


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["x.ulg", "x.bag"]),
    beginning=st.sampled_from(BEGINNINGS),
    rest=st.binary(max_size=6000),
)
def test_any_bytes_give_a_verdict_or_a_refusal(name: str, beginning: bytes, rest: bytes) -> None:
    outcome(name, beginning + rest)


@settings(max_examples=300, deadline=None)
@given(
    sound=st.sampled_from([("x.ulg", SOUND_ULOG), ("x.ulg", REPEATED), ("x.bag", SOUND_BAG)]),
    changes=st.lists(st.tuples(st.integers(0, 12000), st.integers(0, 255)), max_size=20),
    end=st.integers(0, 14000),
)
def test_any_mutation_of_a_log_gives_a_verdict_or_a_refusal(
    sound: tuple[str, bytes], changes: list[tuple[int, int]], end: int
) -> None:
    name, content = sound
    mutated = bytearray(content)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    outcome(name, bytes(mutated[:end]))


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=300))
def test_any_name_is_judged_without_another_error(name: str) -> None:
    outcome(name, SOUND_ULOG)
    assert isinstance(named_like(name, FLIGHT_KINDS), bool)
    assert log_time(Path(name), MTIME * 10**9).microsecond == 0


def boundaries(content: bytes) -> Iterator[int]:
    position = 16
    while position < len(content):
        yield position
        position += 3 + int.from_bytes(content[position : position + 2], "little")
    yield position


def test_every_cut_of_a_ulog_is_seen_and_no_whole_one_is_called_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.ulg"
    write_ulog(path, 12_000, seed=3)
    content = path.read_bytes()
    whole = set(boundaries(content))
    for end in range(17, len(content) + 1):
        expected = "complete" if end in whole else "truncated"
        assert outcome("x.ulg", content[:end]) == expected, end


def test_every_cut_of_a_bag_up_to_its_index_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.bag"
    write_bag(path, 9_000)
    content = path.read_bytes()
    index_pos = int(FlightLog.read(path).facts["index-pos"])
    for end in range(FIRST_RECORD, index_pos + 100):
        assert outcome("x.bag", content[:end]) == "truncated", end


SIZES = [416, 417, 525, 5_207, 5_208, 37_000, 100_001, 901_800, 1_700_003]


@pytest.mark.parametrize("size", SIZES)
def test_a_made_ulog_has_the_size_asked_for_and_px4s_reader_accepts_it(
    tmp_path: Path, size: int
) -> None:
    pyulog = pytest.importorskip("pyulog")
    path = tmp_path / "x.ulg"
    write_ulog(path, size)
    log = FlightLog.read(path)
    assert (path.stat().st_size, log.verdict) == (size, "complete")
    read = pyulog.ULog(str(path))
    assert not read.file_corruption
    assert read.msg_info_dict["sys_name"] == log.facts["sys-name"]
    assert read.get_version_info_str() == log.facts["ver-sw-release"]
    stamps = [int(stamp) for topic in read.data_list for stamp in topic.data["timestamp"]]
    assert len(stamps) == (size - 416) // 109
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("size", [size for size in SIZES if size >= 5_207])
def test_a_made_bag_has_the_size_asked_for_and_a_ros_reader_accepts_it(
    tmp_path: Path, size: int
) -> None:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    stores = pytest.importorskip("rosbags.typesys")
    store = stores.get_typestore(stores.Stores.ROS1_NOETIC)
    path = tmp_path / "x.bag"
    write_bag(path, size)
    log = FlightLog.read(path)
    assert (path.stat().st_size, log.verdict) == (size, "complete")
    with rosbag1.Reader(path) as reader:
        messages = [
            (stamp, store.deserialize_ros1(raw, c.msgtype)) for c, stamp, raw in reader.messages()
        ]
        assert len(messages) == reader.message_count > 0
    assert [m.header.seq for _, m in messages] == list(range(len(messages)))
    assert all(
        m.header.stamp.sec * 10**9 + m.header.stamp.nanosec == stamp for stamp, m in messages
    )


@pytest.mark.parametrize("size", [5_000, 37_000, 1_700_003])
def test_a_bag_left_by_a_dead_recorder_is_unindexed_for_both_readers(
    tmp_path: Path, size: int
) -> None:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    path = tmp_path / "x.bag"
    write_bag(path, size, indexed=False)
    assert (path.stat().st_size, FlightLog.read(path).verdict) == (size, "unindexed")
    with pytest.raises(rosbag1.ReaderError, match="not indexed"):
        rosbag1.Reader(path).open()


@pytest.mark.parametrize("write", [write_ulog, write_bag])
def test_made_logs_repeat_by_seed_and_no_two_parts_are_alike(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    one, same, other = (tmp_path / f"{n}.bin" for n in range(3))
    reached: list[int] = []
    write(one, 4_000_000, seed=7, on_block=reached.append)
    write(same, 4_000_000, seed=7)
    write(other, 4_000_000, seed=8)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    content = one.read_bytes()
    parts = {content[at : at + 65536] for at in range(0, len(content), 65536)}
    assert len(parts) == -(-len(content) // 65536)
    assert reached == sorted(reached)
    assert reached[-1] <= 4_000_000


@pytest.mark.parametrize("write", [write_ulog, write_bag])
def test_too_few_bytes_for_a_log_are_named(tmp_path: Path, write: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match=r"needs \d+ bytes, not 100"):
        write(tmp_path / "x", 100)
    assert list(tmp_path.iterdir()) == []


def test_a_ulog_grows_in_flight_and_is_a_log_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "x.ulg"
    growing = recorder(path, "ulog", 50_000)
    assert isinstance(growing, UlogRecorder)
    sizes = []
    while growing.write(10_000):
        sizes.append(path.stat().st_size)
        assert FlightLog.read(path).verdict == "complete"
    growing.close()
    assert sizes == sorted(set(sizes))
    assert len(sizes) == 5
    assert path.stat().st_size == 50_000


def test_a_bag_grows_under_its_active_name_until_it_is_closed(tmp_path: Path) -> None:
    path, active = tmp_path / "x.bag", tmp_path / "x.bag.active"
    growing = recorder(path, "rosbag", 2_000_000)
    assert isinstance(growing, BagRecorder)
    assert growing.write(1) > 700_000
    assert isinstance(refusal(active), NotFinished)
    assert not path.exists()
    assert FlightLog.read(active, name="x.bag").verdict == "unindexed"
    while growing.write(1):
        pass
    growing.close()
    assert not active.exists()
    assert (path.stat().st_size, FlightLog.read(path).verdict) == (2_000_000, "complete")


def test_a_recording_ended_early_is_small_but_whole(tmp_path: Path) -> None:
    for kind, name in (("ulog", "x.ulg"), ("rosbag", "x.bag")):
        growing = recorder(tmp_path / name, kind, 5_000_000)
        growing.write(100_000)
        growing.close()
        assert FlightLog.read(tmp_path / name).verdict == "complete"
        assert (tmp_path / name).stat().st_size < 2_000_000


def test_a_power_cut_leaves_what_was_written(tmp_path: Path) -> None:
    for kind, name in (("ulog", "x.ulg"), ("rosbag", "x.bag.active")):
        growing = recorder(tmp_path / name.removesuffix(".active"), kind, 5_000_000)
        growing.write(100_000)
        growing.lose_power()
        assert (tmp_path / name).stat().st_size > 100_000


@pytest.mark.parametrize(
    "made",
    [
        [info("char[3] sys_name", b"PX4"), data(3)],
        [record("x", b"1234"), flag_bits(), info("char[3] sys_name", b"PX4"), data(3)],
        [flag_bits(), record("z", b"12"), info("char[3] sys_name", b"PX4"), data(3)],
        [flag_bits(), info("char[3] sys_name", b"PX4"), record("x", bytes(10_000)), data(3)],
        [flag_bits(), info("char[3] sys_name", b"PX4"), record("x", bytes(10_001)), data(3)],
        [flag_bits(), record("\0", b"12"), info("char[3] sys_name", b"PX4"), data(3)],
    ],
)
def test_an_unknown_record_is_judged_as_the_reader_of_px4_does(
    tmp_path: Path, made: list[bytes]
) -> None:
    pyulog = pytest.importorskip("pyulog")
    path = tmp_path / "x.ulg"
    path.write_bytes(ulog(*made))
    with path.open("rb") as file:
        try:
            whole = not pyulog.ULog(file, message_name_filter_list=["none"]).file_corruption
        except OSError:
            whole = False  # it looks for the next record before the beginning of the file
    assert (FlightLog.read(path).verdict == "complete") == whole


@pytest.mark.parametrize(
    ("messages", "closed", "verdict"),
    [
        (0, True, "complete"),
        (5, True, "complete"),
        (0, False, "unindexed"),
        (5, False, "unindexed"),
    ],
)
def test_a_bag_of_the_library_rosbags_is_sound(
    tmp_path: Path, messages: int, closed: bool, verdict: str
) -> None:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    stores = pytest.importorskip("rosbags.typesys")
    known = stores.get_typestore(stores.Stores.ROS1_NOETIC)
    path = tmp_path / "x.bag"
    writer = rosbag1.Writer(path)
    writer.open()
    if messages:
        connection = writer.add_connection("/heard", "std_msgs/msg/String", typestore=known)
        for moment in range(messages):
            writer.write(connection, moment, b"\4\0\0\0text")
    if closed:
        writer.close()
    else:
        writer.bio.close()  # as by a kill: nothing is added

    assert FlightLog.read(path).verdict == verdict


BOOTED_US = 1_757_000_000_123_456


@pytest.mark.parametrize(
    ("value", "boot_us", "started_s"),
    [
        (BOOTED_US, 61_000_000, 1_757_000_061),
        (BOOTED_US, 0, 1_757_000_000),
        (0, 61_000_000, None),
        (946_684_799 * 10**6, 61_000_000, None),
        (BOOTED_US, 1_710_773_350_346_000, None),  # a simulator whose clock counts from 1970
    ],
)
def test_a_log_tells_when_it_began_where_its_vehicle_knew(
    put: Callable[[str, bytes], Path], value: int, boot_us: int, started_s: int | None
) -> None:
    told = info("uint64_t boot_time_utc_us", struct.pack("<Q", value))
    log = FlightLog.read(put("log100.ulg", ulog(flag_bits(), told, data(3), boot_us=boot_us)))
    assert log.started_s == started_s
    assert log.facts.get("start-utc") == (None if started_s is None else str(started_s))
    moment = log_time(log.path, MTIME * 10**9, told_s=log.started_s)
    assert int(moment.timestamp()) == (MTIME if started_s is None else started_s)


def test_what_a_log_tells_of_its_start_gives_way_to_its_name(tmp_path: Path) -> None:
    moment = log_time(tmp_path / "a_2024-05-06-07-08-09.ulg", 0, told_s=1_757_000_061)
    assert str(moment) == "2024-05-06 07:08:09+00:00"
