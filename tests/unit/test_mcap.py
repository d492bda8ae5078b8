"""MCAP files: what is one, whether it was closed, what it tells of itself."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal_s3.errors import NotAFlightLog
from petal_s3.logs import mcap
from petal_s3.logs.log_file import FlightLog

MAGIC = b"\x89MCAP0\r\n"
START_NS = 1_753_626_622_500_000_000
MOST_READ = 5 * 1024 * 1024


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


def chunk(size: int = 500, at_ns: int = START_NS) -> bytes:
    about = struct.pack("<QQQI", at_ns, at_ns, size, 0) + text(b"")
    return record(6, about + struct.pack("<Q", size) + b"\xa5" * size)


def message(at_ns: int = START_NS) -> bytes:
    return record(5, struct.pack("<HIQQ", 1, 0, at_ns, at_ns) + b"data")


def statistics(
    begins: int = START_NS, ends: int = START_NS + 61 * 10**9, more: bytes = b""
) -> bytes:
    counts = struct.pack("<QHIIIIQQ", 1324, 2, 3, 0, 0, 4, begins, ends)
    return record(11, counts + text(b"") + more)


HEADER = record(1, text(b"ros2") + text(b"libmcap 1.1.0"))
DATA_END = record(15, bytes(4))
BEGIN = MAGIC + HEADER


def closed(
    data: bytes, summary: bytes = b"", *, start: int | None = None, offsets: int = 0, crc: int = -1
) -> bytes:
    """A file with its end; the crc is the right one unless it is given."""
    begin = BEGIN + data + DATA_END
    at = (len(begin) if summary else 0) if start is None else start
    footer = struct.pack("<BQQQ", 2, 20, at, offsets)
    sum_ = zlib.crc32(summary + footer) if crc < 0 else crc
    return begin + summary + footer + struct.pack("<I", sum_) + MAGIC


WHOLE = closed(chunk() + chunk(), statistics())
OPEN = BEGIN + chunk() + chunk()
BIG = record(3, bytes(1 << 20)) + statistics()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes, name: str = "rosbag2_0.mcap") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads from now on."""
    sizes: list[int] = []
    real = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        found = real(fd, length, offset)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(os, "pread", counted)
    return sizes


def judged(content: bytes) -> tuple[str, dict[str, str]]:
    def read(at: int, count: int) -> bytes:
        return content[at : at + count]

    return mcap.judge("'x.mcap'", content[:3072], read, len(content))


ACCEPTED = {
    "a whole file": (WHOLE, "complete"),
    "an empty file that was closed": (closed(b""), "complete"),
    "one without the end of data, as the specification shows": (
        BEGIN + struct.pack("<BQQQI", 2, 20, 0, 0, 0) + MAGIC,
        "complete",
    ),
    "one without a summary": (closed(chunk()), "complete"),
    "one without a checksum": (closed(chunk(), statistics(), crc=0), "complete"),
    "a record of a later version": (closed(record(0x7F, b"new"), record(0x80, b"own")), "complete"),
    "a summary above a MiB": (closed(chunk(), BIG), "complete"),
    "a header alone": (BEGIN, "header_only"),
    "a file never closed": (OPEN, "unindexed"),
    "never closed, with the end of data": (OPEN + DATA_END, "unindexed"),
    "never closed, messages without chunks": (BEGIN + message() * 9000, "unindexed"),
    "never closed, more messages than are followed": (BEGIN + message() * 200_000, "unindexed"),
    "cut in a chunk": (OPEN[:-1], "truncated"),
    "cut in a record's header": (OPEN + b"\x06\0", "truncated"),
    "cut in the first chunk": (OPEN[:100], "truncated"),
    "cut in the summary": (WHOLE[: len(OPEN) + 30], "truncated"),
    "cut in the footer": (WHOLE[:-20], "truncated"),
    "cut in the magic": (WHOLE[:-1], "truncated"),
    "cut before the magic": (WHOLE[:-8], "truncated"),
    "a record longer than any file": (OPEN + struct.pack("<BQ", 6, 2**64 - 1), "truncated"),
    "another byte order": (OPEN + struct.pack(">BQ", 5, 30), "truncated"),
    "something behind the end": (WHOLE + b"appended", "damaged"),
    "zeros behind the end": (WHOLE + bytes(5000), "damaged"),
    "zeros behind chunks": (OPEN + bytes(5000), "damaged"),
    "a few zeros behind chunks": (OPEN + bytes(50), "damaged"),
    "a magic at the end and no footer": (OPEN + MAGIC, "damaged"),
    "a header and the magic": (BEGIN + MAGIC, "damaged"),
    "another footer": (WHOLE[:-37] + record(2, bytes(12)) + bytes(8) + MAGIC, "damaged"),
    "a false checksum": (closed(chunk(), statistics(), crc=1), "damaged"),
    "a flipped bit in the summary": (
        WHOLE[:-50] + bytes([WHOLE[-50] ^ 1]) + WHOLE[-49:],
        "damaged",
    ),
    "a summary that begins behind the end": (closed(chunk(), start=10**6), "damaged"),
    "a summary that begins at 2 to the 64": (closed(chunk(), start=2**64 - 1), "damaged"),
    "a summary that begins in the header": (closed(chunk(), start=9), "damaged"),
    "offsets before the summary": (closed(chunk(), statistics(), offsets=20), "damaged"),
    "offsets behind the end": (closed(chunk(), statistics(), offsets=2**63), "damaged"),
    "a summary whose records do not fit": (
        closed(chunk(), statistics() + b"\x03", crc=0),
        "damaged",
    ),
    "a record in the summary longer than it": (
        closed(chunk(), struct.pack("<BQ", 3, 2**64 - 1), crc=0),
        "damaged",
    ),
    "a later version": (b"\x89MCAP1\r\n" + b"new" * 9, "unknown_version"),
}


@pytest.mark.parametrize(("content", "verdict"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.guarantee(
    "file",
    "an MCAP file that was never closed, was cut, or has a summary that cannot be",
    "it is a log: accepted, and marked as what it is; nothing is believed by its lengths",
)
def test_the_verdict_tells_whether_the_file_has_its_end(
    put: Callable[[bytes], Path], reads: list[int], content: bytes, verdict: str
) -> None:
    log = FlightLog.read(put(content))
    assert (log.verdict, log.kind) == (verdict, "mcap")
    assert log.content_type == "application/x-mcap"
    assert sum(reads) <= MOST_READ


REFUSED = {
    "the magic alone": (MAGIC, "too_short", "8 bytes"),
    "a header that was cut": (BEGIN[:-1], "too_short", "header record"),
    "half a length": (MAGIC + b"\x01" + bytes(7), "too_short", "header record"),
    "the magic and zeros": (MAGIC + bytes(9000), "zero_filled", "only zeros"),
    "another record first": (MAGIC + chunk(), "bad_header", "damaged"),
    "a header longer than the file": (
        MAGIC + struct.pack("<BQ", 1, 2**63) + bytes(99),
        "bad_header",
        "damaged",
    ),
    "texts longer than the header": (
        MAGIC + record(1, b"\xff" * 9) + chunk(),
        "bad_header",
        "damaged",
    ),
    "a header of no texts": (MAGIC + record(1, b"") + chunk(), "bad_header", "damaged"),
    "changed line ends": (b"\x89MCAP0\n" + WHOLE[8:], "bad_header", "binary"),
    "an end without its beginning": (WHOLE[100:], "bad_magic", "89 4D 43 41 50"),
    "a bag": (b"#ROSBAG V2.0\n" + bytes(60), "type_mismatch", "a ROS bag"),
    "a database of ROS 2": (b"SQLite format 3\0" + bytes(60), "bad_magic", "SQLite"),
}


@pytest.mark.parametrize(("content", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_mcap_file_is_refused(
    put: Callable[[bytes], Path], content: bytes, code: str, words: str
) -> None:
    with pytest.raises(NotAFlightLog) as caught:
        FlightLog.read(put(content))
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert words in caught.value.message


def test_a_whole_file_tells_what_is_in_it_and_when_that_was() -> None:
    assert judged(WHOLE)[1] == {
        "profile": "ros2",
        "library": "libmcap 1.1.0",
        "message-count": "1324",
        "channel-count": "3",
        "chunk-count": "4",
        "start-utc": "1753626622",
        "end-utc": "1753626683",
    }


@pytest.mark.parametrize(
    ("content", "started"),
    [
        (OPEN, "1753626622"),
        (OPEN[:-1], "1753626622"),
        (BEGIN + record(3, bytes(99)) + message(), "1753626622"),
        (closed(message()), "1753626622"),
        (closed(message(), BIG), "1753626622"),
        (BEGIN + chunk(at_ns=5 * 10**9), None),
        (BEGIN + chunk(at_ns=2**64 - 1), None),
        (BEGIN + record(3, bytes(5000)) + message(), None),
        (closed(b"", statistics(begins=0)), None),
    ],
)
def test_the_first_messages_tell_when_it_began_where_their_clock_counts_from_1970(
    content: bytes, started: str | None
) -> None:
    assert judged(content)[1].get("start-utc") == started


def test_an_end_before_the_beginning_is_not_told() -> None:
    facts = judged(closed(b"", statistics(ends=5)))[1]
    assert "end-utc" not in facts
    assert facts["start-utc"] == "1753626622"


def test_texts_of_the_header_are_made_printable() -> None:
    header = record(1, text("größe\n".encode()) + text(b"x" * 300))
    facts = judged(MAGIC + header)[1]
    assert facts == {"profile": "gr????e?", "library": "x" * 128}


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(len(BEGIN), len(WHOLE) - 1))
def test_a_cut_anywhere_is_seen(cut: int) -> None:
    ends = {len(BEGIN) + n * len(chunk()) for n in range(3)}
    ends |= {len(OPEN + DATA_END), len(OPEN + DATA_END + statistics())}
    whole = "header_only" if cut == len(BEGIN) else "unindexed"
    assert judged(WHOLE[:cut])[0] == (whole if cut in ends else "truncated")


@settings(max_examples=300, deadline=None)
@given(
    rest=st.lists(
        st.sampled_from([chunk(), message(), DATA_END, MAGIC, statistics(), bytes(99)])
        | st.builds(
            lambda *told: struct.pack("<BQQQI", 2, 20, *told),
            st.integers(0, 2**64 - 1) | st.integers(0, 900),
            st.integers(0, 2**64 - 1) | st.just(0),
            st.integers(0, 2**32 - 1) | st.just(0),
        )
        | st.builds(
            lambda op, n: struct.pack("<BQ", op, n), st.integers(0, 255), st.integers(0, 2**64 - 1)
        )
        | st.binary(max_size=99)
    )
)
def test_whatever_follows_the_header_a_verdict_is_given(rest: list[bytes]) -> None:
    content = BEGIN + b"".join(rest)
    try:
        verdict, facts = judged(content)
    except NotAFlightLog as error:
        assert error.code == "zero_filled"
        return
    assert verdict in {"complete", "truncated", "unindexed", "damaged", "header_only"}
    assert all(one.isascii() and len(one) <= 128 for one in facts.values())
