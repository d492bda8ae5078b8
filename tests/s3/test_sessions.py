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
from others import settings_of
from robot import DROP, HOME, LOSE_ANSWER, PART, Robot, refusal, until

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError
from petal_s3.intake.spooling import adopt_copies
from petal_s3.outbox.rows import Row
from petal_s3.service import sessions
from petal_s3.service.sessions import MIB
from petal_s3.service.views.sessions import S3LogMetadata

MOMENT_NS = 1_753_626_622 * 10**9  # 2025-07-27 14:30:22 UTC
STAMP = "20250727_143022"
DENIED = refusal(403, "AccessDenied")
HERE = Path(__file__).parent


def written(
    robot: Robot, text: str | bytes = "a line\n", name: str = "app.log", folder: str = "elsewhere"
) -> Path:
    """A text of one program, with a time that the key shows."""
    path = robot.tmp / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, ns=(MOMENT_NS, MOMENT_NS))
    return path


async def enter(robot: Robot, path: Path | str, session: str = "s1", **more: Any) -> Row:
    return await sessions.enter_log(robot.service, path, session, **more)


def spool(robot: Robot) -> list[str]:
    return sorted(path.name for path in (robot.state / "spool").iterdir())


def nothing_stays(robot: Robot) -> None:
    assert robot.sql("SELECT count(*) FROM log") == [(0,)]
    assert (spool(robot), robot.stored(), robot.open_uploads()) == ([], [], [])


async def told_of(robot: Robot, row: Row) -> S3LogMetadata:
    return await sessions.metadata_of(robot.service, await robot.finish(row))


# -- what arrives


async def test_a_log_stands_at_the_key_of_its_session_and_says_what_it_is(robot: Robot) -> None:
    path = written(robot, "größe 1\n", "error log (1).txt")

    row = await enter(robot, path, "flight-42", description="Motor 3 läuft heiß")
    told = await told_of(robot, row)

    key = f"{HOME}sessions/flight-42/logs/{STAMP}_error_log_1.txt"
    assert told.key == key
    assert robot.body(key) == path.read_bytes()
    about = robot.head(key)["Metadata"]
    assert about["description"] == "Motor%203%20l%C3%A4uft%20hei%C3%9F"
    assert about["original-filename"] == "error%20log%20%281%29.txt"
    assert about["session-id"] == "flight-42"
    assert told.model_dump() == {
        "s3_uri": f"s3://logs/{key}",
        "bucket": "logs",
        "key": key,
        "file_name": "error log (1).txt",
        "file_size": len(path.read_bytes()),
        "upload_timestamp": told.upload_timestamp,
        "session_id": "flight-42",
        "content_type": "text/plain",
        "presigned_url": told.presigned_url,
        "etag": robot.head(key)["ETag"].strip('"'),
    }
    assert told.upload_timestamp.endswith("+00:00")
    assert spool(robot) == []


async def test_a_result_is_json_below_analysis(robot: Robot) -> None:
    found = {"cause": "Überhitzung", "sure": 0.9, "steps": ["a", "b"]}

    told = await told_of(
        robot, await sessions.enter_result(robot.service, "s1", found, "motor check")
    )

    folder, _, name = told.key.rpartition("/")
    assert folder == f"{HOME}sessions/s1/analysis"
    assert name.endswith("_motor_check.json")
    assert json.loads(robot.body(told.key)) == found
    assert told.content_type == "application/json"
    assert [item.key for item in await sessions.list_logs(robot.service, "s1")] == []


@pytest.mark.guarantee(
    "file",
    "a session's log is written to, cut off and renamed while it waits and while it is sent",
    "the very bytes that it held at the call arrive",
)
async def test_a_log_that_is_still_written_to_arrives_as_it_was(robot: Robot) -> None:
    before = b"x" * 79 + b"\n"
    path = written(robot, before * 80_000)
    with path.open("ab") as writer:
        row = await enter(robot, path)
        writer.write(b"later\n")
        writer.flush()

        def spoil() -> None:
            writer.write(b"later still\n")
            writer.flush()
            os.truncate(path, 10)
            path.rename(path.with_suffix(".old"))

        robot.when_sent(1_000_000, spoil)
        done = await robot.finish(row)

    assert (done.state, robot.body(done.key)) == ("verified", before * 80_000)


async def test_what_is_added_while_it_is_copied_belongs_to_the_next_time(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(robot, b"before\n" * 400_000)
    whole = path.read_bytes()
    read = sessions.read_blocks

    async def grow(*args: Any) -> Any:
        async with contextlib.aclosing(read(*args)) as blocks:
            async for block in blocks:
                with path.open("ab") as file:
                    file.write(b"after\n" * 1000)
                yield block

    monkeypatch.setattr(sessions, "read_blocks", grow)

    done = await robot.finish(await enter(robot, path))

    assert robot.body(done.key) == whole


async def test_a_log_that_grew_is_another_one(robot: Robot) -> None:
    path = written(robot, "one\n")
    first = await robot.finish(await enter(robot, path))
    written(robot, "one\ntwo\n")  # in the same second

    second = await robot.finish(await enter(robot, path))

    assert first.key != second.key
    assert (robot.body(first.key), robot.body(second.key)) == (b"one\n", b"one\ntwo\n")


async def test_the_same_file_asked_again_is_the_same_object(robot: Robot) -> None:
    path = written(robot)

    first, again = await enter(robot, path), await enter(robot, path)
    done = await robot.finish(first)
    late = await robot.finish(await enter(robot, path))

    assert first.id == again.id
    assert (late.state, late.key) == ("verified", done.key)
    assert robot.stored() == [done.key]
    assert robot.count("PutObject") == 1
    assert spool(robot) == []


async def test_the_same_bytes_in_two_sessions_are_two_logs(robot: Robot) -> None:
    path = written(robot)

    one, two = await enter(robot, path, "s1"), await enter(robot, path, "s10")
    told = [await told_of(robot, row) for row in (one, two)]

    for session, found in zip(("s1", "s10"), told, strict=True):
        assert found.session_id == session
        assert [item.key for item in await sessions.list_logs(robot.service, session)] == [
            f"{HOME}sessions/{session}/logs/{STAMP}_app.log"
        ]


@pytest.mark.parametrize("other", ["other 1\n", "another one\n"])
async def test_two_files_of_one_name_and_second_are_two_objects(robot: Robot, other: str) -> None:
    paths = [written(robot, "line: 1\n", folder="a"), written(robot, other, folder="b")]

    rows = [await enter(robot, path) for path in paths]
    done = [await robot.finish(row) for row in rows]

    assert len({row.id for row in rows}) == len({row.key for row in done}) == 2
    assert [robot.body(row.key) for row in done] == [path.read_bytes() for path in paths]


async def test_two_results_of_one_second_are_two_objects(robot: Robot) -> None:
    rows = [await sessions.enter_result(robot.service, "s1", {"n": n}) for n in (1, 2, 1)]
    done = [await robot.finish(row) for row in rows]

    assert [json.loads(robot.body(row.key))["n"] for row in done] == [1, 2, 1]


# -- when it cannot be sent now


@pytest.mark.guarantee(
    "links",
    "a session's log is uploaded offline, and the program that wrote it removes it",
    "the answer carries the row; key, session and description arrive with the log later",
)
async def test_offline_the_row_is_told_and_the_log_arrives_later(robot: Robot) -> None:
    await robot.run(request_timeout=1)
    robot.link.cut()
    path = written(robot, "offline\n")

    with pytest.raises(S3IntegrationError) as told:
        await sessions.upload_log(robot.service, path, "s1", "no network")
    path.unlink()
    waiting = await sessions.waiting(robot.service, "s1")
    robot.link.forward()

    assert (told.value.status, told.value.waiting_helps) == (503, True)
    assert [row.id for row in waiting] == [told.value.row_id]
    assert told.value.row_id is not None
    await robot.restart()
    done = await robot.finish(await robot.row(told.value.row_id))
    assert robot.body(done.key) == b"offline\n"
    assert robot.head(done.key)["Metadata"]["description"] == "no%20network"
    assert (done.session_id, await sessions.waiting(robot.service, "s1")) == ("s1", [])


@pytest.mark.parametrize("fault", [DROP, LOSE_ANSWER])
async def test_a_lost_answer_is_no_lost_log(robot: Robot, fault: Any) -> None:
    robot.fault("PutObject", fault)
    row = await enter(robot, written(robot))

    done = await robot.finish(row)

    assert (done.state, robot.stored()) == ("verified", [row.key])


async def test_a_proven_log_is_told_though_no_url_can_be_signed(robot: Robot) -> None:
    row = await robot.finish(await enter(robot, written(robot)))
    await robot.restart()
    robot.tokens.fail_with(500)
    robot.link.cut()

    told = await sessions.metadata_of(robot.service, row)

    assert (told.key, told.presigned_url) == (row.key, None)


@pytest.mark.guarantee(
    "device",
    "the outbox is lost while a session's log waits in the spool",
    "it goes up under its own key, with session and description",
)
async def test_a_lost_outbox_loses_neither_session_nor_description(robot: Robot) -> None:
    path = written(robot, "kept\n")
    row = await enter(robot, path, description="why")
    path.unlink()
    await robot.service.stop()
    for file in robot.state.glob("outbox.db*"):
        file.unlink()
    service = await robot.open()
    await adopt_copies(service.intake)

    done = await robot.finish(1)

    assert (done.key, done.session_id, done.name) == (row.key, "s1", "app.log")
    assert robot.body(done.key) == b"kept\n"
    assert robot.head(done.key)["Metadata"]["description"] == "why"


@pytest.mark.guarantee(
    "device",
    "the process is killed (SIGKILL) while it sends a session's log",
    "the next one finishes it under the same key, with session and description",
)
async def test_killed_while_it_sends_the_next_process_finishes_it(robot: Robot) -> None:
    path = written(robot, b"y" * 79 + b"\n")
    with path.open("ab") as file:
        for _ in range(2 * PART // 80_000 + 1):
            file.write((b"z" * 79 + b"\n") * 1000)
    whole = path.read_bytes()
    await robot.service.stop()
    sent = asyncio.Event()
    robot.when_sent(100_000, sent.set, part=2)
    child = await asyncio.create_subprocess_exec(
        sys.executable, HERE / "session_child.py", *child_args(robot, path), stdout=subprocess.PIPE
    )
    try:
        await asyncio.wait_for(sent.wait(), 60)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.communicate()
    path.unlink()
    await robot.open()

    [(row_id, key)] = robot.sql("SELECT id, key FROM log")
    done = await robot.finish(row_id)

    assert (done.state, done.key, done.session_id) == ("verified", key, "s1")
    assert key.startswith(f"{HOME}sessions/s1/logs/")
    assert robot.body(key) == whole
    assert robot.head(key)["Metadata"]["description"] == "in%20the%20middle"
    assert robot.open_uploads() == []
    assert robot.ledger.resent_confirmed_parts == 0


def child_args(robot: Robot, path: Path) -> list[str]:
    return [json.dumps(settings_of(robot)), str(path), "s1", "in the middle"]


async def test_memory_stays_flat_however_large_a_log_is(robot: Robot) -> None:
    await robot.service.stop()
    grown = []
    for size in (10_000_000, 100_000_000):
        path = robot.tmp / f"{size}.log"
        with path.open("wb") as file:
            for at in range(0, size, 1_000_000):
                file.write(b"%09d\n" % at * 100_000)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            HERE / "session_child.py",
            *child_args(robot, path),
            stdout=subprocess.PIPE,
        )
        out, _ = await child.communicate()
        told = json.loads(out)
        assert told["size"] == size
        grown.append(told["peak"])
        path.unlink()

    assert grown[1] - grown[0] < 20 * MIB, grown


# -- what is refused


BAD: list[tuple[str, str | bytes, str, str, int]] = [
    (
        "report.pdf",
        "%PDF",
        "Invalid file type: .pdf. Allowed: .log, .txt, .csv, .out, .err.",
        "extension",
        422,
    ),
    (
        "noextension",
        "text",
        "Invalid file type: none. Allowed: .log, .txt, .csv, .out, .err.",
        "extension",
        422,
    ),
    (
        "a.log",
        b"\x00\x01\x02" * 999,
        "'a.log' is not readable text: its first bytes are binary.",
        "not_text",
        422,
    ),
    (
        "z.log",
        b"\0" * 4096,
        "'z.log' contains only zeros: nothing was recorded in it.",
        "zero_filled",
        422,
    ),
    ("e.log", "", "'e.log' is empty (0 bytes).", "empty", 422),
    (
        "g.log",
        b"\x1f\x8b\x08\x00" * 99,
        "'g.log' is compressed: unpack it first.",
        "compressed",
        422,
    ),
]


@pytest.mark.guarantee(
    "file",
    "a PDF, a binary, an empty or a too large file is uploaded as a session's log",
    "one sentence and a code; no row, no copy, no object",
)
@pytest.mark.parametrize(("name", "body", "sentence", "code", "status"), BAD)
async def test_what_is_no_text_log_is_refused(
    robot: Robot, name: str, body: bytes, sentence: str, code: str, status: int
) -> None:
    path = written(robot, body, name)

    with pytest.raises(S3IntegrationError) as told:
        await enter(robot, path)

    assert (told.value.message, told.value.code, told.value.status) == (sentence, code, status)
    nothing_stays(robot)


async def test_a_log_beyond_500_mb_is_refused_before_a_byte_is_copied(robot: Robot) -> None:
    path = written(robot, "big\n")
    os.truncate(path, int(550.5 * MIB))

    with pytest.raises(S3IntegrationError) as told:
        await enter(robot, path)

    assert told.value.message == "File too large: 550.5MB (max: 500MB)."
    assert (told.value.code, told.value.status) == ("too_large", 413)
    nothing_stays(robot)


@pytest.mark.parametrize(
    "session", ["", ".", "..", "a/b", "../s2", "a b", "ä", "x" * 129, "s1/", "s1\n", "s1\0", "%2e"]
)
async def test_what_cannot_name_a_session_is_refused(robot: Robot, session: str) -> None:
    path = written(robot)
    for work in (
        enter(robot, path, session),
        sessions.enter_result(robot.service, session, {}),
        sessions.list_logs(robot.service, session),
    ):
        with pytest.raises(S3IntegrationError) as told:
            await work
        assert (told.value.code, told.value.status) == ("bad_session", 400)
    nothing_stays(robot)


async def test_what_is_no_file_is_refused(robot: Robot) -> None:
    folder = robot.tmp / "folder.log"
    folder.mkdir()
    fifo = robot.tmp / "fifo.log"
    os.mkfifo(fifo)
    for path, code in (
        (robot.tmp / "gone.log", "not_found"),
        (folder, "not_regular"),
        (fifo, "not_regular"),
        ("", "bad_path"),
        ("a\0.log", "bad_path"),
        ("/", "not_regular"),
        ("/dev/zero", "not_regular"),
    ):
        with pytest.raises(S3IntegrationError) as told:
            await enter(robot, path)
        assert told.value.code == code, path
    nothing_stays(robot)


async def test_a_file_elsewhere_is_refused_where_only_log_directories_count(robot: Robot) -> None:
    outside = written(robot)
    link = robot.logs / "app.log"
    link.symlink_to(outside)
    for path in (
        outside,
        link,
        robot.logs / ".." / "elsewhere" / "app.log",
        robot.tmp / "gone.log",
    ):
        with pytest.raises(S3IntegrationError) as told:
            await enter(robot, path, inside_only=True)
        assert (told.value.code, told.value.status) == ("not_allowed", 403)
    nothing_stays(robot)


async def test_a_result_that_is_no_json_is_refused(robot: Robot) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for result in ({"x": object()}, {"x": float("nan")}, loop, {"x": "\ud800"}, [1], None):
        with pytest.raises(S3IntegrationError) as told:
            await sessions.enter_result(robot.service, "s1", result)  # type: ignore[arg-type]
        assert (told.value.code, told.value.status) == ("no_json", 400)
        assert told.value.message.count(". ") == 0
    with pytest.raises(S3IntegrationError) as told:
        await sessions.enter_result(robot.service, "s1", {"x": "y" * (16 * MIB)})
    assert (told.value.code, told.value.status) == ("too_large", 413)
    for name in ("", "a/b", "../x", "x" * 101, "ä", "a\n", ".json", "..", ".hidden"):
        with pytest.raises(S3IntegrationError) as told:
            await sessions.enter_result(robot.service, "s1", {}, name)
        assert told.value.status == 400, name
    nothing_stays(robot)


async def test_a_session_that_is_unknown_is_told(robot: Robot) -> None:
    await robot.finish(await enter(robot, written(robot), "s10"))

    with pytest.raises(S3IntegrationError) as told:
        await sessions.list_logs(robot.service, "s1")

    assert (told.value.code, told.value.status) == ("no_session", 404)


async def test_a_session_whose_only_log_waits_is_known(robot: Robot) -> None:
    await enter(robot, written(robot))

    assert await sessions.list_logs(robot.service, "s1") == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [(DENIED, "forbidden"), (refusal(404, "NoSuchBucket"), "no_bucket")],
)
async def test_a_bucket_that_is_not_ours_keeps_the_log_here(
    robot: Robot, answer: Any, code: str
) -> None:
    await robot.run(request_timeout=1)
    for op in ("PutObject", "HeadObject", "ListObjectsV2", "GetObject"):
        robot.always(op, answer)

    with pytest.raises(S3IntegrationError) as told:
        await sessions.upload_log(robot.service, written(robot), "s1")

    assert told.value.status == 503
    assert told.value.row_id is not None
    assert (robot.stored(), robot.open_uploads()) == ([], [])
    robot.heal()
    row = await robot.row(told.value.row_id)
    await robot.restart()
    assert (await robot.finish(row)).state == "verified"


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "ü" * 1000, "\ud800", "a\r\nX-Evil: 1\0", "🛩" * 999]
)
async def test_whatever_is_said_of_a_log_it_arrives(robot: Robot, text: str) -> None:
    row = await enter(robot, written(robot), description=text)

    done = await robot.finish(row)

    assert done.state == "verified"
    assert robot.head(done.key)["Metadata"]["description"]
    assert len(json.dumps(dict(done.facts))) < 16_000, "a row is no place for a novel"


async def test_a_caller_that_is_cancelled_while_it_is_copied_leaves_nothing(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = sessions.read_blocks

    async def stop_in_the_middle(*args: Any) -> Any:
        async with contextlib.aclosing(read(*args)) as blocks:
            yield await anext(blocks)
            yield await anext(blocks)
            await asyncio.Event().wait()

    monkeypatch.setattr(sessions, "read_blocks", stop_in_the_middle)
    begun = asyncio.create_task(enter(robot, written(robot, b"before\n" * 1_000_000)))
    await until(lambda: spool(robot))

    await cancel_and_wait(begun)  # asked more than once: Python 3.11 may lose a cancellation
    assert begun.cancelled()

    nothing_stays(robot)


async def test_a_log_beyond_the_limit_of_all_files_is_refused(robot: Robot) -> None:
    await robot.restart(max_file_size=1000)

    with pytest.raises(S3IntegrationError) as told:
        await enter(robot, written(robot, "x" * 2000))

    assert (told.value.code, told.value.status) == ("too_large", 413)
    nothing_stays(robot)
