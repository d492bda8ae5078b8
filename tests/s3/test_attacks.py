"""What somebody wants: a forged line, another's key, our memory, our files. Nobody gets it."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from robot import HOME, SMALL, TWO_PARTS, Fault, Robot

from petal_s3.cli import follow, screen
from petal_s3.cli.progress_bars import Bars
from petal_s3.demo.faults import says
from petal_s3.demo.ledger import Request
from petal_s3.errors import NotAFlightLog, plain
from petal_s3.logs.log_file import CONTENT_TYPES
from petal_s3.objects.user_metadata import header_value, metadata
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.upload import inventory

NAMES = [
    "a\nWARNING petal_s3 upload verified key=forged.ulg",
    "a\r\x1b[2J\x1b]0;owned\x07\x1b[31m.ulg",
    "\x9b31mred.ulg",
    "\u202egpj.ulg",
    "one\u2028two\u0085three.ulg",
    "50%s%n{0}{name}.ulg",
    "a'b\"; DROP TABLE log;--.ulg",
    "-rf --output=x.ulg",
    "[bold red]x :smile:.ulg",
    "$(touch owned)`id`.ulg",
    "?prefix=#+&;\\.ulg",
    "日本 é.ulg",
    "x" * 251 + ".ulg",
]
FACT = "char[{size}] {name}"


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def said(heard: pytest.LogCaptureFixture) -> list[str]:
    """What we said of it all; each is one line of a log file."""
    return [record.getMessage() for record in heard.records if record.name == "petal_s3"]


async def scanned(robot: Robot) -> list[Row]:
    await robot.service.landed()
    return list(reversed(await robot.service.outbox(queries.rows)))


async def shown(robot: Robot) -> str:
    """Everything that a terminal gets to see of the outbox."""
    out = io.StringIO()
    drawn = Console(
        file=out, width=200, force_terminal=True, color_system=None, legacy_windows=False
    )
    rows = await robot.service.rows()
    paths = [row.path for row in rows]
    status = (await robot.service.status()).model_copy(update={"settling": paths})
    screen.show(drawn, screen.status_view(status, rows, paths))
    bars = Bars(drawn)
    bars.draw(status, rows)
    for row in await robot.service.outbox(queries.rows):
        bars.say(follow.told(row))
        bars.say(row.name)
    out.write("".join(str(task.description) for task in bars._bars.tasks))
    return out.getvalue()


# -- names


@pytest.mark.guarantee(
    "attack",
    "a file name with line breaks, terminal escapes, RTL marks, %, quotes, or 255 bytes",
    "it goes up under a plain key; no log line and no terminal sees it but escaped",
)
@pytest.mark.threat("user")
async def test_a_name_forges_no_line_no_key_and_no_escape(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    for seed, name in enumerate(NAMES):
        robot.write(name, size=1000 + seed)
        (robot.logs / "no-log").mkdir(exist_ok=True)
        (robot.logs / "no-log" / name).write_bytes(b"no log at all, but a name all the same")

    rows = [await robot.finish(row, attempts=30) for row in await scanned(robot)]

    up = [row for row in rows if row.state == "verified"]
    assert (len(up), len(rows)) == (len(NAMES), 2 * len(NAMES))
    for row in up:
        assert re.fullmatch(re.escape(HOME) + r"\d{8}_\d{6}_[A-Za-z0-9_.-]+\.ulg", row.key)
        assert unquote(robot.head(row.key)["Metadata"]["original-filename"]) == row.name
    assert sorted(row.name for row in up) == sorted(NAMES)
    assert len(said(heard)) > 2 * len(NAMES)
    assert all(line.isprintable() for line in said(heard))
    assert all(row.reason.isprintable() for row in rows)
    assert all(char.isprintable() or char == "\n" for char in await shown(robot))
    shown_rows = [row.model_dump() for row in await robot.service.rows()]
    assert json.dumps(shown_rows).isprintable()
    assert not Path("owned").exists()


@pytest.mark.guarantee(
    "attack",
    "an object in our folder whose key holds line breaks and escapes, with the log's own bytes",
    "it is passed over: no log line and no receipt repeats its key",
)
@pytest.mark.threat("server")
async def test_a_key_that_another_process_made_up_is_not_repeated(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    path = robot.write()
    etag = hashlib.md5(path.read_bytes()).hexdigest()
    listed = (
        "<ListBucketResult><Name>logs</Name><EncodingType>url</EncodingType><Contents>"
        f"<Key>{HOME}x%0A%1B%5B31mforged%E2%80%A8.ulg</Key><Size>{SMALL}</Size>"
        f"<ETag>{etag}</ETag></Contents></ListBucketResult>"
    )
    robot.fault("ListObjectsV2", says(200, listed.encode(), {"Content-Type": "application/xml"}))

    async def stands_there(request: Request) -> Fault | None:
        if "forged" not in request.key:
            return None
        return says(200, b"", {"ETag": f'"{etag}"', "Content-Length": str(SMALL)})

    robot.always("HeadObject", stands_there)

    done = await robot.finish((await scanned(robot))[0])

    robot.assert_sent_once(done, path)
    assert all(line.isprintable() for line in said(heard))
    assert all(char.isprintable() or char == "\n" for char in await shown(robot))


@given(st.text())
def test_any_sentence_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert NotAFlightLog(text).message.isprintable()
    assert str(NotAFlightLog(text)).isprintable()


@pytest.mark.guarantee(
    "attack",
    "any text at all as metadata",
    "it travels as printable ASCII without a space: no header can be added",
)
@given(st.text(), st.text(min_size=1))
def test_any_text_as_metadata_is_one_harmless_header(known: str, text: str) -> None:
    for value in (header_value(text), *metadata([("a", known), ("b", text)]).values()):
        assert re.fullmatch(r"[\x21-\x7e]*", value)


# -- contents


def hostile_ulog() -> bytes:
    """A ULog whose header tries to say more than it should."""

    def record(kind: str, payload: bytes) -> bytes:
        return struct.pack("<HB", len(payload), ord(kind)) + payload

    def info(name: str, value: bytes) -> bytes:
        declared = f"char[{len(value)}] {name}".encode()
        return record("I", bytes([len(declared)]) + declared + value)

    return b"".join(
        (
            b"ULog\x01\x12\x35\x01" + bytes(8),
            record("B", bytes(40)),
            info("sys_name", b"PX4\r\nX-Amz-Acl: public-read\r\n\r\nGET / HTTP/1.1"),
            info("ver_hw", b"\xff\xfe\x00\x1b[31m\xc3\xa9"),
            info("sys_uuid", b"x" * 200),
            info("log_type", "日本\u2028".encode()),
            record("L", b"6" + bytes(8) + b"said") * 40,
        )
    )


@pytest.mark.guarantee(
    "attack",
    "a log whose header holds line breaks, escapes and HTTP headers of its own",
    "they travel percent-encoded in the metadata; no header is added, no request is split",
)
@pytest.mark.threat("user")
async def test_facts_of_a_header_add_no_header(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    path = robot.write()
    path.write_bytes(hostile_ulog())

    done = await robot.finish(await robot.service.enqueue(path))

    robot.assert_sent_once(done, path)
    (sent,) = robot.ledger.requests("PutObject")
    assert "X-Amz-Acl" not in sent.headers
    assert all(value.isprintable() and value.isascii() for value in sent.headers.values())
    told = robot.head(done.key)
    assert told["ContentType"] == CONTENT_TYPES["ulog"]
    assert unquote(told["Metadata"]["sys-name"]).startswith("PX4")
    assert all(re.fullmatch(r"[\x21-\x7e]+", value) for value in told["Metadata"].values())
    assert all(line.isprintable() for line in said(heard))


# -- answers


def xml(body: str, *, entities: str, encoding: str = "utf-8") -> Fault:
    """An answer with a definition of entities; a parser that believes it may grow for ever."""
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE x [{entities}]>\n{body}'
    return says(200, text.encode(encoding), {"Content-Type": "application/xml"})


LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">'
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
ENTITIES = {
    "a few": ('<!ENTITY j "forged">', "utf-8"),
    "a few in UTF-16": ('<!ENTITY j "forged">', "utf-16"),
    "a billion": (LAUGHS, "utf-8"),
    "a file of ours": ('<!ENTITY j SYSTEM "file:///etc/passwd">', "utf-8"),
}


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.guarantee(
    "attack",
    "an answer in XML that defines entities (a billion laughs, a file of this machine)",
    "refused unread: it is not from S3; the drain waits",
)
@pytest.mark.threat("server")
async def test_entities_in_an_answer_are_not_expanded(robot: Robot, kind: str) -> None:
    entities, encoding = ENTITIES[kind]
    row = await robot.land(size=TWO_PARTS)
    body = (
        "<InitiateMultipartUploadResult><Bucket>logs</Bucket>"
        f"<Key>{row.key}</Key><UploadId>&j;</UploadId></InitiateMultipartUploadResult>"
    )
    robot.fault("CreateMultipartUpload", xml(body, entities=entities, encoding=encoding))

    told = await robot.attempt(row)
    done = await robot.finish(told)

    assert (told.state, told.code, told.upload_id) == ("queued", "not_s3", None)
    assert "root" not in told.reason
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "attack",
    "a listing of the bucket that never ends",
    "it is cut off after so many pages; the log goes up",
)
@pytest.mark.threat("server")
async def test_a_listing_that_never_ends_is_cut_off(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, heard: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inventory, "MOST_PAGES", 5)

    async def next_page(_: Request) -> Fault:
        number = robot.count("ListObjectsV2")
        prefix = robot.service.ownership.owned_prefixes[(number - 1) // 5]
        body = (
            "<ListBucketResult><Name>logs</Name><IsTruncated>true</IsTruncated>"
            f"<NextContinuationToken>{number}</NextContinuationToken><Contents>"
            f"<Key>{prefix}{number:09}.ulg</Key><Size>1</Size><ETag>x</ETag></Contents>"
            "</ListBucketResult>"
        )
        return says(200, body.encode(), {"Content-Type": "application/xml"})

    robot.always("ListObjectsV2", next_page)
    row = await robot.land()

    done = await robot.attempt(row)

    assert robot.count("ListObjectsV2") == 5 * len(robot.service.ownership.owned_prefixes)
    assert sum(line.startswith("inventory cut off") for line in said(heard)) == 4
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "attack",
    "a list of parts that never ends",
    "given up beyond the 10,000 parts that S3 knows: it is not from S3; the drain waits",
)
@pytest.mark.threat("server")
async def test_a_list_of_parts_that_never_ends_is_given_up(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", Fault(drop=True), part=2)
    row = await robot.attempt(await robot.land(size=TWO_PARTS))
    asked = 0

    async def next_page(request: Request) -> Fault:
        nonlocal asked
        asked += 1
        body = (
            f"<ListPartsResult><Bucket>logs</Bucket><Key>{row.key}</Key>"
            f"<UploadId>{request.upload_id}</UploadId><IsTruncated>true</IsTruncated>"
            f"<NextPartNumberMarker>{asked * 2000}</NextPartNumberMarker></ListPartsResult>"
        )
        return says(200, body.encode(), {"Content-Type": "application/xml"})

    robot.fault("ListParts", next_page, times=6)
    told = await robot.attempt(row)
    done = await robot.finish(told)

    assert (told.code, asked) == ("not_s3", 6)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- the state directory


@pytest.mark.guarantee(
    "attack",
    "another user of the machine looks into the state directory",
    "it and everything in it is for one user alone, whatever the umask",
)
@pytest.mark.threat("user")
async def test_no_other_user_may_look_at_what_is_kept(robot: Robot) -> None:
    await robot.service.stop()
    old = os.umask(0)
    try:
        await robot.open(state_dir=robot.tmp / "fresh")
        outside = robot.tmp / "outside.ulg"
        robot.store.copy(outside, SMALL, 1)
        outside.chmod(0o600)
        await robot.service.enqueue(outside)
        assert robot.service.lock.take()
        kept = [robot.tmp / "fresh", *(robot.tmp / "fresh").rglob("*")]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in kept}
    finally:
        os.umask(old)

    assert {"fresh", "spool", "outbox.db", "outbox.db-wal", "drain.lock"} <= set(modes)
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}
