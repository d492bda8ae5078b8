"""Text, XML and JSON are known by their bytes; what a power cut left of them is still a log."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.errors import NotAFlightLog
from petal_s3.logs import text as texts
from petal_s3.logs.log_file import FlightLog, content_type_of
from petal_s3.logs.sniff import kind_of, log_suffix, named_like

XML = b"<?xml version='1.0'?>\n<events><event id='1'/></events>\n"
UTF16 = codecs.BOM_UTF16_LE + "<events>é𝄞</events>".encode("utf-16-le")


def read(tmp_path: Path, name: str, body: bytes) -> FlightLog:
    path = tmp_path / name
    path.write_bytes(body)
    return FlightLog.read(path, kinds=ALL_KINDS)


READABLE = {
    "ASCII": b"INFO started\n",
    "UTF-8": "Höhe 12 m, 25 °C\n".encode(),
    "UTF-8 with its mark": codecs.BOM_UTF8 + b"a",
    "UTF-8 cut in a character": "12 °".encode()[:-1],
    "UTF-16": UTF16,
    "UTF-16, big end first": codecs.BOM_UTF16_BE + "Höhe".encode("utf-16-be"),
    "UTF-16 cut in a character": UTF16[:-1],
    "UTF-16 cut between surrogates": codecs.BOM_UTF16_LE + "a𝄞".encode("utf-16-le")[:-2],
    "Latin-1": "Höhe und Länge über Grund\n".encode("latin-1"),
    "colours of a terminal": b"\x1b[31mERROR\x1b[0m motor\n",
    "a bell among lines": b"\a" + b"line\n" * 20,
    "text and the zeros of a power cut": b"line\n" + bytes(400),
    "UTF-16 and the zeros of a power cut": UTF16 + bytes(401),
}
UNREADABLE = {
    "nothing": b"",
    "zeros": bytes(100),
    "a NUL in between": b"a\0b",
    "an archive": b"\x7fELF\x02\x01\x01\0\0\0\0",
    "control characters": b"\x01\x02\x03abc" * 10,
    "bytes beyond ASCII": bytes(range(0x80, 0x100)),
    "a mark of UTF-16, then zeros": codecs.BOM_UTF16_LE + bytes(64),
    "a mark of UTF-16, then binary": codecs.BOM_UTF16_LE + bytes([1, 0, 2, 0, 0, 0, 65, 0] * 20),
    "a mark of UTF-16, then halves of pairs": codecs.BOM_UTF16_LE + b"\x00\xdc" * 20,
}


@pytest.mark.parametrize("head", READABLE.values(), ids=READABLE.keys())
def test_what_a_person_can_read_is_text(head: bytes) -> None:
    assert texts.readable(head)


@pytest.mark.parametrize("head", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_not_readable_is_no_text(head: bytes) -> None:
    assert not texts.readable(head)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.integers(0, 3))
def test_all_that_is_printable_is_text_wherever_it_is_cut(text: str, cut: int) -> None:
    body = text.encode()
    assert texts.readable(body[: max(1, len(body) - cut)]) or len(body) <= cut + 1


BOMS = [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE]


@given(
    st.binary(max_size=200),
    st.sampled_from(BOMS),
)
def test_no_bytes_are_too_strange_to_be_judged(noise: bytes, mark: bytes) -> None:
    head = mark + noise
    assert texts.readable(head) in {True, False}
    assert isinstance(texts.begins(head), bytes)
    for kind in ("text", "xml", "json"):
        assert texts.verdict(kind, head, noise) in {"complete", "truncated", "damaged"}


@given(st.binary(min_size=1, max_size=200).filter(lambda noise: noise.strip(b"\0")))
def test_a_nul_between_bytes_is_never_text(noise: bytes) -> None:
    assert not texts.readable(b"a\0" + noise.replace(b"\0", b"b") + b"c")


VERDICTS = {
    "whole XML": ("a.xml", XML, "complete"),
    "XML with white space behind": ("a.xml", XML + b"\n \r\n", "complete"),
    "XML that was cut": ("a.xml", XML[:-14] + b"<ev", "truncated"),
    "XML and zeros": ("a.xml", XML + bytes(5000), "damaged"),
    "little XML and zeros": ("a.xml", XML + bytes(50), "damaged"),
    "XML in UTF-16": ("a.xml", UTF16, "complete"),
    "long XML": ("a.xml", b"<a>" + b"x" * 9000 + b"</a>", "complete"),
    "long XML that was cut": ("a.xml", b"<a>" + b"x" * 9000, "truncated"),
    "XML a little longer than its head": ("a.xml", b"<a>" + b"x" * 3070 + b"</a>", "complete"),
    "a JSON object": ("a.json", b'{"a": 1}', "complete"),
    "lines of JSON": ("a.json", b'{"a": 1}\n{"a": 2}\n', "complete"),
    "a JSON list": ("a.json", b"\n[1, 2]\n", "complete"),
    "JSON that was cut": ("a.json", b'[{"a": 1}, {"a', "truncated"),
    "text": ("a.log", b"no end of line", "complete"),
    "text and zeros": ("a.log", b"line\n" + bytes(2000), "damaged"),
}


@pytest.mark.parametrize(("name", "body", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_the_end_tells_whether_it_is_whole(
    tmp_path: Path, name: str, body: bytes, verdict: str
) -> None:
    log = read(tmp_path, name, body)
    assert (log.verdict, log.kind, log.facts) == (verdict, kind_of(name, name, ALL_KINDS), {})


REFUSED = {
    "an empty file": ("a.xml", b"", "empty"),
    "zeros": ("a.log", bytes(2000), "zero_filled"),
    "JSON named XML": ("a.xml", b'{"a": 1}', "bad_magic"),
    "XML named JSON": ("a.json", XML, "bad_magic"),
    "a page of a portal": ("a.xml", b"<!DOCTYPE html><html>", "bad_magic"),
    "a page in UTF-16": ("a.xml", codecs.BOM_UTF16_LE + "<html>".encode("utf-16-le"), "bad_magic"),
    "white space alone": ("a.xml", b" \n" * 400, "bad_magic"),
    "gzip": ("a.log", b"\x1f\x8b\x08\0abc", "compressed"),
    "a ULog": ("a.log", b"ULog\x01\x12\x35\x01" + bytes(8) + b"x", "not_text"),
    "binary": ("a.csv", b"\x7fELF\x02\x01\x01\0\0x", "not_text"),
}


@pytest.mark.parametrize(("name", "body", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_as_it_is_named_is_refused_with_its_reason(
    tmp_path: Path, name: str, body: bytes, code: str
) -> None:
    with pytest.raises(NotAFlightLog) as caught:
        read(tmp_path, name, body)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


@given(body=st.binary(max_size=300), name=st.sampled_from(["a.xml", "a.json", "a.log", "a.csv.3"]))
def test_any_bytes_are_a_log_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(body)
    try:
        assert FlightLog.read(path, kinds=ALL_KINDS).kind in {"xml", "json", "text"}
    except NotAFlightLog as error:
        assert error.code


ROTATED = {
    "events.xml": ".xml",
    "events.XML.1": ".xml",
    "events.xml.999999": ".xml",
    "syslog.log-20250727": ".log",
    "a.log-1753626622": ".log",
    "a.log-2025-07-27": ".log",
    "a.log.2025-07-27": ".log",
    "a.log.2025-07-27_14-30-22": ".log",
    "a.log.20250727": ".log",
    "a.json.2025-07-27_14": ".json",
    "events.1.xml": ".xml",
}
NOT_ROTATED = [
    "a.xml.1.gz",
    "a.xml.gz",
    "a.xml.bak",
    "a.xml~",
    "a.xml.1.tmp",
    "a.xml.part",
    "a.xml.1a",
    "a.xml.1234567",
    ".events.xml",
    ".xml",
    "xml",
    "a.1",
    "a.ulg.1",
    "a.bag-20250727",
    "",
]


@pytest.mark.parametrize("name", ROTATED)
def test_a_rotated_log_is_of_the_kind_that_it_was(name: str) -> None:
    assert log_suffix(name) == ROTATED[name]
    assert named_like(name, ALL_KINDS)
    assert not named_like(name, FLIGHT_KINDS)


@pytest.mark.parametrize("name", NOT_ROTATED)
def test_other_names_are_left_alone(name: str) -> None:
    assert not named_like(name, ALL_KINDS)


@given(st.text(max_size=40))
def test_a_flight_log_is_known_by_its_last_suffix_alone(name: str) -> None:
    known = name[:1] != "." and name.lower().endswith((".ulg", ".bag"))
    assert named_like(name, FLIGHT_KINDS) == known


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("a.xml.1", "xml", "application/xml"),
        ("a.json", "json", "application/json"),
        ("a.log", "text", "text/plain"),
        ("a.CSV.1", "text", "text/csv"),
        ("a.ulg", "ulog", "application/x-ulog"),
        ("a.bag", "rosbag", "application/x-rosbag"),
        ("a.pdf", "unknown", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_from_kind_and_name(name: str, kind: str, media_type: str) -> None:
    assert content_type_of(kind, name) == media_type


@pytest.mark.parametrize("name", ["a.xml", "a.log.1"])
def test_other_kinds_are_no_flight_logs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(XML)
    with pytest.raises(NotAFlightLog, match=r"must end in \.ulg or \.bag"):
        FlightLog.read(path)
