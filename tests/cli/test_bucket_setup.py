"""An administrator sets up a bucket: what is missing is set, what others set stays."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import pytest
from account import Account, allow, deny
from botocore.exceptions import ClientError
from console import MACHINE, Answer, Console, Sea

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.host import installed

XML = {"content-type": "application/xml", "x-amz-request-id": "1"}
HTML = {"content-type": "text/html"}
LISTING = b"<ListBucketResult><Name>logs</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
INTERNAL = b"<Error><Code>InternalError</Code><Message>Oh.</Message></Error>"
STEPS = ["bucket", "public access", "versioning", "encryption", "lifecycle", "cors", "policy"]
LOOKED_AT = {"bucket": "unchanged", "public access": "unchanged"}
"""Steps at a bucket that is there."""
PAGE = "https://fleet.example"
NOT_OFFERED = b"<Error><Code>NotImplemented</Code><Message>Not here.</Message></Error>"

Meet = Callable[[Request], Awaitable[Fault | None]]


@pytest.fixture
def bucket(sea: Sea, console: Console) -> Any:
    """A look at the bucket past the link."""
    console.env["AWS_EC2_METADATA_DISABLED"] = "true"
    return sea.cloud


def setup(console: Console, *words: str, **env: str) -> Answer:
    """Set up with what has to be asked for: the TLS-only policy over http, and a page's origin."""
    tls = () if "--no-tls-only" in words else ("--tls-only",)
    page = () if "--origin" in words else ("--origin", PAGE)
    return console.type("bucket", "setup", *tls, *page, *words, **env)


def remove(console: Console, *words: str, **env: str) -> Answer:
    return console.type("bucket", "setup", *words, **env)


def writes(sea: Sea) -> list[Request]:
    return [one for one in sea.ledger.requests() if one.method not in {"GET", "HEAD"}]


def steps(answer: Answer) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in answer.json["steps"]}


def when(sea: Sea, method: str, query: str, fault: Fault) -> None:
    """From now on requests like this meet ``fault``."""

    async def meet(request: Request) -> Fault | None:
        return fault if (request.method, request.query.rstrip("=")) == (method, query) else None

    sea.link.link.on_request = meet


def rules(bucket: Any) -> dict[str, Any]:
    found = bucket.get_bucket_lifecycle_configuration(Bucket="logs")["Rules"]
    return {rule["ID"]: rule for rule in found}


# -- what is set


@pytest.mark.threat(
    "stolen",
    "its session is used to delete or overwrite objects in its folder",
    "the bucket that bucket setup has made keeps versions",
)
def test_a_bucket_that_is_missing_is_created_and_set_up(
    console: Console, sea: Sea, bucket: Any
) -> None:
    bucket.delete_bucket(Bucket="logs")

    answer = setup(console, "--json")

    assert answer.code == 0, answer
    assert steps(answer) == dict.fromkeys(STEPS, "changed")
    assert bucket.get_bucket_versioning(Bucket="logs")["Status"] == "Enabled"
    told = bucket.get_bucket_encryption(Bucket="logs")["ServerSideEncryptionConfiguration"]
    assert told["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(rules(bucket)) == {"petal-s3-stale-uploads", f"petal-s3-tmp-{MACHINE}"}
    tmp = rules(bucket)[f"petal-s3-tmp-{MACHINE}"]
    assert tmp["Filter"] == {"Prefix": f"flight_logs/{MACHINE}/tmp/"}
    assert tmp["Expiration"] == {"Days": 1}
    assert tmp["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    (cors,) = bucket.get_bucket_cors(Bucket="logs")["CORSRules"]
    assert cors["AllowedOrigins"] == [PAGE]
    assert sorted(cors["AllowedMethods"]) == ["GET", "HEAD", "PUT"]
    policy = json.loads(bucket.get_bucket_policy(Bucket="logs")["Policy"])
    assert [one["Sid"] for one in policy["Statement"]] == ["PetalS3TlsOnly"]


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_a_bucket_is_created_in_the_region_of_the_settings(
    console: Console, bucket: Any, region: str
) -> None:
    answer = setup(console, PETAL_S3_BUCKET_NAME="elsewhere", PETAL_S3_REGION=region)

    assert answer.code == 0, answer
    told = bucket.get_bucket_location(Bucket="elsewhere")["LocationConstraint"]
    assert (told or "us-east-1") == region


def test_a_second_setup_writes_nothing(console: Console, sea: Sea, bucket: Any) -> None:
    bucket.create_bucket(Bucket="access")
    words = ("--json", "--machine", "m-1", "--machine", "m-2", "--access-logs", "access/logs/")
    settings = {"PETAL_S3_SSE": "aws:kms:alias/logs"}
    assert setup(console, *words, **settings).code == 0
    assert writes(sea)
    sea.ledger.clear()

    answer = setup(console, *words, **settings)

    assert answer.code == 0, answer
    assert set(steps(answer).values()) == {"unchanged"}
    assert sea.ledger.requests()
    assert writes(sea) == []


def test_a_dry_run_says_everything_and_changes_nothing(
    console: Console, sea: Sea, bucket: Any
) -> None:
    answer = setup(console, "--dry-run")

    assert answer.code == 0
    assert writes(sea) == []
    for part in ("never set -> Enabled", "petal-s3-stale-uploads", "petal-s3-browser"):
        assert part in answer.out
    assert "Nothing was changed" in answer.err

    bucket.delete_bucket(Bucket="logs")
    answer = setup(console, "--dry-run", "--json")
    assert answer.code == 0
    assert steps(answer) == dict.fromkeys(STEPS, "to change")
    assert writes(sea) == []


def test_what_others_have_set_stays(console: Console, bucket: Any) -> None:
    theirs = {"ID": "theirs", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 90}}
    bucket.put_bucket_lifecycle_configuration(
        Bucket="logs", LifecycleConfiguration={"Rules": [theirs]}
    )
    page = {"ID": "page", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"]}
    bucket.put_bucket_cors(Bucket="logs", CORSConfiguration={"CORSRules": [page]})
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::1:root"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::logs/*",
    }
    kept = {"Version": "2008-10-17", "Id": "kept", "Statement": statement}
    bucket.put_bucket_policy(Bucket="logs", Policy=json.dumps(kept))

    assert setup(console).code == 0

    found = rules(bucket)
    assert set(found) == {"theirs", "petal-s3-stale-uploads", f"petal-s3-tmp-{MACHINE}"}
    assert found["theirs"]["Expiration"] == {"Days": 90}
    assert found["theirs"]["Filter"] == {"Prefix": "old/"}
    assert [one["ID"] for one in bucket.get_bucket_cors(Bucket="logs")["CORSRules"]] == [
        "page",
        "petal-s3-browser",
    ]
    policy = json.loads(bucket.get_bucket_policy(Bucket="logs")["Policy"])
    assert policy["Statement"][0] == statement
    assert policy["Statement"][1]["Sid"] == "PetalS3TlsOnly"
    assert (policy["Version"], policy["Id"]) == ("2008-10-17", "kept")


def test_another_machine_is_added_beside_the_first(console: Console, bucket: Any) -> None:
    setup(console, "--machine", "m-1")

    answer = console.type("bucket", "setup", "--machine", "m-2")

    assert answer.code == 0
    assert {"petal-s3-tmp-m-1", "petal-s3-tmp-m-2"} < set(rules(bucket))
    (cors,) = bucket.get_bucket_cors(Bucket="logs")["CORSRules"]
    assert cors["AllowedOrigins"] == [PAGE]


def test_without_a_machine_it_says_that_nothing_expires(
    console: Console, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "host_machine_id", lambda: None)  # as at a console
    del console.env["PETAL_S3_MACHINE_ID"]

    answer = setup(console)

    assert answer.code == 0
    assert "--machine" in answer.err
    assert [*rules(bucket)] == ["petal-s3-stale-uploads"]


def test_a_setting_that_was_changed_by_hand_is_brought_back(console: Console, bucket: Any) -> None:
    setup(console)
    bucket.put_bucket_versioning(Bucket="logs", VersioningConfiguration={"Status": "Suspended"})

    answer = setup(console, "--json")

    assert steps(answer) == {**dict.fromkeys(STEPS, "unchanged"), "versioning": "changed"}
    assert answer.json["steps"][2]["changes"] == ["Suspended -> Enabled"]


def test_encryption_none_is_not_touched(console: Console, bucket: Any) -> None:
    answer = setup(console, "--json", PETAL_S3_SSE="none")

    assert "encryption" not in steps(answer)
    with pytest.raises(ClientError):
        bucket.get_bucket_encryption(Bucket="logs")


def test_a_kms_key_is_set_with_a_bucket_key(console: Console, bucket: Any) -> None:
    assert setup(console, PETAL_S3_SSE="aws:kms:alias/logs").code == 0

    told = bucket.get_bucket_encryption(Bucket="logs")["ServerSideEncryptionConfiguration"]
    assert told["Rules"] == [
        {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": "alias/logs",
            },
            "BucketKeyEnabled": True,
        }
    ]


# -- access logs


def test_access_logs_go_where_they_are_allowed(console: Console, bucket: Any) -> None:
    bucket.create_bucket(Bucket="access")

    answer = setup(console, "--access-logs", "access/of-logs/")

    assert answer.code == 0, answer
    told = bucket.get_bucket_logging(Bucket="logs")["LoggingEnabled"]
    assert (told["TargetBucket"], told["TargetPrefix"]) == ("access", "of-logs/")
    (statement,) = json.loads(bucket.get_bucket_policy(Bucket="access")["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert statement["Resource"] == "arn:aws:s3:::access/of-logs/*"
    assert statement["Condition"] == {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs"}}


def test_a_missing_bucket_for_access_logs_fails_only_that_step(
    console: Console, bucket: Any
) -> None:
    answer = setup(console, "--json", "--access-logs", "nowhere")

    assert answer.code == 1
    assert steps(answer) == {
        **dict.fromkeys(STEPS, "changed"),
        **LOOKED_AT,
        "log target": "failed",
        "access logs": "skipped",
    }
    assert setup(console, "--access-logs", "logs").code == 2  # it would log its own logs


# -- what cannot be set


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (501, NOT_OFFERED),
        (405, NOT_OFFERED.replace(b"NotImplemented", b"MethodNotAllowed")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_a_server_does_not_offer_stops_no_other_step(
    console: Console, sea: Sea, bucket: Any, method: str, status: int, body: bytes
) -> None:
    when(sea, method, "lifecycle", says(status=status, body=body, headers=XML))

    answer = setup(console, "--json")

    assert answer.code == 1
    assert steps(answer)["lifecycle"] == "not offered"
    others = [steps(answer)[name] for name in STEPS if name not in {"lifecycle", *LOOKED_AT}]
    assert set(others) == {"changed"}


def reads_past(names: set[str], code: bytes, *, told: bool = True) -> Meet:
    """A server that does not know these settings, and takes them for the bucket itself."""
    headers = XML if told else {"content-type": "application/xml"}

    async def meet(request: Request) -> Fault | None:
        if request.query.rstrip("=") not in names:
            return None
        if request.method == "GET":
            return says(status=200, body=LISTING, headers=headers)
        body = b"<Error><Code>" + code + b"</Code><Message>It is there.</Message></Error>"
        return says(status=409, body=body, headers=headers)

    return meet


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("code", [b"BucketAlreadyOwnedByYou", b"BucketAlreadyExists"])
def test_a_server_that_lists_the_bucket_instead_is_set_up_as_far_as_it_goes(
    console: Console, sea: Sea, bucket: Any, code: bytes, told: bool
) -> None:
    sea.link.link.on_request = reads_past({"versioning", "encryption", "policy"}, code, told=told)

    answer = setup(console, "--json")

    assert answer.code == 1, answer
    assert steps(answer) == {
        **LOOKED_AT,
        "versioning": "not offered",
        "encryption": "not offered",
        "lifecycle": "changed",
        "cors": "changed",
        "policy": "not offered",
    }
    assert "petal-s3-stale-uploads" in rules(bucket)
    reasons = {one["reason"] for one in answer.json["steps"] if one["outcome"] == "not offered"}
    assert reasons == {
        "The server does not offer this setting (asked for it, 200 and a listing of the bucket"
        " came)."
    }
    written = {one.query.rstrip("=") for one in writes(sea)}
    assert written == {"lifecycle", "cors"}, "what cannot be read is not written either"


def test_each_step_that_is_not_offered_is_one_line(console: Console, sea: Sea, bucket: Any) -> None:
    sea.link.link.on_request = reads_past(
        {"versioning", "encryption", "lifecycle", "cors", "policy"}, b"BucketAlreadyExists"
    )

    answer = setup(console)

    assert answer.code == 1
    lines = answer.out.splitlines()
    assert len(lines) == len(STEPS)
    assert sum("The server does not offer this setting (" in line for line in lines) == 5
    assert "login" not in answer.out + answer.err
    assert writes(sea) == []


@pytest.mark.parametrize("code", [b"BucketAlreadyOwnedByYou", b"BucketAlreadyExists"])
def test_a_setting_whose_write_creates_the_bucket_again_is_not_offered(
    console: Console, sea: Sea, bucket: Any, code: bytes
) -> None:
    body = b"<Error><Code>" + code + b"</Code><Message>It is there.</Message></Error>"
    when(sea, "PUT", "lifecycle", says(status=409, body=body, headers=XML))

    answer = setup(console, "--json")

    (step,) = [one for one in answer.json["steps"] if one["name"] == "lifecycle"]
    assert (answer.code, step["outcome"]) == (1, "not offered")
    assert step["reason"] == (
        "The server does not offer this setting (PutBucketLifecycleConfiguration was answered 409"
        f" {code.decode()}: It is there.)."
    )
    assert steps(answer)["policy"] == "changed"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (says(status=404, body=b"<html><h1>Not Found</h1></html>", headers=HTML), "not offered"),
        (says(status=405, body=b"<html><p>No method</html>", headers=HTML), "not offered"),
        (says(status=404, body=b"", headers=XML), "not offered"),
        (says(status=200, body=b"", headers=XML), "not offered"),
        (says(status=200, body=b"<ListAllMyBucketsResult/>", headers=XML), "not offered"),
        (says(status=500, body=INTERNAL, headers=XML), "failed"),
        (says(status=400, body=b"", headers=XML), "failed"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_odd_answer_to_one_setting_ends_the_others(
    console: Console, sea: Sea, bucket: Any, method: str, fault: Fault, outcome: str
) -> None:
    when(sea, method, "cors", fault)

    answer = setup(console, "--json")

    said = fault.say
    assert said is not None
    told = "changed" if method == "PUT" and said.status == 200 and not said.body else outcome
    assert answer.code == (0 if told == "changed" else 1), answer
    assert steps(answer) == {**dict.fromkeys(STEPS, "changed"), **LOOKED_AT, "cors": told}
    assert "login" not in answer.out


def test_rules_that_were_all_removed_are_no_rules(console: Console, sea: Sea, bucket: Any) -> None:
    when(sea, "GET", "lifecycle", says(status=200, body=b"<LifecycleConfiguration/>", headers=XML))

    answer = setup(console, "--json")

    assert answer.code == 0, answer
    assert steps(answer)["lifecycle"] == "changed"


def test_a_page_of_another_owner_ends_it_and_nothing_is_written(
    console: Console, sea: Sea, bucket: Any
) -> None:
    page = b"<html><body>Log in to the network</body></html>"
    when(sea, "GET", "versioning", says(status=200, body=page, headers=HTML))

    answer = setup(console, "--json")

    assert (answer.code, answer.json["code"]) == (3, "not_s3")
    assert answer.json["error"] == (
        "A web page came instead of an answer of S3 (GetBucketVersioning was answered 200 without"
        " a code): the network may need a login."
    )
    assert writes(sea) == []


@pytest.mark.parametrize("setting", ["lifecycle", "cors", "policy", "encryption"])
def test_settings_are_sent_with_the_checksum_that_older_servers_ask_for(
    console: Console, sea: Sea, bucket: Any, setting: str
) -> None:
    assert setup(console).code == 0

    (sent,) = [one for one in writes(sea) if one.query.rstrip("=") == setting]
    assert re.fullmatch(r"[A-Za-z0-9+/]{22}==", sent.headers["Content-MD5"])
    assert "content-md5" in sent.headers["Authorization"]


def test_a_bucket_of_another_owner_is_one_sentence_and_nothing_is_tried(
    console: Console, sea: Sea, bucket: Any
) -> None:
    taken = b"<Error><Code>BucketAlreadyExists</Code><Message>Taken.</Message></Error>"
    bucket.delete_bucket(Bucket="logs")
    when(sea, "PUT", "", says(status=409, body=taken, headers=XML))

    answer = setup(console, "--json")

    assert answer.code == 1
    assert (answer.json["code"], answer.json["steps"]) == ("bucket_of_another", [])
    assert [one.method for one in sea.ledger.requests()] == ["HEAD", "PUT"]


def test_a_bucket_that_became_ours_meanwhile_is_fine(
    console: Console, sea: Sea, bucket: Any
) -> None:
    missing, ours = iter([404]), b"<Error><Code>BucketAlreadyOwnedByYou</Code></Error>"

    async def race(request: Request) -> Fault | None:
        if request.op == "HeadBucket":
            return says(status=next(missing), headers=XML)
        return says(status=409, body=ours, headers=XML) if request.op == "CreateBucket" else None

    sea.link.link.on_request = race
    answer = setup(console, "--json")

    assert answer.code == 0, answer
    assert steps(answer)["bucket"] == "unchanged"


def test_a_bucket_that_is_elsewhere_names_the_region(
    console: Console, sea: Sea, bucket: Any
) -> None:
    moved = says(status=301, headers={**XML, "x-amz-bucket-region": "eu-west-1"})
    when(sea, "HEAD", "", moved)

    answer = setup(console)

    assert answer.code == 2
    assert "PETAL_S3_REGION" in answer.err
    assert writes(sea) == []


def test_a_region_that_s3_itself_tells_is_named(console: Console, sea: Sea, bucket: Any) -> None:
    where = {"LocationConstraint": "eu-west-1"}
    abroad = boto3.client(
        "s3",
        endpoint_url=bucket.meta.endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    with contextlib.closing(abroad):
        abroad.create_bucket(Bucket="abroad", CreateBucketConfiguration=where)
    # Without an endpoint of ours it is AWS, whose names of regions are the ones we mean.
    console.env["AWS_ENDPOINT_URL_S3"] = console.env.pop("PETAL_S3_ENDPOINT_URL")

    answer = setup(console, PETAL_S3_BUCKET_NAME="abroad")

    assert answer.code == 2
    assert "set PETAL_S3_REGION=eu-west-1" in answer.err
    assert writes(sea) == []


def test_without_a_link_it_stops_and_says_when(console: Console, sea: Sea, bucket: Any) -> None:
    sea.link.cut()

    answer = setup(console, "--json")

    assert answer.code == 3
    assert (answer.json["code"], answer.json["steps"]) == ("offline", [])


def test_without_credentials_it_is_one_sentence(console: Console, sea: Sea, bucket: Any) -> None:
    console.env.pop("PETAL_S3_SESSION_TOKEN_URL")

    answer = setup(console, "--json")

    assert answer.code == 3
    assert answer.json["code"] == "no_credentials"
    assert sea.ledger.requests() == []


def test_the_administrators_own_credentials_come_first(
    console: Console, sea: Sea, bucket: Any
) -> None:
    setup(console, AWS_ACCESS_KEY_ID="AKIAADMIN", AWS_SECRET_ACCESS_KEY="opens-nothing")
    signed = {one.headers["Authorization"] for one in sea.ledger.requests()}
    assert signed
    assert all("Credential=AKIAADMIN/" in one for one in signed)
    sea.ledger.clear()

    setup(console)
    (first, *_) = sea.ledger.requests()
    assert "Credential=ASIADEMO" in first.headers["Authorization"]


@pytest.mark.parametrize("setting", ["lifecycle", "cors", "policy", "encryption"])
def test_an_empty_answer_is_never_taken_for_no_rules(
    console: Console, sea: Sea, bucket: Any, setting: str
) -> None:
    when(sea, "GET", setting, says(status=200))

    answer = setup(console, "--json")

    assert answer.code == 3
    assert answer.json["code"] == "not_s3"
    assert [one for one in writes(sea) if one.query.startswith(setting)] == []


def test_an_empty_yes_that_is_not_from_s3_is_not_believed(
    console: Console, sea: Sea, bucket: Any
) -> None:
    when(sea, "PUT", "versioning", says(status=200))

    answer = setup(console, "--json")

    assert answer.code == 3
    assert answer.json["code"] == "not_s3"
    assert "versioning" not in steps(answer)


def test_over_plain_http_there_is_one_warning(console: Console, sea: Sea, bucket: Any) -> None:
    answer = setup(console)
    assert answer.err.count("Warning") == 1
    assert "TLS-only" in answer.err

    bucket.delete_bucket_policy(Bucket="logs")
    answer = setup(console, "--no-tls-only")
    assert "Warning" not in answer.err
    with pytest.raises(ClientError):
        bucket.get_bucket_policy(Bucket="logs")


@pytest.mark.parametrize("machine", ["..", "a/b", "", "x" * 65, "deleted"])
def test_a_machine_id_that_is_none_is_refused(console: Console, sea: Sea, machine: str) -> None:
    answer = setup(console, "--machine", machine)

    assert answer.code == 2
    assert sea.ledger.requests() == []


# -- where permissions are enforced


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("s3:PutLifecycleConfiguration", "lifecycle"),
        ("s3:GetLifecycleConfiguration", "lifecycle"),
        ("s3:GetBucketVersioning", "versioning"),
        ("s3:PutBucketVersioning", "versioning"),
        ("s3:PutBucketCORS", "cors"),
        ("s3:GetBucketCORS", "cors"),
        ("s3:GetBucketPolicy", "policy"),
        ("s3:PutBucketPolicy", "policy"),
    ],
)
def test_a_denied_step_names_the_permission_and_the_others_go_on(
    console: Console, account: Account, action: str, step: str
) -> None:
    account.allow(allow("*"), deny(action))
    account.enforce()

    answer = setup(console, "--json")

    assert answer.code == 1
    (failed,) = [one for one in answer.json["steps"] if one["outcome"] == "failed"]
    assert failed["name"] == step
    assert failed["reason"] == f"Not permitted: these credentials need {action}."
    assert len(answer.json["steps"]) == len(STEPS)


def test_a_bucket_in_the_account_of_another_is_left_alone(
    console: Console, account: Account
) -> None:
    request = urllib.request.Request(
        f"{account.url}/theirs",
        method="PUT",
        headers={"Authorization": _SIGNED, "x-moto-account-id": "111122223333"},
    )
    urllib.request.urlopen(request, timeout=10).close()

    answer = setup(console, "--json", PETAL_S3_BUCKET_NAME="theirs")

    assert answer.code == 1
    assert (answer.json["code"], answer.json["steps"]) == ("bucket_of_another", [])


_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request, SignedHeaders=host,"
    " Signature=a"
)
