"""``petal-s3 ls``, ``get``, ``rm``, ``mv``, ``presign``: the bucket as people see it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console import HOME, MACHINE, Console, Sea, entry, everything_on

from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings import MIB
from petal_s3.demo import faults
from petal_s3.demo.faults import Fault
from petal_s3.outbox import entering, queries, transitions
from petal_s3.outbox.rows import Receipt
from tests.support.mind import Many, Thing
from tests.support.server import FaultServer

KEY = f"{HOME}20250727_143022_flight.ulg"
NAME = KEY.rpartition("/")[2]
BODY = bytes(range(256)) * 40
FOREIGN = "flight_logs/drone-002/20250727_143022_flight.ulg"


@pytest.fixture
def server(console: Console) -> Iterator[FaultServer]:
    """A server that says what moto cannot, known at the console."""
    made = FaultServer(keep=True)
    thread = LoopThread("faults", at_end=made.stop)
    thread.run(made.start())
    console.env |= {
        "PETAL_S3_ENDPOINT_URL": made.url,
        "PETAL_S3_SESSION_TOKEN_URL": made.token_url,
        "PETAL_S3_REQUEST_TIMEOUT": "10",
    }
    yield made
    console.clear()
    thread.close()


def put(sea: Sea, key: str = KEY, body: bytes = BODY, **more: Any) -> None:
    sea.cloud.put_object(Bucket="logs", Key=key, Body=body, **more)


def there(sea: Sea) -> list[str]:
    return [one["Key"] for one in sea.cloud.list_objects_v2(Bucket="logs").get("Contents", [])]


def nothing_new(console: Console) -> None:
    assert not console.state.exists()


# -- ls


def test_ls_shows_size_change_and_key_and_a_sum(console: Console, sea: Sea) -> None:
    put(sea)
    put(sea, f"{HOME}sessions/7/notes.ulg", b"x" * 90)
    put(sea, FOREIGN)
    changed = sea.cloud.head_object(Bucket="logs", Key=KEY)["LastModified"]

    answer = console.type("ls")

    assert answer.code == 0, answer
    first, second, last = answer.out.splitlines()
    assert first == f"    10.2 kB  {changed:%Y-%m-%d %H:%M:%S}  {KEY.removeprefix(HOME)}"
    assert second.endswith("  sessions/7/notes.ulg")
    assert last == f"2 objects below {HOME}, 10.3 kB"
    nothing_new(console)


def test_what_ls_shows_is_what_get_takes(console: Console, sea: Sea, tmp_path: Path) -> None:
    # The last three begin like whole keys below the machine's folder: they are shown whole.
    misleading = [f"{HOME}{one}x.ulg" for one in ("deleted/", "flight_logs/", HOME)]
    put(sea)
    for key in misleading:
        put(sea, key)
    lines = console.type("ls").out.splitlines()[:-1]
    shown = [line.split()[-1] for line in lines]
    assert set(shown) == {KEY.removeprefix(HOME), *misleading}
    for number, key in enumerate(shown):
        assert console.type("get", key, str(tmp_path / f"{number}.ulg")).code == 0, key


@pytest.mark.parametrize("prefix", ["sessions/", f"{HOME}sessions/", f"s3://logs/{HOME}sessions/"])
def test_a_prefix_is_relative_or_whole_or_a_uri(console: Console, sea: Sea, prefix: str) -> None:
    put(sea)
    put(sea, f"{HOME}sessions/7/notes.ulg")

    found = console.type("ls", prefix, "--json").json

    assert [one["key"] for one in found] == [f"{HOME}sessions/7/notes.ulg"]


def test_ls_tells_programseverything_on(console: Console, sea: Sea) -> None:
    put(sea)
    put(sea, f"{HOME}cold.ulg", StorageClass="STANDARD_IA")
    told = sea.cloud.head_object(Bucket="logs", Key=KEY)

    found = {one.pop("key"): one for one in console.type("ls", "--json").json}

    assert found[KEY] == {
        "size": len(BODY),
        "last_modified": told["LastModified"].isoformat(),
        "etag": told["ETag"].strip('"'),
        "storage_class": "STANDARD",
    }
    assert found[f"{HOME}cold.ulg"]["storage_class"] == "STANDARD_IA"


def test_an_empty_folder_is_an_empty_list(console: Console, sea: Sea) -> None:
    assert console.type("ls").out == f"0 objects below {HOME}, 0 bytes\n"
    answer = console.type("ls", "--json")
    assert (answer.code, answer.json) == (0, [])


def test_ls_goes_on_beyond_the_first_page(console: Console, server: FaultServer) -> None:
    server.mind.many = Many(HOME, 2_345)

    lines = console.type("ls").out.splitlines()

    assert len(lines) == 2_346
    assert lines[-1].startswith(f"2345 objects below {HOME}")
    assert len(console.type("ls", "--json").json) == 2_345
    assert server.ledger.count("ListObjectsV2") == 6


# -- get


def test_get_brings_an_object_here_by_its_name(
    console: Console, sea: Sea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sea)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    answer = console.type("get", KEY)

    assert answer.code == 0, answer
    assert answer.out == f"got       20250727_143022_flight.ulg  {len(BODY)} bytes, crc32+etag\n"
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {NAME: BODY}
    nothing_new(console)


def test_get_brings_it_into_a_directory_or_to_a_name(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    put(sea)
    (tmp_path / "in").mkdir()
    assert console.type("get", f"s3://logs/{KEY}", tmp_path / "in").code == 0
    assert console.type("get", KEY, tmp_path / "made" / "as.ulg").code == 0
    assert (tmp_path / "in" / NAME).read_bytes() == BODY
    assert (tmp_path / "made" / "as.ulg").read_bytes() == BODY


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("a" * 300, "File name too long"),
        ("/proc/x.ulg", "No such file or directory"),
        ("file/got.ulg", "Not a directory"),
    ],
)
def test_get_to_where_no_file_can_be_written_says_what_was_seen(
    console: Console,
    sea: Sea,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    why: str,
) -> None:
    put(sea)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    answer = console.type("get", KEY, target)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith(f" cannot be written ({why}). [bad_path]\n")
    assert answer.err.count("\n") == 1


def test_a_full_disk_is_no_bad_path(console: Console, sea: Sea) -> None:
    put(sea)
    with Path("/dev/full").open("wb") as full:
        got = subprocess.run(
            [sys.executable, "-m", "petal_s3", "get", KEY, "-"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env=console.environment({}),
        )
    assert (got.returncode, b"[storage_full]" in got.stderr) == (1, True)


@pytest.mark.parametrize("command", ["retry", "resend", "cancel", "pin", "unpin", "dismiss"])
def test_a_row_id_beyond_any_is_wrong_use(console: Console, command: str) -> None:
    answer = console.type(command, "99999999999999999999")
    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_get_to_standard_output_writes_the_bytes_and_nothing_else(
    console: Console, sea: Sea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sea)
    monkeypatch.chdir(tmp_path)
    got = subprocess.run(
        [sys.executable, "-m", "petal_s3", "get", KEY, "-"],
        check=True,
        capture_output=True,
        env=console.environment({}),
    )
    assert got.stdout == BODY
    assert got.stderr == f"got       {KEY}  {len(BODY)} bytes, crc32+etag\n".encode()
    assert not (tmp_path / "-").exists()


def test_what_was_written_to_standard_output_and_is_wrong_fails_at_the_end(
    console: Console, server: FaultServer
) -> None:
    etag = hashlib.md5(b"what it should be", usedforsecurity=False).hexdigest()
    server.mind.things[KEY] = Thing(len(BODY), etag, 0, False, {}, 0.0, BODY)
    answer = console.type("get", KEY, "-")
    assert answer.code != 0
    assert "is not what S3 says the object is: do not use it." in answer.err


def test_get_says_that_it_replaced_a_file(console: Console, sea: Sea, tmp_path: Path) -> None:
    put(sea)
    target = tmp_path / "got.ulg"
    first, second = console.type("get", KEY, target), console.type("get", KEY, target)
    assert first.out.endswith(" bytes, crc32+etag\n")
    assert second.out.endswith("; it replaced the file that was there\n")


def test_get_without_clobber_keeps_the_file_that_is_there(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    put(sea)
    target = tmp_path / "got.ulg"
    assert console.type("get", KEY, target, "--no-clobber").code == 0
    target.write_bytes(b"mine")
    asked = sea.ledger.count("GetObject")
    answer = console.type("get", KEY, target, "--no-clobber")
    assert (answer.code, target.read_bytes()) == (1, b"mine")
    assert "got.ulg is there already, and is kept: nothing was got. [exists]" in answer.err
    assert sea.ledger.count("GetObject") == asked
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_an_error_is_json_for_programs(console: Console, sea: Sea) -> None:
    answer = console.type("presign", FOREIGN, "--json")
    assert (answer.code, answer.json["code"], answer.json["status"]) == (1, "not_allowed", 403)
    sea.link.cut()
    answer = console.type("ls", "--json")
    assert (answer.code, answer.json["code"]) == (3, "offline")


def test_rm_of_an_object_that_vanished_gives_its_row_up(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    assert console.type("drain").code == 0
    (row,) = console.rows()
    sea.cloud.delete_object(Bucket="logs", Key=row.key)
    assert console.type("rm", row.key, "--yes").code == 0
    assert [one.state for one in console.rows()] == ["cancelled"]
    assert console.type("rm", row.key, "--yes").code == 1


def test_get_leaves_no_half_a_file(console: Console, server: FaultServer, tmp_path: Path) -> None:
    body = bytes(MIB)
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    server.mind.things[KEY] = Thing(MIB, etag, 0, False, {}, 0.0, body)
    target = tmp_path / "to" / "got.ulg"
    target.parent.mkdir()
    target.write_bytes(b"older")
    server.always("GetObject", Fault("cut", cut_answer_at=0))

    answer = console.type("get", KEY, target)

    assert answer.code == 3, answer
    assert answer.err.startswith("No link to 127.0.0.1")
    assert target.read_bytes() == b"older"
    assert list(target.parent.iterdir()) == [target]


def test_get_shows_progress_on_a_terminal(console: Console, sea: Sea, tmp_path: Path) -> None:
    put(sea, body=bytes(2 * MIB))
    with console.terminal("get", KEY, str(tmp_path / "got.ulg")) as (process, output):
        shown = everything_on(output)
        assert process.wait(60) == 0
    assert "━".encode() in shown
    assert b"2097152 bytes, crc32+etag" in shown


# -- rm


def test_rm_without_a_terminal_needs_yes(console: Console, sea: Sea) -> None:
    put(sea)
    answer = console.type("rm", KEY)
    assert (answer.code, there(sea)) == (2, [KEY])
    assert "--yes" in answer.err

    answer = console.type("rm", KEY, "--yes")
    assert (answer.code, answer.out, there(sea)) == (0, f"deleted   {KEY}\n", [])


@pytest.mark.parametrize(("said", "code", "left"), [("y\n", 0, []), ("n\n", 1, [KEY])])
def test_rm_asks_on_a_terminal(
    console: Console, sea: Sea, said: str, code: int, left: list[str]
) -> None:
    put(sea)
    with console.terminal("rm", KEY) as (process, terminal):
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(terminal, 4096)
        os.write(terminal, said.encode())
        everything_on(terminal)
        assert process.wait(60) == code
    assert b"Delete " in asked
    assert there(sea) == left


def test_rm_of_what_is_not_there_fails(console: Console, sea: Sea) -> None:
    answer = console.type("rm", KEY, "--yes")
    assert (answer.code, answer.err) == (1, "File not found [not_found]\n")


def test_rm_cancels_the_row(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    assert console.type("drain").code == 0
    row = console.rows()[0]
    assert console.type("rm", row.key, "--yes").code == 0
    assert [(one.state, one.code) for one in console.rows()] == [("cancelled", "deleted")]


# -- mv


def test_mv_renames(console: Console, sea: Sea) -> None:
    put(sea)
    answer = console.type("mv", KEY, f"s3://logs/{HOME}new.ulg")
    assert (answer.code, answer.out) == (0, f"moved to  {HOME}new.ulg\n")
    assert there(sea) == [f"{HOME}new.ulg"]


def test_mv_never_overwrites(console: Console, sea: Sea) -> None:
    put(sea)
    put(sea, f"{HOME}new.ulg", b"another")
    answer = console.type("mv", KEY, f"{HOME}new.ulg")
    assert (answer.code, answer.err) == (
        1,
        "Another object stands at the destination. [conflict]\n",
    )
    assert sorted(there(sea)) == [KEY, f"{HOME}new.ulg"]


# -- presign


def test_presign_prints_the_url_alone(console: Console, sea: Sea) -> None:
    put(sea)
    answer = console.type("presign", KEY, "--expires", "60")
    assert answer.code == 0, answer
    assert answer.out.count("\n") == 1
    with urllib.request.urlopen(answer.out.strip()) as got:
        assert got.read() == BODY
    assert "X-Amz-Expires=60" in answer.out
    assert "(60 s)" in answer.err
    nothing_new(console)


def test_presign_tells_programs_all(console: Console, sea: Sea) -> None:
    found = console.type("presign", KEY, "--expires", "600", "--json").json
    assert (found["s3_key"], found["method"], found["expires_in"]) == (KEY, "GET", 600)
    assert found["url"].startswith("http")


@pytest.mark.parametrize("expires", ["0", "604801", "soon"])
def test_a_life_that_no_url_has_is_wrong_use(console: Console, sea: Sea, expires: str) -> None:
    assert console.type("presign", KEY, "--expires", expires).code == 2


# -- keys below the machine's folder


def test_a_key_may_leave_out_the_machines_folder(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    put(sea)
    assert console.type("get", NAME, tmp_path / "got.ulg").code == 0
    assert (tmp_path / "got.ulg").read_bytes() == BODY
    assert f"/{KEY}?" in console.type("presign", NAME).out
    assert console.type("mv", NAME, f"kept/{NAME}").out == f"moved to  {HOME}kept/{NAME}\n"
    assert "does not know it" in console.type("verify", f"kept/{NAME}").out
    assert console.type("rm", "--yes", f"kept/{NAME}").out == f"deleted   {HOME}kept/{NAME}\n"
    assert there(sea) == []


def test_a_whole_key_of_a_former_folder_is_taken_as_it_is(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    for key in (f"{MACHINE}/flight-logs/a.ulg", f"deleted/{KEY}"):
        put(sea, key)
        assert console.type("get", key, tmp_path / "got.ulg").code == 0


# -- what goes wrong, alike for all


@pytest.mark.parametrize(
    "words",
    [["ls"], ["get"], ["rm", "--yes"], ["presign"], ["mv", KEY]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize(
    ("key", "code", "sentence"),
    [
        (FOREIGN, 1, "does not belong to this machine"),
        (f"s3://other/{KEY}", 1, "This is another bucket"),
        (f"{HOME}../drone-002/x.ulg", 1, "machine"),
        (f"{HOME}bell\a.ulg", 2, "not a valid key"),
    ],
    ids=["foreign", "bucket", "climbs", "text"],
)
def test_what_is_not_ours_is_one_sentence(
    console: Console, sea: Sea, words: list[str], key: str, code: int, sentence: str
) -> None:
    put(sea)
    answer = console.type(*words, key)
    assert (answer.code, answer.out) == (code, ""), answer
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert sea.ledger.requests("GetObject") == sea.ledger.requests("DeleteObject") == []


COMMANDS = {
    "ls": ["ls"],
    "get": ["get", KEY, "got.ulg"],
    "get -": ["get", KEY, "-"],
    "rm": ["rm", "--yes", KEY],
    "mv": ["mv", KEY, f"{HOME}other.ulg"],
    "verify": ["verify", KEY],
}
FAILURES: dict[str, tuple[int, str, int, str]] = {
    "refused": (403, "AccessDenied", 3, "forbidden"),
    "no bucket": (404, "NoSuchBucket", 3, "bucket"),
    "slow down": (503, "SlowDown", 3, "throttled"),
    "a key that S3 does not know": (403, "InvalidAccessKeyId", 3, "credentials_refused"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_failure_gives_the_same_code_and_exit_code_in_all_commands(
    console: Console,
    server: FaultServer,
    command: str,
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, exit_code, code = FAILURES[failure]
    for op in ("HeadObject", "GetObject", "ListObjectsV2", "CopyObject", "DeleteObject"):
        server.always(op, Fault(say=faults.refusal(status, said)))
    answer = console.type(*COMMANDS[command])
    assert (answer.code, answer.out) == (exit_code, ""), answer
    assert answer.err.endswith(f" [{code}]\n")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("command", ["get", "get -", "rm", "mv"])
def test_an_object_that_is_not_there_is_the_same_failure_in_all_commands(
    console: Console, sea: Sea, command: str
) -> None:
    answer = console.type(*COMMANDS[command])
    assert (answer.code, answer.out) == (1, ""), answer
    assert answer.err.endswith(" [not_found]\n")


@pytest.mark.parametrize("words", [["ls"], ["get", KEY], ["rm", "--yes", KEY]])
def test_without_a_link_it_is_not_now(console: Console, sea: Sea, words: list[str]) -> None:
    sea.link.cut()
    answer = console.type(*words)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("No link to 127.0.0.1")


@pytest.mark.parametrize("words", [["ls"], ["get", KEY]])
def test_without_credentials_it_is_not_now_and_says_what_to_do(
    console: Console, sea: Sea, words: list[str]
) -> None:
    answer = console.type(*words, PETAL_S3_SESSION_TOKEN_URL="", AWS_EC2_METADATA_DISABLED="true")
    assert (answer.code, answer.out) == (3, "")
    for way in ("PETAL_S3_SESSION_TOKEN_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "instance role"):
        assert way in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("words", [["ls"], ["get", KEY, "got.ulg"], ["presign", KEY]])
def test_reading_needs_no_state_directory(
    console: Console, sea: Sea, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sea)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    answer = console.type(*words, PETAL_S3_STATE_DIR=str(tmp_path / "file" / "state"))
    assert answer.code == 0, answer


# -- rows


def test_cancel_and_retry_change_rows(console: Console) -> None:
    paths = [console.write("a.ulg", seed=1), console.write("b.ulg", seed=2)]
    told = console.type("enqueue", *paths, "--json").json["rows"]
    first, second = (row["id"] for row in told)

    answer = console.type("cancel", str(first), str(second))
    assert answer.code == 0, answer
    assert answer.out.splitlines() == [f"{one['id']}  cancelled  {one['key']}" for one in told]

    found = console.type("retry", str(first), "--json").json["rows"]
    assert [(one["id"], one["state"]) for one in found] == [(first, "queued")]
    assert [row.state for row in console.rows()] == ["cancelled", "queued"]


def test_a_retry_of_what_is_no_log_says_so_and_fails(console: Console) -> None:
    path = console.write("a.ulg")
    row_id = console.type("enqueue", path, "--json").json["rows"][0]["id"]
    console.type("cancel", str(row_id))
    path.write_text("#!/bin/sh\nrm -rf /\n")

    answer = console.type("retry", str(row_id))

    assert answer.code == 1
    assert "is not a ULog but text" in answer.err
    assert [row.state for row in console.rows()] == ["cancelled"]


@pytest.mark.guarantee(
    "device",
    "another process holds the outbox for long",
    "what is asked fails as outbox_locked, exit code 3; space and permissions are not blamed",
)
def test_an_outbox_that_another_process_holds_is_not_now(console: Console) -> None:
    console.type("enqueue", console.write("a.ulg"))
    with contextlib.closing(sqlite3.connect(console.state / "outbox.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = console.type("cancel", "1", "--json")
    assert answer.code == 3
    assert "another process holds it" in answer.out
    assert "outbox_locked" in answer.out


def test_a_proven_row_stays_proven(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.verified(
            outbox, row, Receipt(row.key, "9b2c", "crc32:AAAA", row.size, "crc32+etag", 0)
        )
    for verb, told in (("cancel", "nothing to cancel"), ("retry", "nothing was tried again")):
        answer = console.type(verb, str(row.id))
        assert (answer.code, answer.out) == (1, "")
        assert f"Row {row.id} is proven" in answer.err
        assert told in answer.err
    with console.outbox() as outbox:
        assert queries.get(outbox, row.id).receipt is not None


VERBS = ("retry", "resend", "cancel", "pin", "unpin", "dismiss")


@pytest.mark.parametrize("verb", VERBS)
def test_a_row_that_is_not_there_fails(console: Console, verb: str) -> None:
    answer = console.type(verb, "7")
    assert (answer.code, answer.err) == (1, "There is no row 7 in the outbox. [not_found]\n")


def test_a_row_that_is_not_there_keeps_no_other_from_its_turn(console: Console) -> None:
    with console.outbox() as outbox:
        row = entering.enqueue(outbox, entry("a.ulg"))
    answer = console.type("cancel", "7", str(row.id), "--json")
    assert answer.code == 1
    assert [one["state"] for one in answer.json["rows"]] == ["cancelled"]
    assert [(one["id"], one["code"]) for one in answer.json["refused"]] == [(7, "not_found")]


@pytest.mark.parametrize(
    ("first", "verb", "told"),
    [
        ("cancel", "cancel", "Row 1 is cancelled already."),
        ("pin", "pin", "Row 1 is pinned already."),
        ("status", "unpin", "Row 1 is not pinned."),
        ("status", "dismiss", "Row 1 is queued, and only dead rows are dismissed."),
        ("status", "resend", "Row 1 is not up yet, and waits to be sent."),
    ],
)
def test_a_verb_that_does_nothing_says_so_and_fails(
    console: Console, first: str, verb: str, told: str
) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
    assert console.type(first, *(["1"] if first != "status" else [])).code == 0
    before = console.rows()
    answer = console.type(verb, "1")
    assert (answer.code, answer.out) == (1, "")
    assert told in answer.err
    assert console.rows() == before


def test_a_row_that_is_on_its_way_is_not_tried_again(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
        transitions.claim(outbox, 0, 900)
    answer = console.type("retry", "1")
    assert (answer.code, answer.out) == (1, "")
    assert "Row 1 is on its way already." in answer.err
