"""Logs and results of diagnosis sessions: snapshots that arrive, or say in one sentence why not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rig import DROP, HOME, LOSE_ANSWER, PART, Rig, refusal, until

from petal_s3.errors import S3IntegrationError
from petal_s3.outbox.rows import Row
from petal_s3.service import sessions
from petal_s3.service.sessions import MIB, S3LogMetadata
from petal_s3.upload.attempt import ended

MOMENT_NS = 1_753_626_622 * 10**9  # 2025-07-27 14:30:22 UTC
STAMP = "20250727_143022"
DENIED = refusal(403, "AccessDenied")
HERE = Path(__file__).parent


def written(
    rig: Rig, text: str | bytes = "a line\n", name: str = "app.log", folder: str = "elsewhere"
) -> Path:
    """A text of one program, with a time that the key shows."""
    path = rig.tmp / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, ns=(MOMENT_NS, MOMENT_NS))
    return path


async def enter(rig: Rig, path: Path | str, session: str = "s1", **more: Any) -> Row:
    return await sessions.enter_log(rig.service, path, session, **more)


def spool(rig: Rig) -> list[str]:
    return sorted(path.name for path in (rig.state / "spool").iterdir())


def nothing_stays(rig: Rig) -> None:
    assert rig.sql("SELECT count(*) FROM log") == [(0,)]
    assert (spool(rig), rig.stored(), rig.open_uploads()) == ([], [], [])


async def told_of(rig: Rig, row: Row) -> S3LogMetadata:
    return await sessions.metadata_of(rig.service, await rig.finish(row))


# -- what arrives


async def test_a_log_stands_at_the_key_of_its_session_and_says_what_it_is(rig: Rig) -> None:
    path = written(rig, "größe 1\n", "error log (1).txt")

    row = await enter(rig, path, "flight-42", description="Motor 3 läuft heiß")
    told = await told_of(rig, row)

    key = f"{HOME}sessions/flight-42/logs/{STAMP}_error_log_1.txt"
    assert told.key == key
    assert rig.body(key) == path.read_bytes()
    about = rig.head(key)["Metadata"]
    assert about["description"] == "Motor%203%20l%C3%A4uft%20hei%C3%9F"
    assert about["original-filename"] == "error%20log%20%281%29.txt"
    assert about["session-id"] == "flight-42"
    assert told.model_dump() == {
        "s3_uri": f"s3://logs/{key}", "bucket": "logs", "key": key,
        "file_name": "error log (1).txt", "file_size": len(path.read_bytes()),
        "upload_timestamp": told.upload_timestamp, "session_id": "flight-42",
        "content_type": "text/plain", "presigned_url": told.presigned_url,
        "etag": rig.head(key)["ETag"].strip('"'),
    }  # fmt: skip
    assert told.upload_timestamp.endswith("+00:00")
    assert spool(rig) == []


async def test_a_result_is_json_below_analysis(rig: Rig) -> None:
    found = {"cause": "Überhitzung", "sure": 0.9, "steps": ["a", "b"]}

    told = await told_of(rig, await sessions.enter_result(rig.service, "s1", found, "motor check"))

    folder, _, name = told.key.rpartition("/")
    assert folder == f"{HOME}sessions/s1/analysis"
    assert name.endswith("_motor_check.json")
    assert json.loads(rig.body(told.key)) == found
    assert told.content_type == "application/json"
    assert [item.key for item in await sessions.list_logs(rig.service, "s1")] == []


@pytest.mark.guarantee(
    "file",
    "a session's log is written to, cut off and renamed while it waits and while it is sent",
    "the very bytes that it held at the call arrive",
)
async def test_a_log_that_is_still_written_to_arrives_as_it_was(rig: Rig) -> None:
    before = b"x" * 79 + b"\n"
    path = written(rig, before * 80_000)
    with path.open("ab") as writer:
        row = await enter(rig, path)
        writer.write(b"later\n")
        writer.flush()

        def spoil() -> None:
            writer.write(b"later still\n")
            writer.flush()
            os.truncate(path, 10)
            path.rename(path.with_suffix(".old"))

        rig.when_sent(1_000_000, spoil)
        done = await rig.finish(row)

    assert (done.state, rig.body(done.key)) == ("verified", before * 80_000)


async def test_what_is_added_while_it_is_copied_belongs_to_the_next_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(rig, b"before\n" * 400_000)
    whole = path.read_bytes()
    read = sessions._read

    async def grow(*args: Any) -> Any:
        async with contextlib.aclosing(read(*args)) as blocks:
            async for block in blocks:
                with path.open("ab") as file:
                    file.write(b"after\n" * 1000)
                yield block

    monkeypatch.setattr(sessions, "_read", grow)

    done = await rig.finish(await enter(rig, path))

    assert rig.body(done.key) == whole


async def test_a_log_that_grew_is_another_one(rig: Rig) -> None:
    path = written(rig, "one\n")
    first = await rig.finish(await enter(rig, path))
    written(rig, "one\ntwo\n")  # in the same second

    second = await rig.finish(await enter(rig, path))

    assert first.key != second.key
    assert (rig.body(first.key), rig.body(second.key)) == (b"one\n", b"one\ntwo\n")


async def test_the_same_file_asked_again_is_the_same_object(rig: Rig) -> None:
    path = written(rig)

    first, again = await enter(rig, path), await enter(rig, path)
    done = await rig.finish(first)
    late = await rig.finish(await enter(rig, path))

    assert first.id == again.id
    assert (late.state, late.key) == ("verified", done.key)
    assert rig.stored() == [done.key]
    assert rig.count("PutObject") == 1
    assert spool(rig) == []


async def test_the_same_bytes_in_two_sessions_are_two_logs(rig: Rig) -> None:
    path = written(rig)

    one, two = await enter(rig, path, "s1"), await enter(rig, path, "s10")
    told = [await told_of(rig, row) for row in (one, two)]

    for session, found in zip(("s1", "s10"), told, strict=True):
        assert found.session_id == session
        assert [item.key for item in await sessions.list_logs(rig.service, session)] == [
            f"{HOME}sessions/{session}/logs/{STAMP}_app.log"
        ]


@pytest.mark.parametrize("other", ["other 1\n", "another one\n"])
async def test_two_files_of_one_name_and_second_are_two_objects(rig: Rig, other: str) -> None:
    paths = [written(rig, "line: 1\n", folder="a"), written(rig, other, folder="b")]

    rows = [await enter(rig, path) for path in paths]
    done = [await rig.finish(row) for row in rows]

    assert len({row.id for row in rows}) == len({row.key for row in done}) == 2
    assert [rig.body(row.key) for row in done] == [path.read_bytes() for path in paths]


async def test_two_results_of_one_second_are_two_objects(rig: Rig) -> None:
    rows = [await sessions.enter_result(rig.service, "s1", {"n": n}) for n in (1, 2, 1)]
    done = [await rig.finish(row) for row in rows]

    assert [json.loads(rig.body(row.key))["n"] for row in done] == [1, 2, 1]


# -- when it cannot be sent now


@pytest.mark.guarantee(
    "links",
    "a session's log is uploaded offline, and the program that wrote it removes it",
    "the answer carries the row; key, session and description arrive with the log later",
)
async def test_offline_the_row_is_told_and_the_log_arrives_later(rig: Rig) -> None:
    await rig.run(request_timeout=1)
    rig.link.cut()
    path = written(rig, "offline\n")

    with pytest.raises(S3IntegrationError) as told:
        await sessions.upload_log(rig.service, path, "s1", "no network")
    path.unlink()
    waiting = await sessions.waiting(rig.service, "s1")
    await rig.link.restore()

    assert (told.value.status, told.value.waiting_helps) == (503, True)
    assert [row.id for row in waiting] == [told.value.row_id]
    assert told.value.row_id is not None
    await rig.restart()
    done = await rig.finish(await rig.row(told.value.row_id))
    assert rig.body(done.key) == b"offline\n"
    assert rig.head(done.key)["Metadata"]["description"] == "no%20network"
    assert (done.session_id, await sessions.waiting(rig.service, "s1")) == ("s1", [])


@pytest.mark.parametrize("fault", [DROP, LOSE_ANSWER])
async def test_a_lost_answer_is_no_lost_log(rig: Rig, fault: Any) -> None:
    rig.fault("PutObject", fault)
    row = await enter(rig, written(rig))

    done = await rig.finish(row)

    assert (done.state, rig.stored()) == ("verified", [row.key])


async def test_a_proven_log_is_told_though_no_url_can_be_signed(rig: Rig) -> None:
    row = await rig.finish(await enter(rig, written(rig)))
    await rig.restart()
    rig.tokens.fail_with(500)
    rig.link.cut()

    told = await sessions.metadata_of(rig.service, row)

    assert (told.key, told.presigned_url) == (row.key, None)


@pytest.mark.guarantee(
    "device",
    "the outbox is lost while a session's log waits in the spool",
    "it goes up under its own key, with session and description",
)
async def test_a_lost_outbox_loses_neither_session_nor_description(rig: Rig) -> None:
    path = written(rig, "kept\n")
    row = await enter(rig, path, description="why")
    path.unlink()
    await rig.service.stop()
    for file in rig.state.glob("outbox.db*"):
        file.unlink()
    service = await rig.open()
    await service.intake.adopt_copies()

    done = await rig.finish(1)

    assert (done.key, done.session_id, done.name) == (row.key, "s1", "app.log")
    assert rig.body(done.key) == b"kept\n"
    assert rig.head(done.key)["Metadata"]["description"] == "why"


@pytest.mark.guarantee(
    "device",
    "the process is killed (SIGKILL) while it sends a session's log",
    "the next one finishes it under the same key, with session and description",
)
async def test_killed_while_it_sends_the_next_process_finishes_it(rig: Rig) -> None:
    path = written(rig, b"y" * 79 + b"\n")
    with path.open("ab") as file:
        for _ in range(2 * PART // 80_000 + 1):
            file.write((b"z" * 79 + b"\n") * 1000)
    whole = path.read_bytes()
    await rig.service.stop()
    sent = asyncio.Event()
    rig.when_sent(100_000, sent.set, part=2)
    child = await asyncio.create_subprocess_exec(
        sys.executable, HERE / "session_child.py", *child_args(rig, path), stdout=subprocess.PIPE
    )
    try:
        await asyncio.wait_for(sent.wait(), 60)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.communicate()
    path.unlink()
    await rig.open()

    [(row_id, key)] = rig.sql("SELECT id, key FROM log")
    done = await rig.finish(row_id)

    assert (done.state, done.key, done.session_id) == ("verified", key, "s1")
    assert key.startswith(f"{HOME}sessions/s1/logs/")
    assert rig.body(key) == whole
    assert rig.head(key)["Metadata"]["description"] == "in%20the%20middle"
    assert rig.open_uploads() == []
    assert rig.ledger.resent_confirmed_parts == 0


def child_args(rig: Rig, path: Path) -> list[str]:
    given = {
        "bucket_name": "logs", "session_token_url": rig.tokens.url, "endpoint_url": rig.link.url,
        "machine_id": "drone-001", "state_dir": str(rig.state), "log_dirs": str(rig.logs),
        "settle_seconds": 0,
    }  # fmt: skip
    return [json.dumps(given), str(path), "s1", "in the middle"]


async def test_memory_stays_flat_however_large_a_log_is(rig: Rig) -> None:
    await rig.service.stop()
    grown = []
    for size in (10_000_000, 100_000_000):
        path = rig.tmp / f"{size}.log"
        with path.open("wb") as file:
            for at in range(0, size, 1_000_000):
                file.write(b"%09d\n" % at * 100_000)
        child = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "session_child.py", *child_args(rig, path),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await child.communicate()
        told = json.loads(out)
        assert told["size"] == size
        grown.append(told["peak"])
        path.unlink()

    assert grown[1] - grown[0] < 20 * MIB, grown


# -- what is refused


BAD: list[tuple[str, str | bytes, str, str, int]] = [
    ("report.pdf", "%PDF", "Invalid file type: .pdf. Allowed: .log, .txt, .csv, .out, .err.",
     "extension", 422),
    ("noextension", "text", "Invalid file type: none. Allowed: .log, .txt, .csv, .out, .err.",
     "extension", 422),
    ("a.log", b"\x00\x01\x02" * 999, "'a.log' is not readable text: its first bytes are binary.",
     "not_text", 422),
    ("z.log", b"\0" * 4096, "'z.log' contains only zeros: nothing was recorded in it.",
     "zero_filled", 422),
    ("e.log", "", "'e.log' is empty (0 bytes).", "empty", 422),
    ("g.log", b"\x1f\x8b\x08\x00" * 99, "'g.log' is compressed: unpack it first.", "compressed",
     422),
]  # fmt: skip


@pytest.mark.guarantee(
    "file",
    "a PDF, a binary, an empty or a too large file is uploaded as a session's log",
    "one sentence and a code; no row, no copy, no object",
)
@pytest.mark.parametrize(("name", "body", "sentence", "code", "status"), BAD)
async def test_what_is_no_text_log_is_refused(
    rig: Rig, name: str, body: bytes, sentence: str, code: str, status: int
) -> None:
    path = written(rig, body, name)

    with pytest.raises(S3IntegrationError) as told:
        await enter(rig, path)

    assert (told.value.message, told.value.code, told.value.status) == (sentence, code, status)
    nothing_stays(rig)


async def test_a_log_beyond_500_mb_is_refused_before_a_byte_is_copied(rig: Rig) -> None:
    path = written(rig, "big\n")
    os.truncate(path, int(550.5 * MIB))

    with pytest.raises(S3IntegrationError) as told:
        await enter(rig, path)

    assert told.value.message == "File too large: 550.5MB (max: 500MB)."
    assert (told.value.code, told.value.status) == ("too_large", 413)
    nothing_stays(rig)


@pytest.mark.parametrize(
    "session", ["", ".", "..", "a/b", "../s2", "a b", "ä", "x" * 129, "s1/", "s1\n", "s1\0", "%2e"]
)
async def test_what_cannot_name_a_session_is_refused(rig: Rig, session: str) -> None:
    path = written(rig)
    for work in (
        enter(rig, path, session),
        sessions.enter_result(rig.service, session, {}),
        sessions.list_logs(rig.service, session),
    ):
        with pytest.raises(S3IntegrationError) as told:
            await work
        assert (told.value.code, told.value.status) == ("bad_session", 400)
    nothing_stays(rig)


async def test_what_is_no_file_is_refused(rig: Rig) -> None:
    folder = rig.tmp / "folder.log"
    folder.mkdir()
    fifo = rig.tmp / "fifo.log"
    os.mkfifo(fifo)
    for path, code in (
        (rig.tmp / "gone.log", "not_found"), (folder, "not_regular"), (fifo, "not_regular"),
        ("", "bad_path"), ("a\0.log", "bad_path"), ("/", "not_regular"),
        ("/dev/zero", "not_regular"),
    ):  # fmt: skip
        with pytest.raises(S3IntegrationError) as told:
            await enter(rig, path)
        assert told.value.code == code, path
    nothing_stays(rig)


async def test_a_file_elsewhere_is_refused_where_only_log_directories_count(rig: Rig) -> None:
    outside = written(rig)
    link = rig.logs / "app.log"
    link.symlink_to(outside)
    for path in (outside, link, rig.logs / ".." / "elsewhere" / "app.log", rig.tmp / "gone.log"):
        with pytest.raises(S3IntegrationError) as told:
            await enter(rig, path, inside_only=True)
        assert (told.value.code, told.value.status) == ("not_allowed", 403)
    nothing_stays(rig)


async def test_a_result_that_is_no_json_is_refused(rig: Rig) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for result in ({"x": object()}, {"x": float("nan")}, loop, {"x": "\ud800"}, [1], None):
        with pytest.raises(S3IntegrationError) as told:
            await sessions.enter_result(rig.service, "s1", result)  # type: ignore[arg-type]
        assert (told.value.code, told.value.status) == ("no_json", 400)
        assert told.value.message.count(". ") == 0
    with pytest.raises(S3IntegrationError) as told:
        await sessions.enter_result(rig.service, "s1", {"x": "y" * (16 * MIB)})
    assert (told.value.code, told.value.status) == ("too_large", 413)
    for name in ("", "a/b", "../x", "x" * 101, "ä", "a\n", ".json", "..", ".hidden"):
        with pytest.raises(S3IntegrationError) as told:
            await sessions.enter_result(rig.service, "s1", {}, name)
        assert told.value.status == 400, name
    nothing_stays(rig)


async def test_a_session_that_nobody_knows_is_told(rig: Rig) -> None:
    await rig.finish(await enter(rig, written(rig), "s10"))

    with pytest.raises(S3IntegrationError) as told:
        await sessions.list_logs(rig.service, "s1")

    assert (told.value.code, told.value.status) == ("no_session", 404)


async def test_a_session_whose_only_log_waits_is_known(rig: Rig) -> None:
    await enter(rig, written(rig))

    assert await sessions.list_logs(rig.service, "s1") == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [(DENIED, "forbidden"), (refusal(404, "NoSuchBucket"), "no_bucket")],
)
async def test_a_bucket_that_is_not_ours_keeps_the_log_here(
    rig: Rig, answer: Any, code: str
) -> None:
    await rig.run(request_timeout=1)
    for op in ("PutObject", "HeadObject", "ListObjectsV2", "GetObject"):
        rig.always(op, answer)

    with pytest.raises(S3IntegrationError) as told:
        await sessions.upload_log(rig.service, written(rig), "s1")

    assert told.value.status == 503
    assert told.value.row_id is not None
    assert (rig.stored(), rig.open_uploads()) == ([], [])
    rig.heal()
    row = await rig.row(told.value.row_id)
    await rig.restart()
    assert (await rig.finish(row)).state == "verified"


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "ü" * 1000, "\ud800", "a\r\nX-Evil: 1\0", "🛩" * 999]
)
async def test_whatever_is_said_of_a_log_it_arrives(rig: Rig, text: str) -> None:
    row = await enter(rig, written(rig), description=text)

    done = await rig.finish(row)

    assert done.state == "verified"
    assert rig.head(done.key)["Metadata"]["description"]
    assert len(json.dumps(dict(done.facts))) < 16_000, "a row is no place for a novel"


async def test_who_is_cancelled_while_it_is_copied_leaves_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = sessions._read

    async def stop_in_the_middle(*args: Any) -> Any:
        async with contextlib.aclosing(read(*args)) as blocks:
            yield await anext(blocks)
            yield await anext(blocks)
            await asyncio.Event().wait()

    monkeypatch.setattr(sessions, "_read", stop_in_the_middle)
    begun = asyncio.create_task(enter(rig, written(rig, b"before\n" * 1_000_000)))
    await until(lambda: spool(rig))

    await ended(begun)  # asked more than once: Python 3.11 may lose a cancellation
    assert begun.cancelled()

    nothing_stays(rig)


async def test_a_log_beyond_the_limit_of_all_files_is_refused(rig: Rig) -> None:
    await rig.restart(max_file_size=1000)

    with pytest.raises(S3IntegrationError) as told:
        await enter(rig, written(rig, "x" * 2000))

    assert (told.value.code, told.value.status) == ("too_large", 413)
    nothing_stays(rig)
