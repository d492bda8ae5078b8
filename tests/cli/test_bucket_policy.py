"""The policy for one machine: it may do its work in its own folders, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from account import Account
from botocore.exceptions import ClientError
from console import HOME, MACHINE, Console, Sea

PART = b"x" * 1000
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def printed(console: Console, *words: str, **env: str) -> dict[str, Any]:
    answer = console.type("bucket", "policy", *words, **env)
    assert answer.code == 0, answer
    return answer.json


def statements(policy: dict[str, Any]) -> dict[str, Any]:
    return {one["Sid"]: one for one in policy["Statement"]}


def refused(work: Any, **asked: Any) -> bool:
    try:
        work(Bucket="logs", **asked)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return False


@pytest.mark.threat(
    "neighbour",
    "with its own session it reads, writes or deletes in another's folder, or lists open uploads",
    "S3 refuses: the printed policy allows its own folders alone",
)
def test_a_machine_does_all_its_work_with_the_printed_policy(
    console: Console, account: Account
) -> None:
    # moto takes every condition for true, and so would refuse all who come without TLS.
    given = [one for one in printed(console)["Statement"] if one["Sid"] != "TlsOnly"]
    account.allow(*given)
    account.root.put_object(Bucket="logs", Key="flight_logs/drone-0010/a.ulg", Body=b"theirs")
    account.enforce()
    s3 = account.s3

    for root in (HOME, f"{MACHINE}/", f"deleted/{HOME}", f"deleted/{MACHINE}/"):
        key = f"{root}a.ulg"
        s3.put_object(Bucket="logs", Key=key, Body=PART)
        upload = s3.create_multipart_upload(Bucket="logs", Key=f"{root}b")["UploadId"]
        s3.upload_part(Bucket="logs", Key=f"{root}b", UploadId=upload, PartNumber=1, Body=PART)
        assert len(s3.list_parts(Bucket="logs", Key=f"{root}b", UploadId=upload)["Parts"]) == 1
        s3.abort_multipart_upload(Bucket="logs", Key=f"{root}b", UploadId=upload)
        assert s3.head_object(Bucket="logs", Key=key)["ContentLength"] == len(PART)
        s3.get_object(Bucket="logs", Key=key)["Body"].close()
        s3.copy_object(Bucket="logs", Key=f"{key}2", CopySource=f"logs/{key}")
        s3.delete_object(Bucket="logs", Key=key)
    s3.list_objects_v2(Bucket="logs", Prefix=HOME)

    for other in ("flight_logs/drone-0010/a.ulg", "drone-002/a.ulg", "deleted/drone-002/a", "a"):
        assert refused(s3.put_object, Key=other, Body=PART), other
        assert refused(s3.create_multipart_upload, Key=other), other
        assert refused(s3.get_object, Key=other), other
        assert refused(s3.delete_object, Key=other), other
    assert refused(s3.list_multipart_uploads)
    assert refused(s3.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})


@pytest.mark.threat(
    "stolen",
    "its session is used to delete its logs, under a policy printed with --no-delete",
    "S3 refuses",
)
def test_without_delete_it_may_not_delete(console: Console, account: Account) -> None:
    given = printed(console, "--no-delete")["Statement"]
    account.allow(*[one for one in given if one["Sid"] != "TlsOnly"])
    account.enforce()

    account.s3.put_object(Bucket="logs", Key=f"{HOME}a.ulg", Body=PART)

    assert refused(account.s3.delete_object, Key=f"{HOME}a.ulg")


@pytest.mark.threat(
    "neighbour",
    "it lists the bucket, or asks without TLS",
    "the printed policy allows the listing of its own folders alone, and nothing without TLS",
)
def test_only_own_folders_may_be_listed_and_only_over_tls(console: Console) -> None:
    policy = statements(printed(console, "--machine", MACHINE))

    assert policy["ListOwn"]["Resource"] == "arn:aws:s3:::logs"
    assert policy["ListOwn"]["Condition"] == {
        "StringLike": {
            "s3:prefix": [
                f"{HOME}*",
                f"{MACHINE}/*",
                f"deleted/{HOME}*",
                f"deleted/{MACHINE}/*",
            ]
        }
    }
    assert policy["TlsOnly"]["Effect"] == "Deny"
    assert policy["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy["TlsOnly"]["Resource"] == ["arn:aws:s3:::logs", "arn:aws:s3:::logs/*"]


def test_it_asks_no_server_and_needs_no_credentials(console: Console, sea: Sea) -> None:
    policy = printed(
        console, "--machine", "m-7", "--json", PETAL_S3_MACHINE_ID="", PETAL_S3_REGION="cn-north-1"
    )

    assert (
        statements(policy)["OwnObjects"]["Resource"][0] == "arn:aws-cn:s3:::logs/flight_logs/m-7/*"
    )
    assert "s3:ListBucketMultipartUploads" not in str(policy)
    assert sea.ledger.requests() == []
    assert not console.state.exists()


@pytest.mark.threat(
    "neighbour",
    "a prefix holds signs that stand for anything in IAM",
    "the printed policy takes them literally",
)
def test_signs_that_mean_something_to_iam_are_taken_literally(console: Console) -> None:
    policy = printed(console, PETAL_S3_UPLOAD_PREFIX="a*b?c$d/")

    first = statements(policy)["OwnObjects"]["Resource"][0]
    assert first == f"arn:aws:s3:::logs/a${{*}}b${{?}}c${{$}}d/{MACHINE}/*"


@pytest.mark.parametrize(
    ("sse", "resource", "more"),
    [
        (KMS, KMS, {}),
        ("1234abcd", "arn:aws:kms:eu-west-1:*:key/1234abcd", {}),
        (
            "alias/logs",
            "arn:aws:kms:eu-west-1:*:key/*",
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/logs"}},
        ),
        (
            "arn:aws:kms:eu-west-1:111122223333:alias/logs",
            "arn:aws:kms:eu-west-1:111122223333:key/*",
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/logs"}},
        ),
    ],
)
def test_a_kms_key_may_be_used_through_s3_alone(
    console: Console, sse: str, resource: str, more: dict[str, Any]
) -> None:
    policy = printed(console, PETAL_S3_SSE=f"aws:kms:{sse}", PETAL_S3_REGION="eu-west-1")

    key = statements(policy)["OwnKey"]
    assert key["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    assert key["Resource"] == resource
    through_s3 = {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}
    assert key["Condition"] == {**through_s3, **more}


@pytest.mark.parametrize("sse", ["aws:kms", "AES256", "none"])
def test_no_key_is_granted_where_none_is_named(console: Console, sse: str) -> None:
    assert "kms:" not in str(printed(console, PETAL_S3_SSE=sse))


def test_a_policy_too_long_for_a_session_says_so(console: Console) -> None:
    short = console.type("bucket", "policy", "--machine", "m-1")
    long = console.type("bucket", "policy", "--machine", "m" * 64, PETAL_S3_UPLOAD_PREFIX="p" * 300)

    assert short.err == ""
    assert "too long for a session policy (2048)" in long.err
    assert long.json
