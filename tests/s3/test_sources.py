"""Event files and text logs of further directories: the same outbox, the same promise."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aged import days_pass
from robot import DROP, HOME, MACHINE, PART, Robot

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.errors import NotAFlightLog, NotAllowed
from petal_s3.intake.spooling import adopt_copies
from petal_s3.outbox import copies
from petal_s3.outbox.rows import Row
from petal_s3.service.service import Service

MTIME = 1_700_000_000  # 2023-11-14 22:13:20
XML = b"<?xml version='1.0'?>\n<events><event id='1'/></events>\n"
BIG_XML = b"<events>" + os.urandom(PART).hex().encode() + b"</events>"
DAY_S = 86_400


def put(path: Path, body: bytes, mtime: int = MTIME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, (mtime, mtime))
    return path


def source(robot: Robot, name: str = "events", *kinds: str, **more: Any) -> dict[str, Any]:
    return {"directory": str(robot.tmp / name), "kinds": kinds or ("xml", "json"), **more}


async def having(robot: Robot, *sources: dict[str, Any], **settings: Any) -> Service:
    """The drone's settings say so from now on."""
    robot.given = {**robot.given, "sources": list(sources), **settings}
    return await robot.restart()


async def scanned(robot: Robot) -> None:
    """A scan takes what has settled, and attempts are made until nothing is due."""
    await robot.service.landed()
    await robot.service.drainer.pause.retry_now()
    for _ in range(50):
        if not await robot.service.drainer.step():
            return
    raise AssertionError("it never ends")


async def rows(robot: Robot) -> list[Row]:
    found = robot.sql("SELECT id FROM log ORDER BY id")
    return [await robot.row(row_id) for (row_id,) in found]


def sent(robot: Robot) -> int:
    return robot.count("PutObject") + robot.count("UploadPart")


def proven(row: Row) -> bool:
    return row.state == "verified" and row.receipt is not None and row.receipt.proof != ""


# -- what arrives


@pytest.mark.guarantee(
    "file",
    "an XML, JSON or text log in a directory of sources",
    "it arrives byte-identical and proven, under its own key and content type",
)
@pytest.mark.parametrize(
    ("name", "body", "kind", "media_type"),
    [
        ("a.xml", XML, "xml", "application/xml"),
        ("a.xml.1", XML, "xml", "application/xml"),
        ("a.json", b'{"a": 1}\n{"a": 2}', "json", "application/json"),
        ("a.log", "Höhe\r\n".encode() * 9, "text", "text/plain"),
        ("a.csv", b"a,b\n1,2", "text", "text/csv"),
        ("a.log.2025-07-27", b"x", "text", "text/plain"),
        ("big.xml", BIG_XML, "xml", "application/xml"),
    ],
)
async def test_a_log_of_a_source_arrives_as_it_is(
    robot: Robot, name: str, body: bytes, kind: str, media_type: str
) -> None:
    await having(robot, source(robot, "events", "xml", "json", "text", key="ev/{timestamp}_{name}"))
    path = put(robot.tmp / "events" / name, body)

    await scanned(robot)

    [row] = await rows(robot)
    robot.assert_sent_once(row, path)
    assert proven(row)
    assert row.key == f"{HOME}ev/20231114_221320_{name}"
    about = robot.head(row.key)
    assert about["ContentType"] == media_type
    assert about["Metadata"]["original-filename"] == name
    assert (about["Metadata"]["log-kind"], about["Metadata"]["log-verdict"]) == (kind, "complete")


async def test_a_source_says_its_content_type(robot: Robot) -> None:
    await having(robot, source(robot, content_type="application/vnd.events+xml"))
    put(robot.tmp / "events/a.xml", XML)
    put(robot.tmp / "events/b.xml", BIG_XML)
    await scanned(robot)
    found = {robot.head(key)["ContentType"] for key in robot.stored()}
    assert (found, len(robot.stored())) == ({"application/vnd.events+xml"}, 2)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("20250727_143022_a.xml", "2025/07/27/20250727_143022_a.xml"),
        ("a_20250727_143022.xml", "2025/07/27/20250727_143022_a_20250727_143022.xml"),
        ("20251399_996199_a.xml", "2023/11/14/20231114_221320_20251399_996199_a.xml"),
        ("99999999_999999.xml", "2023/11/14/20231114_221320_99999999_999999.xml"),
        ("a.xml", "2023/11/14/20231114_221320_a.xml"),
    ],
)
async def test_the_date_folder_is_that_of_the_name_and_a_wrong_date_loses_nothing(
    robot: Robot, name: str, key: str
) -> None:
    await having(robot, source(robot, date_folders=True))
    path = put(robot.tmp / "events" / name, XML)
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)
    assert row.key == HOME + key


@pytest.mark.parametrize("mtime", [-5, 0, 1 << 33])
async def test_a_file_from_another_age_arrives(robot: Robot, mtime: int) -> None:
    await having(robot, source(robot, date_folders=True))
    path = put(robot.tmp / "events/a.xml", XML, mtime)
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)


@pytest.mark.parametrize(
    "name",
    [
        "a..xml",
        "a b\tc.xml",
        "a\nb.xml",
        "ü𝄞.xml",
        "-rf.xml",
        "%2e%2e%2fx.xml",
        "a\\..\\b.xml",
        "a'\"<&>.xml",
        "x" * 250 + ".xml",
        "\x1b[31m.xml",
        "tmp.xml",
        "a.xml.000001",
    ],
)
async def test_a_hostile_name_is_tamed_in_the_key_and_kept_in_the_metadata(
    robot: Robot, name: str
) -> None:
    await having(robot, source(robot, key="e/{name}"))
    path = put(robot.tmp / "events" / name, XML)
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)
    assert robot.service.ownership.owns(row.key)
    assert row.key.startswith(f"{HOME}e/")
    assert row.key.isascii()


async def test_a_name_that_is_no_unicode_is_a_dead_row(robot: Robot) -> None:
    await having(robot, source(robot))
    put(Path(os.fsdecode(bytes(robot.tmp / "events") + b"/\xff.xml")), XML)
    await scanned(robot)
    [row] = await rows(robot)
    assert (row.state, row.code) == ("dead", "bad_name")


async def test_the_same_name_in_two_directories_is_two_logs(robot: Robot) -> None:
    await having(robot, source(robot, "a"), source(robot, "b"))
    paths = [
        put(robot.tmp / d / "events.xml", XML.replace(b"1'/", d.encode() + b"'/")) for d in "ab"
    ]
    await scanned(robot)
    assert sorted(robot.body(key) for key in robot.stored()) == sorted(
        p.read_bytes() for p in paths
    )
    assert all(proven(row) for row in await rows(robot))


# -- what does not


@pytest.mark.guarantee(
    "file",
    "a file in a source is not what its name says",
    "a dead row with its reason; every other file is sent",
)
async def test_what_is_no_xml_is_a_dead_row_with_its_reason(robot: Robot) -> None:
    await having(robot, source(robot))
    events = robot.tmp / "events"
    put(events / "page.xml", b"<!DOCTYPE html><html><body>Log in</body></html>")
    put(events / "packed.xml", gzip.compress(XML))
    put(events / "zeros.json", bytes(500))
    put(events / "empty.xml", b"")
    good = put(events / "good.xml", XML)

    await scanned(robot)

    dead = {row.name: row.code for row in await rows(robot) if row.state == "dead"}
    assert dead == {
        "page.xml": "bad_magic",
        "packed.xml": "compressed",
        "zeros.json": "zero_filled",
        "empty.xml": "empty",
    }
    assert [robot.body(key) for key in robot.stored()] == [good.read_bytes()]


async def test_a_dead_file_that_is_made_good_arrives(robot: Robot) -> None:
    await having(robot, source(robot, key="e/{name}"))
    path = put(robot.tmp / "events/a.xml", b"")
    await scanned(robot)
    path.write_bytes(XML)
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)
    assert (row.kind, row.key) == ("xml", f"{HOME}e/a.xml")


async def test_kinds_that_a_source_does_not_name_are_left_alone(robot: Robot) -> None:
    await having(robot, source(robot, "events", "xml"))
    for name in ("a.json", "a.log", "a.xml.gz", ".a.xml", "a.xml.part", "xml", ".trash/a.xml"):
        put(robot.tmp / "events" / name, XML)
    robot.store.copy(robot.tmp / "events/a.ulg", 20_000, 0)
    (robot.tmp / "events/link.xml").symlink_to("/etc/hostname")
    (robot.tmp / "events/folder.xml").mkdir()
    os.mkfifo(robot.tmp / "events/pipe.xml")
    await scanned(robot)
    assert await rows(robot) == []


async def test_a_directory_that_is_not_there_yet_is_found_once_it_is(robot: Robot) -> None:
    await having(robot, source(robot, "card/events"))
    await scanned(robot)
    assert await rows(robot) == []
    assert "petal_s3_rows" in await robot.service.overview.metrics()
    path = put(robot.tmp / "card/events/a.xml", XML)
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)


async def test_a_card_that_is_pulled_out_keeps_its_row_waiting(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await having(robot, source(robot, "card/events"))
    path = put(robot.tmp / "card/events/a.xml", XML)
    await robot.service.landed()
    robot.sql(
        "UPDATE log SET dev = dev + 1"
    )  # its disk is another one than that of the mount point
    (robot.tmp / "card").rename(robot.tmp / "pulled")
    await robot.step()
    [row] = await rows(robot)
    assert (row.state, row.code) == ("queued", "source_away")

    (robot.tmp / "pulled").rename(robot.tmp / "card")
    robot.assert_sent_once(await robot.finish(row), path)


async def test_sources_in_each_other_and_in_a_log_directory_take_each_file_once(
    robot: Robot,
) -> None:
    logs = "logs"
    await having(
        robot,
        source(robot, logs, "text", key="text/{name}"),
        source(robot, f"{logs}/events", "xml", "text", key="outer/{name}"),
        source(robot, f"{logs}/events/inner", "xml", key="inner/{name}"),
    )
    robot.write("20250727_143022_flight.ulg")
    os.utime(robot.logs / "20250727_143022_flight.ulg", (MTIME, MTIME))
    put(robot.logs / "a.log", b"a")
    put(robot.logs / "events/b.log", b"b")
    put(robot.logs / "events/c.xml", XML + b"\n")
    put(robot.logs / "events/inner/d.xml", XML)

    await scanned(robot)

    assert sorted(key.removeprefix(HOME) for key in robot.stored()) == [
        "20231114_221320_20250727_143022_flight.ulg",  # as ever
        "inner/d.xml",
        "outer/b.log",
        "outer/c.xml",
        "text/a.log",
    ]
    assert all(proven(row) for row in await rows(robot))


async def test_a_source_around_the_state_directory_leaves_the_spool_alone(robot: Robot) -> None:
    await having(robot, {"directory": str(robot.tmp), "kinds": ["xml"], "key": "found/{name}"})
    copied = put(robot.tmp / "state/spool/0123.xml", XML)
    await scanned(robot)
    assert await rows(robot) == []
    assert copied.exists()


async def test_a_log_that_lies_in_a_source_may_be_named(robot: Robot) -> None:
    await having(robot, source(robot, "events", "xml", key="e/{name}"))
    path = put(robot.tmp / "events/a.xml", XML)
    row = await robot.service.enqueue(path, inside_only=True)
    assert (row.path, row.key, row.spooled) == (str(path), f"{HOME}e/a.xml", False)
    with pytest.raises(NotAFlightLog):
        await robot.service.enqueue(put(robot.tmp / "events/a.log", b"a"))
    with pytest.raises(NotAllowed):
        await robot.service.enqueue(put(robot.tmp / "other/a.xml", XML), inside_only=True)


# -- still written, and rotated


@pytest.mark.guarantee(
    "file",
    "an event file is still open for writing, or changes within the settle time",
    "it waits; what is sent is the whole file",
)
async def test_a_file_that_is_still_written_waits(robot: Robot) -> None:
    await having(robot, source(robot))
    path = robot.tmp / "events/a.xml"
    path.parent.mkdir()
    with path.open("wb") as writer:
        writer.write(b"<events>")
        writer.flush()
        await scanned(robot)
        assert await rows(robot) == []
        writer.write(b"</events>")
    await scanned(robot)
    [row] = await rows(robot)
    robot.assert_sent_once(row, path)


async def test_a_log_that_grows_is_sent_anew_under_a_key_of_its_own(robot: Robot) -> None:
    await having(robot, source(robot, "events", "text"))
    path = put(robot.tmp / "events/a.log", b"one\n")
    await scanned(robot)
    put(path, b"one\ntwo\n", MTIME + 60)
    await scanned(robot)
    assert [robot.body(row.key) for row in await rows(robot)] == [b"one\n", b"one\ntwo\n"]


def rotate(path: Path, body: bytes, mtime: int) -> None:
    """As logrotate does: ``.1`` becomes ``.2``, the file becomes ``.1``, a new one begins."""
    first, second = path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.2")
    if first.exists():
        first.rename(second)
    path.rename(first)
    put(path, body, mtime)


def event(number: int) -> bytes:
    return b"<events><event id='%d'/></events>" % number


@pytest.mark.guarantee(
    "file",
    "event files are rotated by rename, before or after they were sent",
    "each is sent once, and none is lost",
)
@pytest.mark.parametrize("before", [True, False])
async def test_what_is_rotated_is_sent_once(robot: Robot, before: bool) -> None:
    await having(robot, source(robot))
    path = put(robot.tmp / "events/events.xml", event(0))
    for number in range(1, 4):
        if before:
            await robot.service.landed()
        else:
            await scanned(robot)
        rotate(path, event(number), MTIME + number)
    await scanned(robot)
    await scanned(robot)

    # The first of four went beyond .2 when all was rotated thrice; it had landed before.
    bodies = sorted(robot.body(key) for key in robot.stored())
    assert bodies == [event(n) for n in range(1 if before else 0, 4)]
    assert sent(robot) == len(bodies)
    lost = [(row.state, row.code) for row in await rows(robot) if row.state != "verified"]
    assert lost == ([("dead", "source_gone")] if before else [])


@pytest.mark.parametrize("scan_first", [True, False])
async def test_a_rotation_in_the_middle_of_an_upload_resends_no_part(
    robot: Robot, scan_first: bool
) -> None:
    await having(robot, source(robot), concurrency=1)
    path = put(robot.tmp / "events/events.xml", BIG_XML)
    await robot.service.landed()
    robot.cut_after(100_000, part=2)
    await robot.step()
    [row] = await rows(robot)
    assert (row.state, row.parts_sent) == ("queued", 1)
    robot.link.forward()
    await robot.restart()

    rotate(path, XML, MTIME + 1)
    if scan_first:
        await scanned(robot)
    else:
        await robot.finish(row)
    await scanned(robot)

    assert sorted(map(len, map(robot.body, robot.stored()))) == [len(XML), len(BIG_XML)]
    assert robot.ledger.resent_confirmed_parts == 0
    assert len(await rows(robot)) == 2


@pytest.mark.guarantee(
    "file",
    "an event file has another inode after one boot, and another time after the next",
    "it is still the one that was entered: its upload goes on",
)
async def test_a_file_that_is_mounted_anew_twice_goes_on(robot: Robot) -> None:
    await having(robot, source(robot), concurrency=1)
    path = put(robot.tmp / "events/events.xml", BIG_XML)
    await robot.service.landed()
    for part, moved_s in ((1, 0), (2, 3600)):
        mtime_ns = path.stat().st_mtime_ns
        robot.fault("UploadPart", DROP, part=part)
        await robot.service.drainer.pause.retry_now()
        await robot.step()
        copy = path.with_name("copy")
        if not moved_s:
            shutil.copyfile(path, copy)
            copy.replace(path)
        os.utime(path, ns=(mtime_ns + moved_s * 10**9,) * 2)

    [row] = await rows(robot)
    done = await robot.finish(row)

    robot.assert_sent_once(done, path)


# -- retention


async def age(robot: Robot) -> None:
    await days_pass(robot, 10 * DAY_S)


@pytest.mark.guarantee(
    "retention",
    "files of a source, some proven, some waiting, some refused, some rotated away",
    "only those whose own bytes are proven are deleted",
)
async def test_retention_frees_proven_files_of_a_source_and_only_those(robot: Robot) -> None:
    await having(robot, source(robot), retention_days=7)
    events = robot.tmp / "events"
    put(events / "old.xml", XML)
    put(events / "page.xml", b"<html>")
    rotated = put(events / "events.xml", event(1))
    put(events / "left-alone.log", b"text")
    await scanned(robot)
    await age(robot)
    rotate(rotated, event(2), MTIME + 1)
    put(events / "waiting.xml", event(3))
    await robot.service.landed()

    await robot.service.retention.step()
    assert sorted(path.name for path in events.iterdir()) == sorted(
        ["events.xml", "left-alone.log", "page.xml", "waiting.xml"]
    )


async def test_a_source_that_is_no_longer_named_is_never_cleared(robot: Robot) -> None:
    await having(robot, source(robot))
    path = put(robot.tmp / "events/old.xml", XML)
    await scanned(robot)
    await age(robot)
    await having(robot, retention_days=7)
    assert await robot.service.retention.step() == 0
    assert path.exists()


# -- the outbox is lost


async def lost(robot: Robot) -> Service:
    """A new process, without what the one before knew."""
    await robot.service.stop()
    for path in robot.state.glob("outbox.db*"):
        path.unlink()
    service = await robot.open()
    await adopt_copies(service.intake)
    return service


def notes(robot: Robot) -> list[Path]:
    return list((robot.state / "spool").glob(".*.about"))


@pytest.mark.guarantee(
    "device",
    "the outbox is lost, and with it what a copy in the spool was called and where it was to go",
    "name, asked key, session and description are read beside the copy",
)
async def test_a_copy_says_what_it_is_when_the_outbox_is_lost(robot: Robot) -> None:
    async def body() -> Any:
        yield b"line\n" * 30

    asked = f"{HOME}sessions/s-1/notes/what happened.log"
    facts = {"description": "Höhe\nund Länge", "media-type": "text/plain"}
    await robot.service.receive(
        body(), "what happened.log", key=asked, session_id="s-1", facts=facts, kinds=ALL_KINDS
    )
    [before] = await rows(robot)

    await lost(robot)

    [after] = await rows(robot)
    kept = ("name", "key", "asked_key", "session_id", "facts", "kind", "path", "size", "spooled")
    for name in kept:
        assert getattr(after, name) == getattr(before, name), name
    done = await robot.finish(after)
    assert (done.key, robot.body(asked)) == (asked, b"line\n" * 30)
    assert notes(robot) == []
    assert list((robot.state / "spool").iterdir()) == []


async def test_one_file_asked_for_under_two_keys_is_two_copies_that_outlive_the_outbox(
    robot: Robot,
) -> None:
    path = robot.tmp / "card/flight.ulg"
    robot.store.copy(path, 200_000, 3)
    keys = [f"{HOME}asked/{name}.ulg" for name in "ab"]
    for key in keys:
        await robot.service.enqueue(path, key=key)

    await lost(robot)

    for row in await rows(robot):
        await robot.finish(row)
    assert sorted(robot.stored()) == keys


GARBAGE = {
    "nothing": b"",
    "noise": b"\xff\0\xfe{",
    "another shape": b'["name"]',
    "wrong types": b'{"name": 5, "asked_key": [], "session_id": {}, "facts": "x"}',
    "a path": b'{"name": "../../etc/passwd"}',
    "another kind": b'{"name": "a.pdf"}',
    "another content": b'{"name": "a.xml"}',
    "no Unicode": b'{"name": "\\ud800.ulg", "session_id": "\\ud800"}',
    "another machine's key": b'{"asked_key": "flight_logs/drone-002/a.ulg"}',
    "a key in tmp": b'{"asked_key": "flight_logs/drone-001/tmp/a.ulg"}',
    "a key that climbs": b'{"asked_key": "flight_logs/drone-001/../../a.ulg"}',
    "no header": b'{"facts": {"a\\r\\nb": "c", "d": 5, "e": {"f": []}}}',
}


@pytest.mark.parametrize("noise", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_beside_a_copy_harms_nothing(robot: Robot, noise: bytes) -> None:
    path = robot.tmp / "card/flight.ulg"
    robot.store.copy(path, 200_000, 3)
    await robot.service.enqueue(path)
    [note] = notes(robot)
    note.write_bytes(noise)

    await lost(robot)

    [row] = await rows(robot)
    done = await robot.finish(row)
    assert proven(done)
    assert robot.body(done.key) == path.read_bytes()
    assert done.key.startswith(HOME)
    assert not done.key.startswith(f"{HOME}tmp/")
    assert list((robot.state / "spool").iterdir()) == []


async def test_a_refused_file_leaves_nothing_beside_no_copy(robot: Robot) -> None:
    path = put(robot.tmp / "card/a.xml", b"no XML")
    with pytest.raises(NotAFlightLog):
        await robot.service.enqueue(path, kinds=ALL_KINDS)
    assert list((robot.state / "spool").iterdir()) == []


# -- tmp/ proves nothing


@pytest.mark.guarantee(
    "answers",
    "the bucket holds a log's very bytes, but below tmp/, where things are deleted after a day",
    "that proves nothing; the log is sent",
)
async def test_what_is_only_handed_over_proves_no_log(robot: Robot) -> None:
    path = robot.write()
    robot.put(f"{HOME}tmp/s-1/0123_flight.ulg", path.read_bytes())
    row = await robot.finish(await robot.service.enqueue(path))
    assert row.key.startswith(HOME)
    assert "/tmp/" not in row.key
    assert row.receipt is not None
    assert row.receipt.key == row.key
    assert (row.same_as, robot.count("PutObject")) == (None, 1)
    assert robot.body(row.key) == path.read_bytes()


@pytest.mark.parametrize(
    "key", [f"{HOME}tmp/a.ulg", f"{HOME}tmp/s-1/a.ulg", f"s3://logs/{HOME}tmp/a.ulg"]
)
async def test_no_log_is_sent_or_moved_into_tmp(robot: Robot, key: str) -> None:
    row = await robot.finish(await robot.land())
    with pytest.raises(NotAllowed, match="tmp/"):
        await robot.service.enqueue(robot.write("b.ulg", seed=1), key=key)
    with pytest.raises(NotAllowed, match="tmp/"):
        await robot.service.objects.move(row.key, key)
    assert robot.stored() == [row.key]
    assert MACHINE in row.key


async def test_the_description_of_a_copy_is_private(robot: Robot) -> None:
    path = robot.tmp / "card/flight.ulg"
    robot.store.copy(path, 200_000, 3)
    await robot.service.enqueue(path, key=f"{HOME}asked/a.ulg", session_id="s-1")
    [note] = notes(robot)
    assert note.stat().st_mode & 0o777 == 0o600
    assert json.loads(note.read_bytes())["session_id"] == "s-1"
    assert await robot.service.outbox(copies.needed)
