"""Encrypted ULogs of PX4: what is one, and how much of it can be judged without the key."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.errors import NotAFlightLog
from petal_s3.logs import encrypted_ulog
from petal_s3.logs.log_file import FlightLog

KEY, NONCE = bytes(range(256)), b"n" * 24


def header(*, version: int = 1, key_bytes: int = 256, nonce_bytes: int = 24) -> bytes:
    """PX4's: magic, version, time since the boot, algorithm, index of the key, two sizes."""
    sizes = struct.pack("<HH", key_bytes, nonce_bytes)
    return b"ULogEnc" + bytes([version]) + struct.pack("<QBB", 20_309_082, 4, 1) + sizes


BEGIN = header() + KEY + NONCE
CIPHER = bytes(range(1, 256)) * 40


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


ACCEPTED = {
    "a whole one": (BEGIN + CIPHER, "complete"),
    "one of a single byte": (BEGIN + b"x", "complete"),
    "one without a nonce": (header(nonce_bytes=0) + KEY + b"x", "complete"),
    "header, key and nonce alone": (BEGIN, "header_only"),
    "the header alone": (header(), "truncated"),
    "one cut in the key": (BEGIN[:100], "truncated"),
    "one cut in the nonce": (BEGIN[:-1], "truncated"),
    "a key of 65,535 bytes": (header(key_bytes=65_535) + KEY, "truncated"),
    "zeros at the end": (BEGIN + CIPHER + bytes(2000), "damaged"),
    "a later version": (header(version=2) + KEY, "unknown_version"),
}


@pytest.mark.parametrize(("content", "verdict"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("name", ["x.ulge", "17_24_55.ulgc", "X.ULGE"])
@pytest.mark.guarantee(
    "file",
    "an encrypted ULog, whole or cut",
    "it is a log: accepted as it is, and marked by what its header tells",
)
def test_an_encrypted_log_is_taken_as_it_is(
    put: Callable[[str, bytes], Path], name: str, content: bytes, verdict: str
) -> None:
    log = FlightLog.read(put(name, content))
    assert (log.verdict, log.kind) == (verdict, "ulog-encrypted")
    assert log.content_type == "application/x-ulog-encrypted"
    known = {} if verdict == "unknown_version" else {"boot-us": "20309082", "key-index": "1"}
    assert log.facts == known


REFUSED = {
    "a header that was cut": ("x.ulge", header()[:-1], "too_short", "22-byte header"),
    "the magic alone": ("x.ulge", b"ULogEnc\x01", "too_short", "8 bytes"),
    "a header and zeros": ("x.ulge", header() + bytes(999), "zero_filled", "only zeros"),
    "a header without a key": ("x.ulge", header(key_bytes=0) + CIPHER, "bad_header", "no key"),
    "a ULog named so": ("x.ulge", b"ULog\x01\x12\x35\x01" + CIPHER, "type_mismatch", "a ULog"),
    "one of PX4 before 1.16, whose key is elsewhere": ("x.ulgc", CIPHER, "bad_magic", "1.16"),
    "one named like a ULog, as ground stations do": ("x.ulg", BEGIN + CIPHER, "encrypted", ".ulge"),
}


@pytest.mark.parametrize(("name", "content", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_encrypted_log_is_refused(
    put: Callable[[str, bytes], Path], name: str, content: bytes, code: str, words: str
) -> None:
    with pytest.raises(NotAFlightLog) as caught:
        FlightLog.read(put(name, content))
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert words in caught.value.message


@given(rest=st.binary(min_size=15, max_size=600))
def test_whatever_follows_the_magic_it_is_judged_or_refused(rest: bytes) -> None:
    content = b"ULogEnc" + rest
    try:
        verdict, _ = encrypted_ulog.judge(
            "'x'", content[:3072], lambda at, count: content[at : at + count], len(content)
        )
    except NotAFlightLog as error:
        assert error.code in {"zero_filled", "bad_header"}
    else:
        assert verdict in {"complete", "header_only", "truncated", "damaged", "unknown_version"}
