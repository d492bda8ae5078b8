"""``S3BucketProxy`` stand-alone: the host's dialect over a real wire, truthful in failure."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from robot import (
    BUCKET,
    DROP,
    HOME,
    LOSE_ANSWER,
    MACHINE,
    PART,
    SMALL,
    TWO_PARTS,
    UNWELL,
    Robot,
    refusal,
    until,
)

from petal_s3.core.settings import MIB
from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Request
from petal_s3.host.proxy import S3BucketProxy

KEY = f"{HOME}20250727_143022_mission_log.ulg"
STRANGERS = [
    "flight_logs/drone-002/x.ulg",
    "drone-0011/x.ulg",
    "x.ulg",
    f"{HOME}../drone-002/x.ulg",
    f"{HOME}//x.ulg",
    "",
    f"deleted/flight_logs/drone-002/{MACHINE}/x.ulg",
]
Answer = dict[str, Any]


@pytest.fixture
async def proxy(robot: Robot) -> AsyncIterator[S3BucketProxy]:
    """A proxy that made its own service, as a script or a sibling would."""
    await robot.service.stop()
    made = S3BucketProxy(
        robot.tokens.url,
        BUCKET,
        request_timeout=30,
        machine_id=MACHINE,
        endpoint_url=robot.link.url,
        state_dir=robot.state,
        log_dirs=str(robot.logs),
    )
    made.service.drainer.timing.spread = lambda: 0.1
    robot._services.append(made.service)
    await made.start()
    yield made
    await made.stop()


# -- upload


async def test_an_upload_returns_when_it_is_proven(robot: Robot, proxy: S3BucketProxy) -> None:
    path = robot.write()

    answer = await proxy.upload_file(path)

    assert answer["success"] is True
    assert "error" not in answer
    assert answer["s3_key"].startswith(HOME)
    assert answer["file_size"] == SMALL
    assert answer["content_type"] == "application/x-ulog"
    assert answer["file_url"] == f"{robot.link.url}/{BUCKET}/{answer['s3_key']}"
    assert robot.body(answer["s3_key"]) == path.read_bytes()
    json.dumps(answer)  # a sibling stores it as JSON


async def test_a_name_of_ones_own_and_a_key_of_ones_own(robot: Robot, proxy: S3BucketProxy) -> None:
    named = await proxy.upload_file(robot.write("tmp8x2.ulg"), "mission 7.ulg")
    keyed = await proxy.upload_file(
        file_path=robot.write("b.ulg", seed=1), custom_s3_key=f"{MACHINE}/record/ulog/b.ulg"
    )

    assert named["s3_key"].endswith("_mission_7.ulg")
    assert robot.head(named["s3_key"])["Metadata"]["original-filename"] == "mission%207.ulg"
    assert keyed["s3_key"] == f"{MACHINE}/record/ulog/b.ulg"


async def test_a_file_outside_the_log_directories_is_kept_until_it_is_proven(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    """The host's own API deletes its temporary file as soon as the call returns."""
    path = robot.tmp / "elsewhere" / "flight.ulg"
    robot.store.copy(path, SMALL, 0)
    data = path.read_bytes()
    row = await proxy.enqueue(path)
    path.unlink()

    done = await proxy.wait(row["id"])

    assert done["state"] == "verified"
    assert robot.body(done["key"]) == data
    assert list((robot.state / "spool").iterdir()) == []


async def test_progress_is_told(robot: Robot, proxy: S3BucketProxy) -> None:
    robot.link.rate_bytes_s = 4e6
    heard: list[tuple[int, int, float]] = []

    await proxy.upload_file(
        robot.write(size=TWO_PARTS), on_progress=lambda *told: heard.append(told)
    )

    moved = [sent for sent, _, _ in heard]
    assert moved == sorted(moved)
    assert moved[-1] == TWO_PARTS
    assert {total for _, total, _ in heard} == {TWO_PARTS}
    assert len(heard) > 2
    assert max(rate for _, _, rate in heard) < 40e6  # 0 before ten seconds have passed


@pytest.mark.parametrize(
    ("name", "body", "code", "status"),
    [
        ("notes.txt", b"text", "extension", 422),
        ("empty.ulg", b"", "empty", 422),
        ("page.ulg", b"<html>" * 100, "bad_magic", 422),
    ],
)
@pytest.mark.threat(
    "sibling",
    "it hands over a file that is no flight log, under the name of one",
    "422; nothing is sent, and the path is not repeated",
)
async def test_what_is_no_log_is_refused_and_never_sent(
    robot: Robot, proxy: S3BucketProxy, name: str, body: bytes, code: str, status: int
) -> None:
    path = robot.tmp / name
    path.write_bytes(body)

    answer = await proxy.upload_file(path)

    assert set(answer) == {"error", "code", "status"}
    assert (answer["code"], answer["status"]) == (code, status)
    assert str(robot.tmp) not in answer["error"]
    assert robot.count("PutObject") == 0
    assert robot.sql("SELECT count(*) FROM log") == [(0,)]


async def test_a_file_that_is_not_there_is_a_404(robot: Robot, proxy: S3BucketProxy) -> None:
    answer = await proxy.upload_file(robot.tmp / "nothing.ulg")

    assert (answer["status"], answer["code"]) == (404, "not_found")


async def test_a_file_that_is_still_written_is_a_conflict(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    path = robot.write()

    with path.open("ab"):
        answer = await proxy.upload_file(path)

    assert (answer["status"], answer["code"]) == (409, "not_finished")


@pytest.mark.threat("sibling", "it uploads in the name of another machine", "403")
async def test_another_machines_id_is_refused(robot: Robot, proxy: S3BucketProxy) -> None:
    answer = await proxy.upload_file(robot.write(), machine_id="drone-002")
    own = await proxy.upload_file(robot.write(), machine_id=MACHINE)

    assert (answer["status"], answer["code"]) == (403, "not_allowed")
    assert own["success"]


@pytest.mark.guarantee(
    "links",
    "no link when a caller waits for an upload",
    "the caller hears 503 and the row's id; asked again, the same row arrives",
)
async def test_an_upload_that_cannot_be_sent_now_fails_truthfully_and_is_sent_later(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    robot.link.cut()
    impatient(proxy)
    path = robot.write()

    refused = await proxy.upload_file(path)
    robot.link.forward()
    again = await proxy.upload_file(path)

    assert (refused["status"], refused["code"]) == (503, "offline")
    assert "stays in the outbox" in refused["error"]
    assert again["success"]
    assert again["id"] == refused["id"]


def impatient(proxy: S3BucketProxy) -> None:
    """Who waits for an upload gives up after a second without progress."""
    settings = proxy.service.settings
    proxy.service.settings = settings.model_copy(update={"request_timeout": 1.0})


@pytest.mark.guarantee(
    "refusals",
    "S3 denies an upload that a caller waits for",
    "the caller hears an error, never success; the row stays",
)
async def test_a_denied_upload_is_an_error_and_stays(robot: Robot, proxy: S3BucketProxy) -> None:
    robot.always("PutObject", refusal(403, "AccessDenied"))
    impatient(proxy)

    answer = await proxy.upload_file(robot.write())

    assert (answer["status"], answer["code"]) == (503, "forbidden")
    assert (await proxy.status(answer["id"]))["state"] in {"queued", "uploading"}


# -- cancellation


async def until_parts_fly(robot: Robot) -> None:
    """Those of the log: what is only tried has a byte."""
    robot.link.rate_bytes_s = 400_000
    await until(lambda: any(request.body_bytes > 1 for request in robot.flying()))


@pytest.mark.guarantee(
    "orphans", "a caller gives its upload up in the middle", "the bytes stop, the parts are aborted"
)
async def test_a_cancelled_upload_leaves_nothing_half_done(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    upload = asyncio.create_task(proxy.upload_file(robot.write(size=TWO_PARTS)))
    await until_parts_fly(robot)

    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await until(lambda: not robot.open_uploads())

    assert robot.sql("SELECT state, reason FROM log") == [
        ("cancelled", "The caller cancelled the upload.")
    ]
    assert all(request.body_bytes < PART for request in robot.ledger.requests("UploadPart"))
    assert robot.stored() == []


@pytest.mark.guarantee(
    "orphans",
    "an impatient caller of a log that was waiting before",
    "the log stays and arrives; nothing is aborted",
)
@pytest.mark.threat("sibling")
async def test_a_log_that_was_waiting_before_survives_an_impatient_caller(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    path = robot.write(size=TWO_PARTS)
    row = await proxy.enqueue(path)
    upload = asyncio.create_task(proxy.upload_file(path))
    await until_parts_fly(robot)

    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    robot.link.rate_bytes_s = 0
    done = await proxy.wait(row["id"])

    assert done["state"] == "verified"
    robot.assert_sent_once(await robot.row(row["id"]), path)


async def test_stopping_the_proxy_gives_nothing_up(robot: Robot, proxy: S3BucketProxy) -> None:
    upload = asyncio.create_task(proxy.upload_file(robot.write(size=TWO_PARTS)))
    await until_parts_fly(robot)

    await proxy.stop()
    upload.cancel()
    await asyncio.gather(upload, return_exceptions=True)

    assert robot.sql("SELECT state FROM log") == [("queued",)]


# -- list


async def put_three(robot: Robot) -> None:
    for name in ("a.ulg", "b.ulg", "sub/c.bag"):
        robot.put(HOME + name, b"x")
    robot.put(f"{MACHINE}/record/d.ulg", b"x")
    robot.put("flight_logs/drone-002/e.ulg", b"x")


def names(answer: Answer) -> list[str]:
    return [file["key"] for file in answer["files"]]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        (None, [f"{HOME}a.ulg", f"{HOME}b.ulg", f"{HOME}sub/c.bag"]),
        ("", [f"{HOME}a.ulg", f"{HOME}b.ulg", f"{HOME}sub/c.bag"]),
        ("sub/", [f"{HOME}sub/c.bag"]),
        ("a", [f"{HOME}a.ulg"]),
        (HOME, [f"{HOME}a.ulg", f"{HOME}b.ulg", f"{HOME}sub/c.bag"]),
        (f"{HOME}b", [f"{HOME}b.ulg"]),
        (f"{MACHINE}/", [f"{MACHINE}/record/d.ulg"]),
        ("none/", []),
    ],
)
async def test_a_listing_shows_what_is_ours(
    robot: Robot, proxy: S3BucketProxy, prefix: str | None, found: list[str]
) -> None:
    await put_three(robot)

    answer = await proxy.list_files(prefix)

    assert names(answer) == found
    assert answer["total_count"] == len(found)
    assert answer["is_truncated"] is False
    json.dumps(answer)
    for file in answer["files"]:
        assert set(file) == {"key", "size", "last_modified", "storage_class", "url"}


async def test_a_listing_comes_in_pages(robot: Robot, proxy: S3BucketProxy) -> None:
    await put_three(robot)

    first = await proxy.list_files(max_keys=2)
    _, second = await proxy.service.objects.page(None, limit=2, token=first["next_token"])

    assert names(first) == [f"{HOME}a.ulg", f"{HOME}b.ulg"]
    assert first["is_truncated"] is True
    assert [item.key for item in second.objects] == [f"{HOME}sub/c.bag"]
    assert second.next_token is None


@pytest.mark.parametrize("prefix", ["flight_logs/drone-002/", "flight_logs/", "deleted/", "../"])
async def test_another_root_is_refused_before_anything_is_asked(
    robot: Robot, proxy: S3BucketProxy, prefix: str
) -> None:
    answer = await proxy.list_files(prefix)

    assert answer["status"] in {400, 403}
    assert robot.ops() == []


# -- who owns what


@pytest.mark.parametrize("key", STRANGERS)
@pytest.mark.guarantee(
    "attack",
    "a key of another machine, in any operation",
    "refused before S3 or the token service is asked",
)
@pytest.mark.threat("sibling")
async def test_a_strangers_key_is_refused_before_anything_is_asked(
    robot: Robot, proxy: S3BucketProxy, key: str
) -> None:
    path = robot.write()

    answers = [
        await proxy.head_object(key),
        await proxy.download_file(key, robot.tmp / "got"),
        await proxy.delete_file(key),
        await proxy.move_file(key, KEY),
        await proxy.move_file(KEY, key),
    ]
    if key:
        answers.append(await proxy.upload_file(path, custom_s3_key=key))

    assert [answer["status"] in {400, 403} for answer in answers] == [True] * len(answers)
    assert robot.ops() == []
    assert robot.tokens.fetches == 0
    assert not (robot.tmp / "got").exists()


# -- head, download


async def test_head_tells_what_is_there(robot: Robot, proxy: S3BucketProxy) -> None:
    uploaded = await proxy.upload_file(robot.write())

    answer = await proxy.head_object(uploaded["s3_key"])

    assert answer["content_length"] == SMALL
    assert answer["content_type"] == "application/x-ulog"
    assert answer["metadata"]["machine-id"] == MACHINE
    assert "error" not in answer
    assert await proxy.file_exists(uploaded["s3_key"])
    json.dumps(answer)


async def test_files_are_listed_by_the_id_of_this_machine_alone(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())

    listed = await proxy.list_files(machine_id=MACHINE)
    below = await proxy.list_files("no-such-folder/", machine_id=MACHINE)
    before = len(robot.ops())
    foreign = await proxy.list_files(machine_id="drone-002")

    assert [file["key"] for file in listed["files"]] == [uploaded["s3_key"]]
    assert (below["files"], below["prefix"]) == ([], f"flight_logs/{MACHINE}/no-such-folder/")
    assert (foreign["status"], foreign["code"]) == (403, "not_allowed")
    assert len(robot.ops()) == before
    assert proxy.region == "us-east-1"


async def test_no_key_of_another_machine_exists_and_s3_is_not_asked(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    assert await proxy.file_exists("flight_logs/drone-002/x.ulg") is False
    assert await proxy.file_exists("") is False
    assert robot.ops() == []


async def test_a_missing_object_carries_code_and_status(robot: Robot, proxy: S3BucketProxy) -> None:
    missing = {"error": "File not found", "code": "not_found", "status": 404}

    assert await proxy.head_object(KEY) == missing
    assert await proxy.download_file(KEY, robot.tmp / "got.ulg") == missing
    assert await proxy.move_file(KEY, f"deleted/{KEY}") == missing
    assert not await proxy.file_exists(KEY)
    assert not (robot.tmp / "got.ulg").exists()


@pytest.mark.guarantee(
    "links", "no link when a caller asks for an object", "503, never: there is no such object"
)
async def test_an_outage_is_not_a_missing_object(robot: Robot, proxy: S3BucketProxy) -> None:
    robot.link.cut()

    answer = await proxy.head_object(KEY)

    assert (answer["status"], answer["code"]) == (503, "offline")


async def test_a_download_brings_the_same_bytes(robot: Robot, proxy: S3BucketProxy) -> None:
    path = robot.write(size=TWO_PARTS)
    uploaded = await proxy.upload_file(path)
    target = robot.tmp / "new" / "got.ulg"

    answer = await proxy.download_file(uploaded["s3_key"], target)

    assert answer["success"] is True
    assert answer["file_size"] == TWO_PARTS
    assert answer["local_path"] == str(target)
    assert target.read_bytes() == path.read_bytes()
    assert [file.name for file in target.parent.iterdir()] == ["got.ulg"]


async def test_a_stream_brings_the_same_bytes(robot: Robot, proxy: S3BucketProxy) -> None:
    robot.put(KEY, b"0123456789" * 100_000)

    blocks = [block async for block in proxy.stream_download(KEY)]

    assert b"".join(blocks) == b"0123456789" * 100_000


@pytest.mark.guarantee(
    "links", "cut in the middle of a download", "the older file stays as it was, no half file"
)
async def test_a_download_that_is_cut_leaves_what_was_there(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    """Whole or not at all."""
    robot.put(KEY, bytes(30 * MIB))
    target = robot.tmp / "got" / "got.ulg"
    target.parent.mkdir()
    target.write_bytes(b"an older version")

    async def cut(request: Request) -> None:
        async def when_it_flows() -> None:
            await until(lambda: request.status is not None)
            robot.link.cut()

        robot._watching.append(asyncio.create_task(when_it_flows()))

    robot.fault("GetObject", cut)
    answer = await proxy.download_file(KEY, target)

    assert (answer["status"], answer["code"]) == (503, "offline")
    assert target.read_bytes() == b"an older version"
    assert list(target.parent.iterdir()) == [target]


async def test_a_download_that_is_cancelled_leaves_nothing(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    robot.put(KEY, bytes(30 * MIB))
    target = robot.tmp / "got" / "got.ulg"
    download = asyncio.create_task(proxy.download_file(KEY, target))
    await until(lambda: robot.ledger.requests("GetObject") and target.parent.exists())

    download.cancel()
    await asyncio.gather(download, return_exceptions=True)

    assert list(target.parent.iterdir()) == []


async def test_a_download_to_where_nothing_can_be_written_is_a_bad_path(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    robot.put(KEY, b"x")
    (robot.tmp / "file").write_bytes(b"in the way")

    answer = await proxy.download_file(KEY, robot.tmp / "file" / "got.ulg")

    assert (answer["status"], answer["code"]) == (400, "bad_path")
    assert answer["error"] == "got.ulg cannot be written (Not a directory)."


# -- delete


async def test_a_deleted_object_is_gone_and_its_row_says_so(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())

    answer = await proxy.delete_file(uploaded["s3_key"])

    assert answer["success"] is True
    assert answer["s3_key"] == uploaded["s3_key"]
    assert answer["message"]
    assert robot.stored() == []
    row = await robot.row(uploaded["id"])
    assert (row.state, row.code, row.reason) == ("cancelled", "deleted", "Deleted on request.")


async def test_deleting_what_is_not_there_says_so(robot: Robot, proxy: S3BucketProxy) -> None:
    answer = await proxy.delete_file(KEY)

    assert answer == await proxy.head_object(KEY)
    assert (answer["error"], answer["status"]) == ("File not found", 404)


async def test_a_proven_object_that_vanished_may_be_deleted(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())
    robot.cloud.delete_object(Bucket=BUCKET, Key=uploaded["s3_key"])

    assert (await proxy.delete_file(uploaded["s3_key"]))["success"] is True
    assert (await robot.row(uploaded["id"])).code == "deleted"


@pytest.mark.guarantee("links", "cut when an object is deleted", "the row stays verified")
async def test_a_deletion_that_failed_keeps_the_row(robot: Robot, proxy: S3BucketProxy) -> None:
    uploaded = await proxy.upload_file(robot.write())
    robot.fault("DeleteObject", DROP)

    answer = await proxy.delete_file(uploaded["s3_key"])

    assert answer["status"] == 503
    assert (await robot.row(uploaded["id"])).state == "verified"


async def test_what_was_deleted_on_request_is_not_sent_again_by_a_scan(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())
    await proxy.delete_file(uploaded["s3_key"])

    assert await proxy.service.scan() == 0


# -- move


@pytest.mark.parametrize("size", [SMALL, TWO_PARTS])
async def test_a_moved_object_takes_its_row_along(
    robot: Robot, proxy: S3BucketProxy, size: int
) -> None:
    path = robot.write(size=size)
    uploaded = await proxy.upload_file(path)
    target = f"deleted/{uploaded['s3_key']}"

    answer = await proxy.move_file(source_key=uploaded["s3_key"], dest_key=target)

    assert answer["success"] is True
    assert (answer["source_key"], answer["dest_key"]) == (uploaded["s3_key"], target)
    assert robot.stored() == [target]
    assert robot.body(target) == path.read_bytes()
    told = robot.head(target)
    assert told["Metadata"]["original-filename"] == "flight.ulg"
    assert told["ContentType"] == "application/x-ulog"
    row = await robot.row(uploaded["id"])
    assert row.receipt is not None
    assert (row.state, row.key, row.receipt.key) == ("verified", target, target)
    assert row.receipt.etag == told["ETag"].strip('"')


@pytest.mark.guarantee(
    "refusals", "an object is moved to where another one stands", "409; both stay as they were"
)
@pytest.mark.threat("sibling")
async def test_a_destination_that_is_taken_is_a_conflict(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())
    robot.put(f"{HOME}taken.ulg", b"of somebody else")

    answer = await proxy.move_file(uploaded["s3_key"], f"{HOME}taken.ulg")

    assert (answer["status"], answer["code"]) == (409, "conflict")
    assert robot.body(f"{HOME}taken.ulg") == b"of somebody else"
    assert (await robot.row(uploaded["id"])).key == uploaded["s3_key"]


@pytest.mark.parametrize("op", ["CopyObject", "DeleteObject"])
@pytest.mark.parametrize("fault", [DROP, LOSE_ANSWER, UNWELL], ids=["drop", "lost", "unwell"])
@pytest.mark.guarantee(
    "links",
    "a move is cut, or the answer to its copy or deletion is lost",
    "the row names an object that is there; asked again it is finished",
)
async def test_a_move_that_was_interrupted_is_finished_when_asked_again(
    robot: Robot, proxy: S3BucketProxy, op: str, fault: Fault
) -> None:
    path = robot.write()
    uploaded = await proxy.upload_file(path)
    source, target = uploaded["s3_key"], f"{HOME}new.ulg"
    (robot.always if fault is UNWELL else robot.fault)(op, fault)  # once, it is asked again at once

    interrupted = await proxy.move_file(source, target)
    between = await robot.row(uploaded["id"])
    there = robot.stored()
    robot.heal()
    again = await proxy.move_file(source, target)

    assert interrupted["status"] == 503
    assert between.key in there  # a receipt never names an object that is not there
    assert again.get("success") is True
    assert robot.stored() == [target]
    assert robot.body(target) == path.read_bytes()
    assert (await robot.row(uploaded["id"])).key == target


@pytest.mark.guarantee(
    "answers",
    "an older copy of the same key and size stands at the destination of a move",
    "it is not taken for this one: the source is kept",
)
async def test_an_older_move_from_the_same_key_is_not_taken_for_this_one(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    """Same key, same size, other bytes: to delete the source now would lose them."""
    first = await proxy.upload_file(robot.write(seed=0), custom_s3_key=KEY)
    await proxy.move_file(KEY, f"{HOME}new.ulg")
    second = await proxy.upload_file(robot.write(seed=1), custom_s3_key=KEY)

    answer = await proxy.move_file(KEY, f"{HOME}new.ulg")

    assert first["success"] is second["success"] is True
    assert answer["status"] == 409
    assert robot.body(KEY) == (robot.logs / "flight.ulg").read_bytes()


async def test_moving_a_thing_onto_itself_changes_nothing(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    uploaded = await proxy.upload_file(robot.write())

    answer = await proxy.move_file(uploaded["s3_key"], uploaded["s3_key"])

    assert answer["success"] is True
    assert robot.stored() == [uploaded["s3_key"]]


# -- life


def test_no_default_of_the_proxy_hides_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(**given: Any) -> tuple[object, ...]:
        proxy = S3BucketProxy(bucket_name=BUCKET, machine_id=MACHINE, state_dir=tmp_path, **given)
        service = (proxy.region, proxy.upload_prefix, proxy.request_timeout)
        return (*service, proxy.session_token_url)

    assert made() == ("us-east-1", "flight_logs/", 30, "")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("PETAL_S3_UPLOAD_PREFIX", "elsewhere/")
    monkeypatch.setenv("PETAL_S3_REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("PETAL_S3_SESSION_TOKEN_URL", "http://127.0.0.1:9/token")
    told = "http://127.0.0.1:9/token"
    assert made() == ("eu-central-1", "elsewhere/", 7, told)
    given = {"region": "us-east-1", "upload_prefix": "flight_logs/", "request_timeout": 30}
    assert made(**given) == ("us-east-1", "flight_logs/", 30, told)
    named = inspect.signature(S3BucketProxy).parameters
    assert {name: named[name].default for name in given} == given


async def test_a_proxy_that_was_not_started_starts_itself(robot: Robot) -> None:
    await robot.service.stop()
    made = S3BucketProxy(
        robot.tokens.url,
        BUCKET,
        machine_id=MACHINE,
        endpoint_url=robot.link.url,
        state_dir=robot.state,
    )
    robot._services.append(made.service)

    answer = await made.upload_file(robot.write())
    await made.stop()
    await made.stop()

    assert answer["success"] is True


async def test_every_failure_is_a_dict_with_a_sentence_a_code_and_a_status(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    failures = [
        await proxy.upload_file(Path("/nonexistent.ulg")),
        await proxy.list_files("flight_logs/drone-002/"),
        await proxy.head_object("x"),
        await proxy.download_file("x", robot.tmp / "x"),
        await proxy.delete_file("x"),
        await proxy.move_file("x", KEY),
        await proxy.status(99),
        await proxy.wait(99),
        await proxy.cancel(99),
    ]

    for failure in failures:
        assert set(failure) == {"error", "code", "status"}
        assert failure["error"].endswith(".")
        assert 400 <= failure["status"] < 600
