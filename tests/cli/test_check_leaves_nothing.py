"""The doctor leaves nothing behind, also in a bucket that keeps versions, and blames truthfully."""

from __future__ import annotations

from typing import Any

import pytest
from account import Account
from console import HOME, Answer, Console, Sea

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request

XML = {"content-type": "application/xml", "x-amz-request-id": "1"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
UNKNOWN = b"<Error><Code>NotImplemented</Code><Message>If-Match</Message></Error>"


@pytest.fixture
def versioned(console: Console, sea: Sea) -> Sea:
    """A bucket that keeps versions."""
    console.env["AWS_EC2_METADATA_DISABLED"] = "true"
    sea.cloud.put_bucket_versioning(Bucket="logs", VersioningConfiguration={"Status": "Enabled"})
    return sea


def check(console: Console, **env: str) -> Answer:
    return console.type("check", "--json", **env)


def found(answer: Answer) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in answer.json["checks"]}


def failed(answer: Answer) -> set[str]:
    return {name for name, one in found(answer).items() if one["state"] == "failed"}


def left(sea: Sea) -> list[str]:
    """Every version and marker in the bucket, and every open upload."""
    told = sea.cloud.list_object_versions(Bucket="logs")
    uploads = sea.cloud.list_multipart_uploads(Bucket="logs")
    lists = (told.get("Versions"), told.get("DeleteMarkers"), uploads.get("Uploads"))
    return [one["Key"] for some in lists for one in some or []]


# -- versions


def test_a_bucket_that_keeps_versions_is_as_before(console: Console, versioned: Sea) -> None:
    for _ in range(2):
        answer = check(console)
        assert answer.code == 0, answer
        assert "versions" not in found(answer)
    assert left(versioned) == []


def test_a_marker_that_a_deletion_leaves_is_deleted_too(console: Console, versioned: Sea) -> None:
    async def meet(request: Request) -> Fault | None:  # so do servers that know no condition here
        conditional = request.op == "DeleteObject" and "If-Match" in request.headers
        return says(status=501, body=UNKNOWN, headers=XML) if conditional else None

    versioned.link.link.on_request = meet
    answer = check(console)

    assert found(answer)["s3:DeleteObject"]["state"] == "ok"
    assert left(versioned) == []


def test_what_may_not_be_deleted_is_said_to_be_left(console: Console, versioned: Sea) -> None:
    async def meet(request: Request) -> Fault | None:
        of_a_version = request.op == "DeleteObject" and "versionId=" in request.query
        return says(status=403, body=DENIED, headers=XML) if of_a_version else None

    versioned.link.link.on_request = meet
    answer = check(console)

    assert answer.code == 0, answer
    told = found(answer)["versions"]
    assert told["state"] == "warning"
    assert "DeleteObject was answered 403 AccessDenied" in told["found"]
    stays = left(versioned)
    assert stays, "the server did keep them"
    folder = f"{HOME}tmp/check-"
    assert all(key.startswith(folder) for key in stays)
    assert f"are left below {folder}" in told["found"]
    seen = versioned.cloud.list_objects_v2(Bucket="logs").get("Contents", [])
    assert seen == [], "nothing that a listing shows"


# -- one odd answer


@pytest.mark.parametrize(
    "fault",
    [
        says(status=200, body=b"x" * 10, headers={"etag": '"abc"', "x-amz-request-id": "1"}),
        says(
            status=206,
            body=b"0123",
            headers={"etag": '"abc"', "content-range": "bytes 0-3/10", "x-amz-request-id": "1"},
        ),
    ],
)
def test_one_odd_answer_to_a_range_does_not_end_the_check(
    console: Console, versioned: Sea, fault: Fault
) -> None:
    async def meet(request: Request) -> Fault | None:
        return fault if request.op == "GetObject" else None

    versioned.link.link.on_request = meet
    answer = check(console)

    assert answer.code == 0, answer
    told = found(answer)
    assert told["s3:GetObject"]["state"] == "warning"
    assert "range" in told["s3:GetObject"]["found"]
    speak_of_logins = {name for name, one in told.items() if "login" in str(one)}
    assert speak_of_logins == {"REST"}, "that of the host, and not of a network"
    assert told["server features"]["state"] == "ok"
    assert told["stale uploads"]["found"] != "the bucket could not be asked"
    assert left(versioned) == []


def test_trouble_of_the_server_at_one_step_does_not_end_the_check(
    console: Console, versioned: Sea
) -> None:
    body = b"<Error><Code>InternalError</Code><Message>Oh.</Message></Error>"

    async def meet(request: Request) -> Fault | None:
        odd = request.op == "GetObject"
        return says(status=500, body=body, headers=XML) if odd else None

    versioned.link.link.on_request = meet
    answer = check(console)

    assert failed(answer) == {"s3:GetObject"}
    assert "500 InternalError" in found(answer)["s3:GetObject"]["found"]
    assert found(answer)["stale uploads"]["found"] != "the bucket could not be asked"
    assert left(versioned) == []


def test_an_archived_object_is_no_missing_permission(console: Console, versioned: Sea) -> None:
    body = b"<Error><Code>InvalidObjectState</Code><Message>Glacier.</Message></Error>"

    async def meet(request: Request) -> Fault | None:
        return says(status=403, body=body, headers=XML) if request.op == "GetObject" else None

    versioned.link.link.on_request = meet
    answer = check(console)

    assert answer.code == 0, answer
    told = found(answer)["s3:GetObject"]
    assert (told["state"], "archived" in told["found"]) == ("warning", True)
    assert "permission" not in told["found"] + told["advice"]


# -- keys that S3 does not take


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another-secret", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "AKIAANOTHERKEY000001", "InvalidAccessKeyId"),
    ],
)
def test_fixed_keys_that_are_wrong_are_named_and_nothing_else(
    console: Console, account: Account, name: str, value: str, code: str
) -> None:
    account.enforce()

    answer = check(console, **{name: value})

    assert answer.code == 1, "to wait does not help"
    assert failed(answer) == {"bucket"}
    told = found(answer)["bucket"]
    assert code in told["found"]
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile" in told["found"]
    for blamed in ("permission", "fetched", "expired", "PETAL_S3_SESSION_TOKEN_URL", "clock of"):
        assert blamed not in told["found"] + told["advice"]


@pytest.mark.guarantee(
    "refusals",
    "a key or token of the environment or of the token service ends with a line break, or holds"
    " characters that no header carries",
    "it is refused by its name, and no link is blamed",
)
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\x01", "é", " "])
def test_keys_that_no_request_can_carry_are_named(
    console: Console, account: Account, name: str, ending: str
) -> None:
    for command in (["check", "--json"], ["ls"], ["presign", f"{HOME}a.ulg"]):
        answer = console.type(*command, **{name: f"AKIAANOTHERKEY000001{ending}"})
        assert answer.code in {1, 3}
        assert f"The credentials cannot be sent: {name.lower()} holds" in answer.out + answer.err
        for blamed in ("reached", "link", "AKIAANOTHER"):
            assert blamed not in answer.out + answer.err
        if command[0] == "check":
            assert failed(answer) == {"credentials"}


@pytest.mark.parametrize("command", [["ls"], ["bucket", "setup"]])
def test_every_command_says_it_the_same_way(
    console: Console, account: Account, command: list[str]
) -> None:
    account.enforce()

    answer = console.type(*command, AWS_SECRET_ACCESS_KEY="another-secret")

    assert answer.code == 3
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile" in answer.err
    assert "permission" not in answer.err


def test_keys_of_the_token_service_that_s3_does_not_take_name_the_service(
    console: Console, sea: Sea
) -> None:
    body = b"<Error><Code>InvalidAccessKeyId</Code><Message>Unknown.</Message></Error>"

    async def meet(_: Request) -> Fault | None:
        return says(status=403, body=body, headers=XML)

    sea.link.link.on_request = meet
    answer = check(console)

    assert (answer.code, failed(answer)) == (1, {"bucket"})
    told = found(answer)["bucket"]["found"]
    assert "403 InvalidAccessKeyId" in told
    assert "PETAL_S3_SESSION_TOKEN_URL" in told
    assert "permission" not in told
