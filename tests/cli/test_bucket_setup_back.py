"""Each step of ``bucket setup`` can be taken back: only what it set goes, and never the bucket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from account import Account, allow, deny
from botocore.exceptions import ClientError
from console import MACHINE, Answer, Console, Sea

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request

XML = {"content-type": "application/xml", "x-amz-request-id": "1"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
EVERY = ["tls-only", "lifecycle", "encryption", "cors", "access-logs", "versioning"]


@pytest.fixture
def bucket(sea: Sea, console: Console) -> Any:
    """A look at the bucket past the link."""
    console.env["AWS_EC2_METADATA_DISABLED"] = "true"
    return sea.cloud


def setup(console: Console, *words: str, **env: str) -> Answer:
    page = () if "--remove" in words else ("--origin", "https://fleet.example")
    return console.type("bucket", "setup", *page, *words, **env)


def remove(console: Console, *steps: str, **env: str) -> Answer:
    named = [word for step in steps for word in ("--remove", step)]
    return setup(console, "--json", *named, **env)


def outcomes(answer: Answer) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in answer.json["steps"]}


def is_set(bucket: Any, setting: str) -> bool:
    try:
        getattr(bucket, f"get_bucket_{setting}")(Bucket="logs")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False
    return True


def writes(sea: Sea) -> list[Request]:
    return [one for one in sea.ledger.requests() if one.method not in {"GET", "HEAD"}]


# -- over http


def test_over_http_the_tls_only_policy_is_left_out_and_that_is_said(
    console: Console, bucket: Any
) -> None:
    answer = setup(console)

    assert answer.code == 0, answer
    assert not is_set(bucket, "policy")
    assert "PETAL_S3_ENDPOINT_URL is http://" in answer.err
    assert "--tls-only sets it all the same" in answer.err
    assert "policy" not in outcomes(setup(console, "--json"))


def test_over_http_it_is_set_where_it_is_asked_for(console: Console, bucket: Any) -> None:
    answer = setup(console, "--tls-only")

    assert answer.code == 0, answer
    assert is_set(bucket, "policy")
    assert answer.err.count("Warning") == 1


def test_a_policy_that_stands_there_already_is_named_over_http(
    console: Console, bucket: Any
) -> None:
    setup(console, "--tls-only")

    answer = setup(console, "--json")

    (policy,) = [one for one in answer.json["steps"] if one["name"] == "policy"]
    assert (answer.code, policy["outcome"]) == (0, "unchanged")
    assert "lets no machine in there" in policy["reason"]
    assert "--remove tls-only" in policy["reason"]


def test_a_bucket_that_locks_this_endpoint_out_is_told_with_that_cause(
    console: Console, sea: Sea, bucket: Any
) -> None:
    async def locked(request: Request) -> Fault | None:
        return says(status=403, body=b"" if request.method == "HEAD" else DENIED, headers=XML)

    sea.link.link.on_request = locked

    told = setup(console).err
    listed = console.type("ls")

    assert "TLS-only policy of the bucket" in told
    assert "http://" in told
    assert listed.code == 3
    assert "PETAL_S3_ENDPOINT_URL is http://: a TLS-only policy of the bucket" in listed.err


# -- back


def test_every_step_is_taken_back(console: Console, sea: Sea, bucket: Any) -> None:
    bucket.create_bucket(Bucket="access")
    assert setup(console, "--tls-only", "--access-logs", "access/of-logs/").code == 0

    answer = remove(console, *EVERY)

    assert answer.code == 0, answer
    assert outcomes(answer) == dict.fromkeys(
        ["policy", "lifecycle", "encryption", "cors", "versioning", "access logs", "log target"],
        "changed",
    )
    for setting in ("policy", "lifecycle_configuration", "encryption", "cors"):
        assert not is_set(bucket, setting), setting
    assert bucket.get_bucket_versioning(Bucket="logs")["Status"] == "Suspended"
    assert "LoggingEnabled" not in bucket.get_bucket_logging(Bucket="logs")
    with pytest.raises(ClientError):
        bucket.get_bucket_policy(Bucket="access")
    sea.ledger.clear()

    again = remove(console, *EVERY)

    assert (again.code, set(outcomes(again).values())) == (0, {"unchanged"})
    assert writes(sea) == []


@pytest.mark.parametrize("step", EVERY)
def test_a_step_that_is_taken_back_takes_no_other_along(
    console: Console, sea: Sea, bucket: Any, step: str
) -> None:
    bucket.create_bucket(Bucket="access")
    setup(console, "--tls-only", "--access-logs", "access/")
    sea.ledger.clear()

    assert remove(console, step).code == 0

    query = {"tls-only": "policy", "access-logs": "logging"}.get(step, step)
    assert {one.query.rstrip("=") for one in writes(sea)} == (
        {"logging", "policy"} if step == "access-logs" else {query}
    )
    assert is_set(bucket, "policy") == (step != "tls-only")


def test_what_others_have_set_stays(console: Console, bucket: Any) -> None:
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "old/"},
        "Expiration": {"Days": 90},
    }
    bucket.put_bucket_lifecycle_configuration(
        Bucket="logs", LifecycleConfiguration={"Rules": [theirs]}
    )
    page = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"]}
    bucket.put_bucket_cors(Bucket="logs", CORSConfiguration={"CORSRules": [page]})
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::1:root"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::logs/*",
    }
    policy = {"Version": "2008-10-17", "Id": "kept", "Statement": [statement]}
    bucket.put_bucket_policy(Bucket="logs", Policy=json.dumps(policy))
    setup(console, "--tls-only")

    answer = remove(console, "tls-only", "lifecycle", "cors")

    assert answer.code == 0, answer
    assert json.loads(bucket.get_bucket_policy(Bucket="logs")["Policy"]) == policy
    (rule,) = bucket.get_bucket_lifecycle_configuration(Bucket="logs")["Rules"]
    assert (rule["ID"], rule["Expiration"]) == ("theirs", {"Days": 90})
    (cors,) = bucket.get_bucket_cors(Bucket="logs")["CORSRules"]
    assert cors["AllowedOrigins"] == ["https://a.example"]
    said = {one["name"]: one["changes"] for one in answer.json["steps"]}
    assert [line.partition(":")[0] for line in said["cors"]] == ["removes petal-s3-browser"]
    assert [line.partition(":")[0] for line in said["policy"]] == ["removes PetalS3TlsOnly"]
    assert sorted(line.partition(":")[0] for line in said["lifecycle"]) == [
        "removes petal-s3-stale-uploads",
        f"removes petal-s3-tmp-{MACHINE}",
    ]


def test_settings_of_others_are_left_and_that_is_said(console: Console, bucket: Any) -> None:
    bucket.create_bucket(Bucket="access")
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/theirs"}
    bucket.put_bucket_encryption(
        Bucket="logs",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": by_key, "BucketKeyEnabled": True}]
        },
    )
    grants = [{"Grantee": {"Type": "Group", "URI": _DELIVERY}, "Permission": one} for one in _MAY]
    owner = bucket.get_bucket_acl(Bucket="access")["Owner"]
    bucket.put_bucket_acl(Bucket="access", AccessControlPolicy={"Grants": grants, "Owner": owner})
    bucket.put_bucket_logging(
        Bucket="logs",
        BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "access", "TargetPrefix": "x/"}},
    )
    statement = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket"}
    kept = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "arn:aws:s3:::logs"}]}
    bucket.put_bucket_policy(Bucket="logs", Policy=json.dumps(kept))
    bucket.put_bucket_policy(
        Bucket="access", Policy=json.dumps(kept).replace(":::logs", ":::access")
    )

    answer = remove(console, "encryption", "access-logs", "tls-only")

    assert answer.code == 0
    assert set(outcomes(answer).values()) == {"unchanged"}
    assert {one["reason"] for one in answer.json["steps"]} == {
        "What is set there is not of bucket setup, and stays."
    }
    assert is_set(bucket, "encryption")
    assert "LoggingEnabled" in bucket.get_bucket_logging(Bucket="logs")


_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
_MAY = ("READ_ACP", "WRITE")


def test_the_rule_of_one_machine_goes_alone(console: Console, bucket: Any) -> None:
    setup(console, "--machine", "gone-1", "--machine", "m-2")

    answer = setup(console, "--json", "--remove", "lifecycle", "--machine", "gone-1")

    assert answer.code == 0, answer
    found = bucket.get_bucket_lifecycle_configuration(Bucket="logs")["Rules"]
    assert {rule["ID"] for rule in found} == {"petal-s3-stale-uploads", "petal-s3-tmp-m-2"}


def test_a_dry_run_shows_it_and_writes_nothing(console: Console, sea: Sea, bucket: Any) -> None:
    setup(console, "--tls-only")
    sea.ledger.clear()

    answer = setup(console, "--dry-run", "--remove", "tls-only", "--remove", "versioning")

    assert answer.code == 0
    assert writes(sea) == []
    assert "removes PetalS3TlsOnly" in answer.out
    assert "Enabled -> Suspended" in answer.out
    assert "Nothing was changed" in answer.err


@pytest.mark.parametrize("step", ["bucket", "policy", "", "all"])
def test_only_steps_of_the_list_can_be_taken_back(console: Console, sea: Sea, step: str) -> None:
    answer = setup(console, "--remove", step)

    assert answer.code == 2
    assert "tls-only" in answer.err
    assert sea.ledger.requests() == []


@pytest.mark.parametrize(
    "words", [("--tls-only",), ("--origin", "https://a.example"), ("--access-logs", "access")]
)
def test_it_sets_nothing_while_it_takes_back(
    console: Console, sea: Sea, words: tuple[str, ...]
) -> None:
    answer = setup(console, "--remove", "cors", *words)

    assert answer.code == 2
    assert "--remove only takes back" in answer.err
    assert sea.ledger.requests() == []


def test_a_bucket_that_is_not_there_is_not_made(console: Console, sea: Sea, bucket: Any) -> None:
    bucket.delete_bucket(Bucket="logs")

    answer = remove(console, "cors")

    assert (answer.code, answer.json["code"]) == (1, "no_bucket")
    assert writes(sea) == []


def test_what_cannot_be_read_is_not_deleted(console: Console, sea: Sea, bucket: Any) -> None:
    listing = b"<ListBucketResult><Name>logs</Name></ListBucketResult>"

    async def reads_past(request: Request) -> Fault | None:
        past = request.method == "GET" and request.query.rstrip("=") in {"policy", "lifecycle"}
        return says(status=200, body=listing, headers=XML) if past else None

    setup(console, "--tls-only")
    sea.ledger.clear()
    sea.link.link.on_request = reads_past

    answer = remove(console, "tls-only", "lifecycle")

    assert set(outcomes(answer).values()) == {"not offered"}
    assert answer.code == 1
    assert writes(sea) == []


def test_a_server_that_deletes_the_bucket_instead_is_named(
    console: Console, sea: Sea, bucket: Any
) -> None:
    setup(console)

    async def takes_the_bucket(request: Request) -> Fault | None:
        if request.method == "DELETE":
            bucket.delete_bucket(Bucket="logs")
            return says(status=204, headers=XML)
        return None

    sea.link.link.on_request = takes_the_bucket

    answer = remove(console, "cors")

    assert answer.code == 1
    (step,) = answer.json["steps"]
    assert (step["outcome"], step["code"]) == ("failed", "bucket_deleted")


@pytest.mark.parametrize(
    ("step", "action"),
    [
        ("tls-only", "s3:DeleteBucketPolicy"),
        ("lifecycle", "s3:PutLifecycleConfiguration"),
        ("cors", "s3:PutBucketCORS"),
        ("versioning", "s3:PutBucketVersioning"),
    ],
)
def test_a_permission_that_is_missing_is_named(
    console: Console, account: Account, step: str, action: str
) -> None:
    assert setup(console, "--tls-only").code == 0
    account.allow(allow("*"), deny(action))
    account.enforce()

    answer = remove(console, step)

    assert answer.code == 1
    (failed,) = answer.json["steps"]
    assert failed["reason"] == f"Not permitted: these credentials need {action}."


def test_the_encryption_that_aws_itself_sets_is_nothing_to_take_back(
    console: Console, sea: Sea, bucket: Any
) -> None:
    setup(console)
    # Without an endpoint of ours it is AWS.
    console.env["AWS_ENDPOINT_URL_S3"] = console.env.pop("PETAL_S3_ENDPOINT_URL")
    sea.ledger.clear()

    answer = remove(console, "encryption")

    (step,) = answer.json["steps"]
    assert (answer.code, step["outcome"]) == (0, "unchanged")
    assert step["reason"].startswith("AWS encrypts every bucket")
    assert writes(sea) == []
