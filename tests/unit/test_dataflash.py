"""ArduPilot's DataFlash logs: what is one, how sound it is, what it tells of itself."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal_s3.errors import NotAFlightLog
from petal_s3.logs import dataflash
from petal_s3.logs.log_file import FlightLog
from tests.unit.dataflash_logs import (
    ALL_FORMATS,
    BEGIN,
    MARK,
    flight,
    fmt,
    gps,
    imu,
    known,
    said,
)

SHORT = flight(40)
LONG = flight(9000)  # longer than head and tail together
LATE = fmt("PSC", 70, 3 + 8 + 20, "Qfffff", "TimeUS,A,B,C,D,E")
PSC = MARK + b"\x46" + struct.pack("<Q5f", 9, 1, 2, 3, 4, 5)
WITH_LATE = LONG[:100_014] + LATE + (PSC + b"".join(map(imu, range(9)))) * 300
MOST_READ = dataflash.HEAD_BYTES + dataflash.TAIL_BYTES


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes, name: str = "00000012.BIN") -> Path:
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
        sizes.append(length)
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    return sizes


def judged(content: bytes) -> tuple[str, dict[str, str]]:
    def read(at: int, count: int) -> bytes:
        return content[at : at + count]

    return dataflash.judge("'x.bin'", content[:3072], read, len(content))


ACCEPTED = {
    "a whole log": (SHORT, "complete"),
    "a long log": (LONG, "complete"),
    "the formats alone": (ALL_FORMATS, "header_only"),
    "the first format alone": (known("FMT"), "header_only"),
    "a format that is not of FMT first": (known("IMU") + imu(9), "complete"),
    "a log short of one byte": (SHORT[:-1], "truncated"),
    "a log cut in a message's header": (SHORT + MARK, "truncated"),
    "a log cut after half a mark": (SHORT + MARK[:1], "truncated"),
    "a long log short of one byte": (LONG[:-1], "truncated"),
    "a long log cut in a message's header": (LONG + MARK + b"\x43", "truncated"),
    "a format that was cut": (ALL_FORMATS + known("FMT")[:50], "truncated"),
    "a page's worth of zeros at the end": (LONG + bytes(200), "complete"),
    "an erased rest of a page": (SHORT + b"\xff" * 249, "complete"),
    "zeros at the end": (LONG + bytes(5000), "damaged"),
    "zeros at the end, longer than what is read there": (LONG + bytes(90_000), "damaged"),
    "zeros after the formats": (ALL_FORMATS + bytes(9000), "damaged"),
    "a hole of zeros early on": (LONG[:5000] + bytes(239) + LONG[5239:], "damaged"),
    "a hole of zeros near the end": (LONG[:-5000] + bytes(239) + LONG[-4761:], "damaged"),
    "junk after the formats": (ALL_FORMATS + b"junk" * 900, "damaged"),
    "a message without a format": (BEGIN + MARK + b"\x09" + bytes(40) + imu(1), "damaged"),
    "messages of 3 bytes": (
        known("FMT") + fmt("E", 9, 3, "", "") + (MARK + b"\x09") * 9,
        "complete",
    ),
    "a format of FMT itself with another length": (
        BEGIN + fmt("FMT", 128, 9, "B", "Type") + known("IMU") + imu(1),
        "complete",
    ),
    "a format that was not in what was read": (WITH_LATE, "complete"),
    "the same, cut in a message of it": (WITH_LATE + PSC[:-1], "truncated"),
    "the same, cut in another message": (WITH_LATE + PSC + imu(1)[:-1], "truncated"),
}


@pytest.mark.parametrize(("content", "verdict"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.guarantee(
    "file",
    "a DataFlash log that was cut, that holds zeros, or formats that cannot be",
    "it is a log: accepted, and marked as what it is, by 96 KiB of it at most",
)
def test_the_verdict_of_a_log_is_that_of_its_messages(
    put: Callable[[bytes], Path], reads: list[int], content: bytes, verdict: str
) -> None:
    log = FlightLog.read(put(content))
    assert (log.verdict, log.kind) == (verdict, "dataflash")
    assert log.content_type == "application/x-dataflash"
    assert sum(reads) <= MOST_READ


REFUSED = {
    "a mark alone": (MARK + b"\x80", "too_short", "3 bytes"),
    "a first message that was cut": (known("FMT")[:-1], "too_short", "89"),
    "zeros": (MARK + b"\x80" + bytes(9000), "zero_filled", "only zeros"),
    "a first message that is no format": (imu(1) * 9, "bad_magic", "A3 95 80"),
    "a log without its beginning": (SHORT[100:], "bad_magic", "beginning is missing"),
    "a first format without a name": (fmt("", 64, 9, "B", "T") + imu(1), "bad_header", "format"),
    "a first format of a name in the middle of a byte": (
        fmt("é", 64, 9, "B", "T") + imu(1),
        "bad_header",
        "format",
    ),
    "another kind of binary": (b"\x7fELF" + bytes(60), "bad_magic", "DataFlash log"),
    "a ULog": (b"ULog\x01\x12\x35\x01" + bytes(60), "type_mismatch", "a ULog"),
}


@pytest.mark.parametrize(("content", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_dataflash_log_is_refused(
    put: Callable[[bytes], Path], content: bytes, code: str, words: str
) -> None:
    with pytest.raises(NotAFlightLog) as caught:
        FlightLog.read(put(content))
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert words in caught.value.message


@pytest.mark.parametrize("messages", [40, 9000])
def test_a_log_tells_its_firmware_and_by_gps_when_it_began(messages: int) -> None:
    assert judged(flight(messages))[1] == {
        "sys-name": "ArduCopter",
        "ver-sw-release": "v4.5.7",
        "ver-sw": "2a3dc4b7",
        "boot-us": "5000000",
        "end-us": str(5_000_000 + 100_000 * (messages - 4)),
        # 2378 weeks and 252,005 s after 6 January 1980, without 18 leap seconds, at the start.
        "start-utc": str(315_964_800 + 2378 * 604_800 + 252_005 - 18),
    }


@pytest.mark.parametrize(
    "message",
    [
        gps(6_000_000, 2378, 9, status=1),
        gps(6_000_000, 0, 9),
        gps(1, 2378, 9),
        gps(10**15, 2378, 9),
    ],
    ids=["no fix", "no week", "before the log", "years after it"],
)
def test_a_gps_that_knows_no_time_tells_none(message: bytes) -> None:
    assert "start-utc" not in judged(BEGIN + message)[1]


def test_a_format_that_does_not_fit_its_length_tells_nothing() -> None:
    wrong = fmt("GPS", 66, 18, "QBIHZ", "TimeUS,Status,GMS,GWk") + fmt("XYZ", 71, 18, "?", "A")
    assert judged(wrong + known("IMU") + imu(3) + gps(6, 2378, 9))[1] == {
        "boot-us": "3",
        "end-us": "6",
    }


def test_the_name_of_older_firmware_is_known_and_other_texts_are_passed_over() -> None:
    texts = said(1, b"New mission") + said(2, b"APM:Copter V3.4.4-rc1 (65ffe9d7)")
    facts = judged(ALL_FORMATS + texts)[1]
    assert (facts["sys-name"], facts["ver-sw-release"]) == ("Copter", "v3.4.4-rc1")


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(89, len(LONG)))
def test_a_cut_anywhere_is_seen(cut: int) -> None:
    ends = set(range(0, len(ALL_FORMATS) + 1, 89)) | {len(BEGIN)}
    at = len(BEGIN)
    while at < len(LONG):
        at += 18 if LONG[at + 2] == 66 else 23
        ends.add(at)
    verdict, _ = judged(LONG[:cut])
    whole = "header_only" if cut <= len(ALL_FORMATS) else "complete"
    assert verdict == (whole if cut in ends else "truncated")


@settings(max_examples=300, deadline=None)
@given(
    begin=st.sampled_from([BEGIN, known("FMT"), LONG]),
    rest=st.lists(
        st.sampled_from([MARK, MARK + b"\x80", imu(1), imu(9)[:-3], known("GPS"), bytes(300)])
        | st.builds(
            fmt,
            st.just("X"),
            st.integers(0, 255),
            st.integers(0, 255),
            st.text("QBIHnNZafx", max_size=16),
            st.just("TimeUS,Status"),
        )
        | st.binary(max_size=200)
    ),
)
def test_whatever_follows_a_verdict_is_given(begin: bytes, rest: list[bytes]) -> None:
    verdict, facts = judged(begin + b"".join(rest))
    assert verdict in {"complete", "truncated", "damaged", "header_only"}
    assert all(text.isascii() and len(text) <= 128 for text in facts.values())
