"""Checks that need neither a server nor a package beyond our own."""

from __future__ import annotations

import os
import zlib
from datetime import datetime, timezone
from hashlib import md5
from importlib import metadata
from pathlib import Path

from petal_s3.core.packages import unfit
from petal_s3.errors import LocalStorageError
from petal_s3.selftest.known import WrongAnswer, expect, expect_refusal

_ZLIB = "The zlib or hashlib of this Python computes wrong sums: install another build of Python."
_SQLITE = "The sqlite3 of this Python lacks RETURNING: petal-s3 needs SQLite 3.35 or newer."
_FIT = "petal-s3 needs these two packages to fit; see docs/operations.md, Host notes."
_SIZE = 300_000


def packages(_: Path) -> str:
    """aiobotocore and botocore fit together."""
    wrong = unfit()
    if wrong is not None:
        told, _sign, advice = wrong.message.partition(" Install what fits:")
        raise WrongAnswer(told, f"Install what fits:{advice}" if advice else _FIT)
    named = ("aiobotocore", "botocore", "aiohttp", "sqlite-utils", "pydantic")
    return ", ".join(f"{name} {metadata.version(name)}" for name in named)


def temporary_folder(folder: Path) -> str:
    """What is written is read back, and a rename replaces."""
    first, second = folder / "first", folder / "second"
    with first.open("wb") as file:
        file.write(b"petal-s3" * 1000)
        file.flush()
        os.fsync(file.fileno())
    second.write_bytes(b"older")
    first.replace(second)
    expect("a file that was written", second.read_bytes(), b"petal-s3" * 1000)
    return f"{folder.parent} can be written"


def checksums(folder: Path) -> str:
    """CRC32, its combination, and ETags, against published values and values made elsewhere."""
    from petal_s3.s3 import checksums as sums  # noqa: PLC0415 - what is missing is told

    # The check value of CRC-32/ISO-HDLC, and RFC 1321's md5 of "abc".
    expect("CRC32 of 123456789", zlib.crc32(b"123456789"), 0xCBF43926, _ZLIB)
    known = "900150983cd24fb0d6963f7d28e17f72"
    expect("md5 of abc", md5(b"abc", usedforsecurity=False).hexdigest(), known, _ZLIB)
    expect("CRC32 in a header", sums.crc32_base64(0xCBF43926), "y/Q5Jg==")
    halves = [sums.digest_of(b"1234"), sums.digest_of(b"56789")]
    expect("CRC32 of a whole from its parts", sums.whole_crc32(halves), 0xCBF43926, _ZLIB)
    path = folder / "file"
    path.write_bytes(b"123456789")
    with path.open("rb") as file:
        told = sums.digest(file.fileno(), 0, 9, sha256=True)
        parts = sums.file_etag(file.fileno(), 9, 4)
    expect("CRC32 of a file", told.crc32, 0xCBF43926, _ZLIB)
    expect("ETag of a file", told.etag, "25f9e794323b453885f5181f1b624d0b", _ZLIB)
    expect("SHA-256 of a file", told.sha256[:16], "15e2b0d3c33891eb", _ZLIB)
    expect("ETag of a file in three parts", parts, "393e928fcf5925fcbd3a06aaf20b2d38-3", _ZLIB)
    return "CRC32, md5, SHA-256 and multipart ETags are right"


# A ULog of version 1: magic, start time (us), flag bits, and one information message.
_ULOG = (
    b"ULog\x01\x12\x35\x01"
    + (1_000_000).to_bytes(8, "little")
    + b"\x28\x00B"
    + bytes(40)
    + b"\x14\x00I\x10char[3] sys_namePX4"
)
# A DataFlash log: the format of one type, and one message of it.
_DATAFLASH = (
    b"\xa3\x95\x80\x01\x0bTICKQ".ljust(25, b"\0") + b"TimeUS".ljust(64, b"\0")
) + b"\xa3\x95\x01".ljust(11, b"\0")
# An MCAP file: magic, header of two empty texts, footer, magic.
_MCAP = b"\x89MCAP0\r\n\x01\x08".ljust(25, b"\0") + b"\x02\x14".ljust(29, b"\0") + b"\x89MCAP0\r\n"


def flight_logs(folder: Path) -> str:
    """Logs of each kind, whole, cut and false, get their kind, verdict and refusal."""
    from petal_s3.demo.logs import write_bag, write_ulog  # noqa: PLC0415 - what is missing is told
    from petal_s3.logs.log_file import FlightLog  # noqa: PLC0415

    def judged(name: str, body: bytes, limit: int = _SIZE) -> tuple[str, str]:
        path = folder / name
        path.write_bytes(body)
        log = FlightLog.read(path, max_bytes=limit)
        return log.kind, log.verdict

    expect("a ULog of 80 bytes", judged("a.ulg", _ULOG), ("ulog", "complete"))
    expect("its header", dict(FlightLog.read(folder / "a.ulg").facts)["sys-name"], "PX4")
    expect("a ULog that was cut", judged("a.ulg", _ULOG[:-2]), ("ulog", "truncated"))
    expect("the header of a ULog", judged("a.ulg", _ULOG[:16]), ("ulog", "header_only"))
    write_ulog(folder / "b.ulg", _SIZE)
    write_bag(folder / "c.bag", _SIZE)
    write_bag(folder / "d.bag", _SIZE, indexed=False)
    whole = (folder / "c.bag").read_bytes()
    sealed = b"ULogEnc\x01" + bytes(8) + b"\x04\x01\x01\0\0\0" + b"kc"
    expect("an encrypted ULog", judged("a.ulge", sealed), ("ulog-encrypted", "complete"))
    expect("a DataFlash log", judged("a.BIN", _DATAFLASH), ("dataflash", "complete"))
    expect("one that was cut", judged("b.BIN", _DATAFLASH[:-1]), ("dataflash", "truncated"))
    expect("an MCAP file", judged("a.mcap", _MCAP), ("mcap", "complete"))
    expect("one without its end", judged("b.mcap", _MCAP[:-9]), ("mcap", "truncated"))
    expect("a ULog", FlightLog.read(folder / "b.ulg").verdict, "complete")
    expect("a bag", judged("c.bag", whole), ("rosbag", "complete"))
    expect("a bag that was cut", judged("c.bag", whole[: _SIZE // 2]), ("rosbag", "truncated"))
    unindexed = (folder / "d.bag").read_bytes()
    expect("a bag without index", judged("d.bag", unindexed), ("rosbag", "unindexed"))
    script = b"#!/bin/sh\nrm -r /\n" * 10
    expect_refusal("a script called .ulg", lambda: judged("e.ulg", script), "bad_magic")
    expect_refusal("a ULog called .bag", lambda: judged("e.bag", _ULOG), "type_mismatch")
    expect_refusal("an empty file", lambda: judged("e.ulg", b""), "empty")
    expect_refusal("a file called .exe", lambda: judged("e.exe", _ULOG), "extension")
    expect_refusal("a file above the limit", lambda: judged("e.ulg", _ULOG, 79), "too_large")
    return "logs of five kinds are told from what is none; whole, cut and unindexed ones apart"


def texts(folder: Path) -> str:
    """Text, XML and JSON, whole, cut and false."""
    from petal_s3.logs.log_file import FlightLog  # noqa: PLC0415 - what is missing is told

    def judged(name: str, body: bytes) -> str:
        path = folder / name
        path.write_bytes(body)
        kinds = frozenset({"text", "xml", "json"})
        return FlightLog.read(path, kinds=kinds).verdict

    expect("a text", judged("a.log", b"motor 3 ran hot\n"), "complete")
    expect("a text that ends in zeros", judged("a.log", b"motor\n" + bytes(600)), "damaged")
    expect("JSON", judged("a.json", b'{"cause": "motor 3"}\n'), "complete")
    expect("JSON that was cut", judged("a.json", b'{"cause": "mo'), "truncated")
    expect("XML", judged("a.xml", b"<events><event/></events>\n"), "complete")
    page = b"<!DOCTYPE html><html><body>Log in</body></html>"
    expect_refusal("a web page called .json", lambda: judged("b.json", page), "bad_magic")
    expect_refusal("a program called .log", lambda: judged("b.log", b"\x7fELF\0" * 40), "not_text")
    return "texts, XML and JSON are told from what is none"


def keys(_: Path) -> str:
    """Times, names and keys; and that no key of another machine is taken for ours."""
    from petal_s3.logs.log_time import log_time  # noqa: PLC0415 - what is missing is told
    from petal_s3.objects import key_names  # noqa: PLC0415
    from petal_s3.objects.ownership import KeyOwnership  # noqa: PLC0415

    flown = datetime(2025, 7, 27, 14, 30, 22, tzinfo=timezone.utc)
    for path in ("2025-07-27/14_30_22.ulg", "log_40_2025-7-27-14-30-22.ulg"):
        expect(f"the time of {path}", log_time(Path(path), 0), flown)
    ours = KeyOwnership("flight_logs/", ("drone-001",), "logs")
    made = key_names.log_key(ours.machine_prefix, "mission log.ulg", flown)
    expect("a key", made, "flight_logs/drone-001/20250727_143022_mission_log.ulg")
    dated = key_names.log_key("m/", "größe (1).ulg", flown, date_folders=True)
    expect("a key in folders by date", dated, "m/2025/07/27/20250727_143022_gr_e_1.ulg")
    second = key_names.key_with_crc("m/a.ulg", 0xCBF43926)
    expect("the second spelling of a key", second, "m/a-cbf43926.ulg")
    expect("a URI of our own", ours.check(f"s3://logs/{made}"), made)
    for key in (
        "flight_logs/drone-002/a.ulg",
        "flight_logs/drone-0011/a.ulg",
        "flight_logs/drone-001/../drone-002/a.ulg",
        "flight_logs/drone-001/%2e%2e/drone-002/a.ulg",
        f"s3://other/{made}",
    ):
        expect_refusal(key, lambda key=key: ours.check(key), "not_allowed")  # type: ignore[misc]
    return "keys are made as documented, and those of other machines are refused"


def outbox(folder: Path) -> str:
    """A log is entered once, claimed once, proven, and still there when it is opened again."""
    from petal_s3.outbox import entering, queries, transitions  # noqa: PLC0415 - may be missing
    from petal_s3.outbox.outbox import Outbox  # noqa: PLC0415
    from petal_s3.selftest.entries import entry, receipt  # noqa: PLC0415

    path = folder / "outbox.db"
    try:
        box = Outbox(path)
    except LocalStorageError as error:
        raise WrongAnswer(error.message, _SQLITE if "syntax error" in error.message else "") from (
            error
        )
    try:
        row = entering.enqueue(box, entry(folder))
        expect("a log entered twice", entering.enqueue(box, entry(folder)).id, row.id)
        claimed = transitions.claim(box, 1.0, 60.0)
        expect("the log that is claimed", claimed and claimed.id, row.id)
        expect("a second claim", transitions.claim(box, 1.0, 60.0), None)
        assert claimed is not None
        transitions.verified(box, claimed, receipt())
    except LocalStorageError as error:
        raise WrongAnswer(error.message, _SQLITE) from error
    finally:
        box.close()
    again = Outbox(path, check=True)
    try:
        kept = queries.get(again, row.id)
        expect("a row after it was opened again", (kept.state, kept.key), ("verified", row.key))
        expect("its receipt", kept.receipt, receipt())
        expect("the counts", queries.counts(again)["verified"], 1)
    finally:
        again.close()
    expect("the mode of the outbox", oct(path.stat().st_mode & 0o777), "0o600")
    return "a log is entered once, claimed once, and kept with its proof"
