"""The doctor: what a log needs on its way is tried, what is missing is named, nothing is left."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from account import Account
from console import HOME, MACHINE, Answer, Console, Sea

from petal_s3.core.settings_loading import check_settings
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox.state_dir import DrainLock
from petal_s3.service import no_login

XML = {"content-type": "application/xml", "x-amz-request-id": "1"}
NEEDED = [
    "s3:ListBucket",
    "s3:PutObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
    "s3:GetObject",
    "s3:DeleteObject",
]
OPTIONAL = "s3:DeleteObject"
# moto copies to a key that is taken, whatever the request says, and takes any checksum for true.
LACKED = {"copy condition", "checked checksums"}


@pytest.fixture
def at_sea(console: Console, sea: Sea) -> Sea:
    console.env["AWS_EC2_METADATA_DISABLED"] = "true"
    return sea


def check(console: Console, **env: str) -> Answer:
    return console.type("check", "--json", **env)


def state(answer: Answer, state: str) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in answer.json["checks"] if one["state"] == state}


def troubles(answer: Answer) -> set[str]:
    return {*state(answer, "failed"), *state(answer, "warning")} - LACKED


def answer_with(sea: Sea, op: str, fault: Fault) -> None:
    async def meet(request: Request) -> Fault | None:
        return fault if request.op == op else None

    sea.link.link.on_request = meet


def left(s3: Any) -> dict[str, Any]:
    """Everything in the bucket: versions, markers, open uploads."""
    versions = s3.list_object_versions(Bucket="logs")
    uploads = s3.list_multipart_uploads(Bucket="logs")
    return {
        "versions": [one["Key"] for one in versions.get("Versions", [])],
        "markers": [one["Key"] for one in versions.get("DeleteMarkers", [])],
        "uploads": [one["Key"] for one in uploads.get("Uploads", [])],
    }


# -- all is well


def test_when_all_is_well_every_check_says_so_and_nothing_is_left(
    console: Console, at_sea: Sea
) -> None:
    s3 = at_sea.cloud
    console.type("bucket", "setup", "--no-tls-only")

    answer = check(console)

    assert answer.code == 0, answer
    assert troubles(answer) == set()
    assert set(NEEDED) <= set(state(answer, "ok"))
    assert {"encryption", "stale uploads", "credentials", "clock"} <= set(state(answer, "ok"))
    assert left(s3) == {"versions": [], "markers": [], "uploads": []}
    assert set(state(answer, "warning")) == LACKED
    first = at_sea.ledger.requests("DeleteObject")[0]
    assert first.headers["If-Match"] == "*"  # else a bucket with versions keeps a marker
    assert not console.state.exists()


def test_people_read_a_line_for_each_check_and_no_secret(console: Console, at_sea: Sea) -> None:
    answer = console.type("check", PETAL_S3_API_TOKEN="let-me-in")

    assert answer.code == 0, answer
    assert f"bucket logs, machine {MACHINE}, logs go to {HOME}" in answer.out
    assert "ok       s3:PutObject: " in answer.out
    assert "warning  stale uploads: " in answer.out
    assert "petal-s3 bucket setup" in answer.out
    for secret in ("let-me-in", "opens-nothing", "demo-session-token"):
        assert secret not in answer.out + answer.err


# -- permissions


def test_over_http_the_advice_names_a_policy_that_demands_tls(
    console: Console, account: Account
) -> None:
    policy = console.type("bucket", "policy").json  # with its statement that refuses http
    account.allow(*policy["Statement"])
    account.enforce()

    answer = check(console)

    told = state(answer, "failed")
    assert "s3:ListBucket" in told, answer
    for one in (told[name] for name in NEEDED if name in told):
        assert "set an https:// PETAL_S3_ENDPOINT_URL" in one["advice"]
        assert "`petal-s3 bucket setup --remove tls-only`" in one["advice"]
    assert "else allow s3:ListBucket on arn:aws:s3:::logs" in told["s3:ListBucket"]["advice"]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_permission_is_named_and_no_other(
    console: Console, account: Account, missing: str
) -> None:
    policy = console.type("bucket", "policy").json
    # moto takes every condition for true, and so would refuse all who come without TLS.
    given = [one for one in policy["Statement"] if one["Sid"] != "TlsOnly"]
    for statement in given:
        actions = statement["Action"]
        actions = [actions] if isinstance(actions, str) else actions
        statement["Action"] = [one for one in actions if one != missing]
    account.root.put_object(Bucket="logs", Key=f"{HOME}20250727_143022_a.ulg", Body=b"a log")
    account.allow(*[one for one in given if one["Action"]])
    account.enforce()

    answer = check(console)

    assert troubles(answer) == {missing}, answer
    told = {**state(answer, "failed"), **state(answer, "warning")}[missing]
    assert missing in told["advice"]
    assert "petal-s3 bucket policy" in told["advice"]
    assert answer.code == (0 if missing == OPTIONAL else 1)
    skipped = set(NEEDED) & set(state(answer, "skipped"))
    assert skipped == (
        {"s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"}
        if missing == "s3:PutObject"
        else set()
    )
    stays = left(account.root)
    assert stays["markers"] == []
    assert len(stays["uploads"]) == (missing == "s3:AbortMultipartUpload")


def test_the_printed_policy_is_enough_for_every_check(console: Console, account: Account) -> None:
    given = console.type("bucket", "policy").json["Statement"]
    account.allow(*[one for one in given if one["Sid"] != "TlsOnly"])
    account.enforce()

    answer = check(console)

    assert answer.code == 0, answer
    assert troubles(answer) == set()
    assert set(NEEDED) <= set(state(answer, "ok"))


def test_reading_is_not_called_forbidden_where_that_cannot_be_told(
    console: Console, at_sea: Sea
) -> None:
    # So AWS answers for a key that is not there to who may list under a condition only; and where
    # nothing can be deleted, nothing is stored to be read.
    denied = b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
    refused = {"GetObject", "DeleteObject"}

    async def meet(request: Request) -> Fault | None:
        denies = request.op in refused
        return says(status=403, body=denied, headers=XML) if denies else None

    at_sea.link.link.on_request = meet
    answer = check(console)
    assert "s3:GetObject" in state(answer, "warning")
    assert answer.code == 0

    at_sea.cloud.put_object(Bucket="logs", Key=f"{HOME}a.ulg", Body=b"a log")
    answer = check(console)
    assert "s3:GetObject" in state(answer, "failed")
    assert answer.code == 1

    refused.remove("DeleteObject")
    at_sea.cloud.delete_object(Bucket="logs", Key=f"{HOME}a.ulg")
    answer = check(console)
    assert "s3:GetObject" in state(answer, "failed")
    assert answer.code == 1


def test_a_key_that_may_not_be_used_is_told_from_the_setting(console: Console, at_sea: Sea) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>kms:GenerateDataKey</Message></Error>"
    answer_with(at_sea, "CreateMultipartUpload", says(status=403, body=denied, headers=XML))

    answer = check(console, PETAL_S3_SSE="aws:kms:alias/logs")

    advice = state(answer, "failed")["s3:PutObject"]["advice"]
    assert "PETAL_S3_SSE" in advice
    assert "kms:GenerateDataKey" in advice


@pytest.mark.parametrize(
    ("status", "code"),
    [(501, b"NotImplemented"), (400, b"InvalidArgument"), (500, b"InternalError")],
)
def test_an_encryption_that_is_not_offered_names_the_setting(
    console: Console, at_sea: Sea, status: int, code: bytes
) -> None:
    body = b"<Error><Code>" + code + b"</Code><Message>SSE is not here.</Message></Error>"

    async def meet(request: Request) -> Fault | None:
        encrypted = "x-amz-server-side-encryption" in request.headers
        return says(status=status, body=body, headers=XML) if encrypted else None

    at_sea.link.link.on_request = meet
    answer = check(console)

    assert answer.code == 1
    assert set(state(answer, "failed")) == {"encryption"}
    told = state(answer, "failed")["encryption"]
    assert "set PETAL_S3_SSE" in told["found"]
    assert f"was answered {status} " in told["found"]
    assert "PETAL_S3_SSE is AES256" in told["advice"]
    assert left(at_sea.cloud) == {"versions": [], "markers": [], "uploads": []}


def test_a_server_without_conditional_deletion_is_asked_plainly(
    console: Console, at_sea: Sea
) -> None:
    body = b"<Error><Code>NotImplemented</Code><Message>If-Match</Message></Error>"

    async def meet(request: Request) -> Fault | None:
        conditional = request.op == "DeleteObject" and "If-Match" in request.headers
        return says(status=501, body=body, headers=XML) if conditional else None

    at_sea.link.link.on_request = meet
    answer = check(console)

    assert "s3:DeleteObject" in state(answer, "ok")
    plain = [one for one in at_sea.ledger.requests("DeleteObject") if "If-Match" not in one.headers]
    assert plain


# -- what else is missing


def test_without_a_bucket_the_rest_is_skipped(console: Console, at_sea: Sea) -> None:
    answer = check(console, PETAL_S3_BUCKET_NAME="nowhere")

    assert answer.code == 1
    assert set(state(answer, "failed")) == {"bucket"}
    assert "petal-s3 bucket setup" in state(answer, "failed")["bucket"]["advice"]
    assert set(NEEDED) <= set(state(answer, "skipped"))


def test_offline_is_not_now(console: Console, at_sea: Sea) -> None:
    at_sea.link.cut()

    answer = check(console)

    assert answer.code == 3
    assert set(state(answer, "failed")) == {"bucket"}
    assert set(NEEDED) <= set(state(answer, "skipped"))


def test_a_link_that_is_cut_halfway_ends_the_asking(console: Console, at_sea: Sea) -> None:
    answer_with(at_sea, "ListParts", Fault(drop=True))

    answer = check(console)

    assert answer.code == 3
    assert set(state(answer, "failed")) == {"s3:ListMultipartUploadParts"}
    assert {"s3:GetObject", "s3:DeleteObject"} <= set(state(answer, "skipped"))
    assert left(at_sea.cloud)["uploads"] == []


def test_a_token_service_that_is_down_is_not_now(console: Console, at_sea: Sea) -> None:
    answer = check(console, PETAL_S3_SESSION_TOKEN_URL="http://user:secret@127.0.0.1:9/token")

    assert answer.code == 3
    assert set(state(answer, "failed")) == {"credentials"}
    assert set(NEEDED) <= set(state(answer, "skipped"))
    assert "secret" not in answer.out + answer.err


def test_no_credentials_at_all_are_not_now(console: Console, at_sea: Sea) -> None:
    answer = check(console, PETAL_S3_SESSION_TOKEN_URL="")

    assert answer.code == 3
    assert "PETAL_S3_SESSION_TOKEN_URL" in state(answer, "failed")["credentials"]["advice"]


def test_a_wrong_setting_is_wrong_use(console: Console) -> None:
    answer = console.type("check", PETAL_S3_SSE="rot13")

    assert answer.code == 2
    assert "PETAL_S3_SSE" in answer.err


def test_a_clock_that_is_far_off_is_a_warning(console: Console, at_sea: Sea) -> None:
    date = {**XML, "date": "Fri, 01 Jan 2100 00:00:00 GMT"}
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    answer_with(at_sea, "ListObjectsV2", says(status=403, body=denied, headers=date))

    answer = check(console)

    told = state(answer, "warning")["clock"]
    assert "s behind S3" in told["found"]
    assert "signed with S3's time" in told["found"]


# -- this machine


def test_a_running_host_is_not_disturbed(console: Console, at_sea: Sea) -> None:
    path = console.write("a.ulg")
    console.type("enqueue", path)
    with console.host(machine_id=MACHINE):
        before = {one.name: one.stat().st_size for one in console.state.iterdir()}
        answer = check(console)
        assert not DrainLock(console.state).take()

        assert answer.code == 0, answer
        found = state(answer, "ok")["outbox"]["found"]
        assert f"process {os.getpid()} drains it" in found
        assert "1 queued" in found
        assert {one.name for one in console.state.iterdir()} == set(before)
    assert [row.state for row in console.rows()] == ["queued"]
    stored = {one.key for one in at_sea.ledger.requests("PutObject")}
    assert all(key.startswith(f"{HOME}tmp/check-") for key in stored), "no log is sent"


def test_it_says_that_the_host_has_no_login(console: Console, at_sea: Sea) -> None:
    said = "The host has no login: whoever reaches its port may read this machine's logs"
    assert state(check(console), "ok")["REST"]["found"].startswith(said)
    console.type("enqueue", console.write("a.ulg"))
    advice = no_login.advice(check_settings({"bucket_name": "logs"}))
    with console.host(machine_id=MACHINE, advice=advice):
        told = state(check(console), "warning")["REST"]
        assert told["found"].startswith(said)
        assert "PETAL_S3_API_TOKEN" in told["advice"]
        locked = check(console, PETAL_S3_API_TOKEN="a-token-of-forty-characters")
        assert "/test/bucket/ is open" in state(locked, "ok")["REST"]["found"]


def test_an_outbox_that_no_process_drains_is_a_warning(console: Console, at_sea: Sea) -> None:
    console.type("enqueue", console.write("a.ulg"))

    answer = check(console)

    assert answer.code == 0
    assert "no process drains it" in state(answer, "warning")["outbox"]["found"]


def test_a_damaged_outbox_is_a_failure(console: Console, at_sea: Sea) -> None:
    console.state.mkdir(mode=0o700)
    (console.state / "outbox.db").write_bytes(b"no database, " * 1000)

    answer = check(console)

    assert answer.code == 1
    assert "damaged" in state(answer, "failed")["outbox"]["found"]


def test_log_directories_that_are_not_there_are_a_warning(console: Console, at_sea: Sea) -> None:
    answer = check(console, PETAL_S3_LOG_DIRS=str(console.directory / "nowhere"))

    assert answer.code == 0
    assert "nowhere is not there" in state(answer, "warning")["log directories"]["found"]


def test_a_log_directory_that_was_there_and_is_gone_is_a_failure(
    console: Console, at_sea: Sea
) -> None:
    console.write("flight.ulg")
    assert console.type("drain").code == 0
    shutil.rmtree(console.logs)

    answer, told = check(console), console.type("status")

    assert answer.code == 1
    found = state(answer, "failed")["log directories"]
    assert f"{console.logs}: it was there, and is gone; logs in it are not seen" in found["found"]
    assert "PETAL_S3_LOG_DIRS" in found["advice"]
    assert "All" not in told.out
    shown = told.out.replace("\n", "")
    assert f"{console.logs} cannot be read (it was there, and is gone)" in shown


def test_a_folder_in_a_log_directory_that_cannot_be_read_is_a_failure(
    console: Console, at_sea: Sea
) -> None:
    console.write("flight.ulg")
    with console.unread_folder() as unread:
        answer = check(console)

    assert answer.code == 1
    found = state(answer, "failed")["log directories"]["found"]
    assert f"{unread} cannot be read (Permission denied)" in found
    assert "holds 1 logs" in state(answer, "ok")["log directories"]["found"]


def test_a_bag_that_a_dead_recorder_left_long_ago_is_a_warning(
    console: Console, at_sea: Sea
) -> None:
    left = console.logs / "flight.bag.active"
    left.write_bytes(b"#ROSBAG V2.0\n")
    os.utime(left, (1e9, 1e9))

    answer = check(console)

    assert answer.code == 0
    assert "flight.bag.active" in state(answer, "warning")["log directories"]["found"]


def test_a_file_in_place_of_a_log_directory_is_a_failure(console: Console, at_sea: Sea) -> None:
    file = console.directory / "file"
    file.write_text("no directory")

    answer = check(console, PETAL_S3_LOG_DIRS=str(file))

    assert answer.code == 1
    assert f"{file} is no directory" in state(answer, "failed")["log directories"]["found"]


def test_a_source_is_looked_at_as_a_log_directory(console: Console, sea: Sea) -> None:
    events, away = console.directory / "events", console.directory / "away"
    events.mkdir()
    (events / "one.xml").write_text("<a/>")
    (events / "flight.ulg").write_text("of another kind")
    sources = [
        {"directory": str(events), "kinds": "xml"},
        {"directory": str(away), "kinds": "json"},
    ]

    answer = console.type("check", "--json", PETAL_S3_SOURCES=json.dumps(sources))

    told = {check["found"]: check for check in answer.json["checks"]}
    assert told[f"{events} holds 1 logs"]["state"] == "ok"
    assert "sources" in told[f"{away} is not there"]["advice"]


def test_a_file_in_place_of_the_state_directory_is_a_failure(console: Console, at_sea: Sea) -> None:
    console.state.write_text("")

    answer = check(console)

    assert answer.code == 1
    assert "PETAL_S3_STATE_DIR" in state(answer, "failed")["state directory"]["advice"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_in_the_state_directory_of_another_user_it_says_whose_it_is(
    console: Console, at_sea: Sea, tmp_path: Path
) -> None:
    console.state.mkdir(mode=0o700)
    console.type("enqueue", console.write("a.ulg"))
    for place in (tmp_path, *tmp_path.parents):
        if place != Path("/") and place.stat().st_uid == 0:
            place.chmod(place.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        answer = check(console)
    finally:
        os.seteuid(0)

    assert answer.code == 1
    assert "belongs to root" in state(answer, "failed")["state directory"]["found"]
    assert "outbox" in state(answer, "failed")
    assert json.loads(answer.out)["done"] is False
