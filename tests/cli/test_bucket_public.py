"""Who may get at a bucket: public access is looked at and told, pages and old versions as asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from console import MACHINE, Answer, Console, Sea

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request

XML = {"content-type": "application/xml", "x-amz-request-id": "1"}
SWITCHES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
EVERY_SWITCH = dict.fromkeys(SWITCHES, True)
NOT_OFFERED = b"<Error><Code>NotImplemented</Code><Message>Not here.</Message></Error>"
LISTING = b"<ListBucketResult><Name>logs</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Everybody",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": ["arn:aws:s3:::logs/*"],
        }
    ],
}


@pytest.fixture
def bucket(sea: Sea, console: Console) -> Any:
    """A look at the bucket past the link."""
    console.env["AWS_EC2_METADATA_DISABLED"] = "true"
    return sea.cloud


def setup(console: Console, *words: str, **env: str) -> Answer:
    return console.type("bucket", "setup", "--json", *words, **env)


def step(answer: Answer, name: str) -> dict[str, Any]:
    (found,) = [one for one in answer.json["steps"] if one["name"] == name]
    return dict(found)


def checked(console: Console) -> dict[str, Any]:
    answer = console.type("check", "--json")
    (found,) = [one for one in answer.json["checks"] if one["check"] == "public access"]
    return {**found, "exit": answer.code}


def answers(sea: Sea, **given: Fault) -> None:
    """From now on these questions (the names of their queries) are answered so."""

    async def meet(request: Request) -> Fault | None:
        return given.get(request.query.rstrip("="))

    sea.link.link.on_request = meet


def writes(sea: Sea) -> list[str]:
    made = [one for one in sea.ledger.requests() if one.method not in {"GET", "HEAD"}]
    return [one.query.rstrip("=") for one in made]


def rules(bucket: Any) -> dict[str, Any]:
    found = bucket.get_bucket_lifecycle_configuration(Bucket="logs")["Rules"]
    return {rule["ID"]: rule for rule in found}


# -- public access


def test_a_bucket_that_setup_makes_shuts_the_public_out(
    console: Console, sea: Sea, bucket: Any
) -> None:
    bucket.delete_bucket(Bucket="logs")

    answer = setup(console)

    assert (answer.code, step(answer, "public access")["outcome"]) == (0, "changed"), answer
    told = bucket.get_public_access_block(Bucket="logs")["PublicAccessBlockConfiguration"]
    assert told == EVERY_SWITCH
    sea.ledger.clear()
    again = step(setup(console), "public access")
    assert (again["outcome"], again["code"], writes(sea)) == ("unchanged", "", [])
    assert "The public access block is on" in again["reason"]
    found = checked(console)
    assert found["state"] == "ok"
    assert found["found"].startswith("The public access block is on")


@pytest.mark.guarantee(
    "attack",
    "the bucket's policy lets the public in",
    "check and bucket setup say so and how to close it, and one that setup makes is closed",
)
@pytest.mark.threat("server")
def test_a_bucket_that_is_public_is_told_and_left_to_its_administrator(
    console: Console, sea: Sea, bucket: Any
) -> None:
    bucket.put_bucket_policy(Bucket="logs", Policy=json.dumps(PUBLIC))

    said = step(setup(console), "public access")

    assert (said["outcome"], said["code"]) == ("unchanged", "public")
    assert said["reason"].startswith(
        "S3 calls the bucket's policy public; no public access block is set. Take that out"
    )
    assert "publicAccessBlock" not in writes(sea)
    found = checked(console)
    assert (found["state"], found["exit"]) == ("warning", 0)
    assert "aws s3api put-public-access-block --bucket logs" in found["advice"]


def test_a_public_policy_behind_the_block_is_no_warning(console: Console, bucket: Any) -> None:
    bucket.put_bucket_policy(Bucket="logs", Policy=json.dumps(PUBLIC))
    bucket.put_public_access_block(
        Bucket="logs", PublicAccessBlockConfiguration={**EVERY_SWITCH, "IgnorePublicAcls": False}
    )
    found = checked(console)
    assert found["state"] == "warning"
    assert found["found"].endswith("; the public access block leaves out IgnorePublicAcls")

    bucket.put_public_access_block(Bucket="logs", PublicAccessBlockConfiguration=EVERY_SWITCH)
    assert checked(console)["state"] == "ok"


def test_a_bucket_with_neither_is_told_as_it_is(console: Console, bucket: Any) -> None:
    found = checked(console)

    assert found["state"] == "ok"
    assert found["found"] == (
        "S3 calls the bucket's policy not public; no public access block is set"
    )


@pytest.mark.parametrize(
    ("said", "open"),
    [(b"TRUE", True), (b"FALSE", False), (b"true", True), (b"perhaps", None), (b"", None)],
)
def test_the_status_is_read_as_servers_write_it(
    console: Console, sea: Sea, bucket: Any, said: bytes, open: bool | None
) -> None:
    body = b"<PolicyStatus><IsPublic>" + said + b"</IsPublic></PolicyStatus>"
    answers(sea, policyStatus=says(status=200, body=body, headers=XML))

    found = checked(console)

    assert found["state"] == ("warning" if open else "ok")
    told = {True: "policy public;", False: "policy not public;", None: "is not told (the answer"}
    assert told[open] in found["found"]


def test_a_policy_that_lets_everybody_read_counts_where_the_status_leaves_it_out(
    console: Console, sea: Sea, bucket: Any
) -> None:
    # MinIO calls public only what everybody may read and write.
    body = b"<PolicyStatus><IsPublic>FALSE</IsPublic></PolicyStatus>"
    answers(
        sea,
        policyStatus=says(status=200, body=body, headers=XML),
        policy=says(status=200, body=json.dumps(PUBLIC).encode(), headers=XML),
    )

    found = checked(console)

    assert found["state"] == "warning"
    assert found["found"].startswith("The bucket's policy allows s3:GetObject to everybody; ")


@pytest.mark.parametrize(
    ("statement", "state", "said"),
    [
        (
            {"Principal": {"AWS": ["*", "arn:aws:iam::111122223333:root"]}},
            "warning",
            "The bucket's policy allows s3:GetObject to everybody; ",
        ),
        (
            {"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}},
            "warning",
            "The bucket's policy allows s3:GetObject to everybody; ",
        ),
        (
            {"Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}},
            "ok",
            "S3 calls the bucket's policy not public; it allows s3:GetObject to everybody under a"
            " condition that was not judged; ",
        ),
    ],
)
@pytest.mark.threat(
    "server",
    "the bucket's policy lets everybody in by another spelling, or under a condition",
    "check says so; a condition that it does not understand is named as one that was not judged",
)
def test_everybody_by_another_spelling_counts_and_a_condition_is_told(
    console: Console, sea: Sea, bucket: Any, statement: dict[str, Any], state: str, said: str
) -> None:
    body = b"<PolicyStatus><IsPublic>FALSE</IsPublic></PolicyStatus>"
    policy = {**PUBLIC, "Statement": [{**PUBLIC["Statement"][0], **statement}]}  # type: ignore[dict-item]
    answers(
        sea,
        policyStatus=says(status=200, body=body, headers=XML),
        policy=says(status=200, body=json.dumps(policy).encode(), headers=XML),
    )

    found = checked(console)

    assert (found["state"], found["found"][: len(said)]) == (state, said)


@pytest.mark.parametrize(
    "fault",
    [
        says(status=501, body=NOT_OFFERED, headers=XML),
        says(status=200, body=LISTING, headers=XML),
        says(status=404, body=b"<html><h1>Not Found</h1></html>", headers={}),
    ],
)
def test_a_server_that_knows_neither_question_is_told_so_and_nothing_is_guessed(
    console: Console, sea: Sea, bucket: Any, fault: Fault
) -> None:
    answers(sea, policyStatus=fault, publicAccessBlock=fault)

    answer = setup(console)

    said = step(answer, "public access")
    assert (answer.code, said["outcome"], said["code"]) == (0, "unchanged", "not_offered"), answer
    assert said["reason"].count("The server") == 1
    assert said["reason"].startswith(
        "The server offers neither a policy's status nor a public access block ("
    )
    found = checked(console)
    assert (found["state"], found["exit"]) == ("skipped", 0)
    assert found["found"].startswith("The server offers neither")


def test_a_new_bucket_of_a_server_without_the_block_gets_all_the_rest(
    console: Console, sea: Sea, bucket: Any
) -> None:
    bucket.delete_bucket(Bucket="logs")
    answers(sea, publicAccessBlock=says(status=200, body=LISTING, headers=XML))

    answer = setup(console)

    assert step(answer, "public access")["outcome"] == "not offered"
    assert step(answer, "lifecycle")["outcome"] == "changed"
    assert "publicAccessBlock" not in writes(sea)


def test_a_machine_that_may_not_ask_is_no_trouble(console: Console, sea: Sea, bucket: Any) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
    no = says(status=403, body=denied, headers=XML)
    answers(sea, policyStatus=no, publicAccessBlock=no)

    found = checked(console)

    assert (found["state"], found["exit"]) == ("skipped", 0), found
    assert "lack s3:GetBucketPolicyStatus" in found["found"]
    assert "lack s3:GetBucketPublicAccessBlock" in found["found"]


# -- pages


def test_without_a_named_origin_no_page_is_let_in(console: Console, sea: Sea, bucket: Any) -> None:
    answer = setup(console)

    said = step(answer, "cors")
    assert (answer.code, said["outcome"]) == (0, "unchanged")
    assert "--origin" in said["reason"]
    with pytest.raises(ClientError):
        bucket.get_bucket_cors(Bucket="logs")
    assert "cors" not in writes(sea)


def test_every_page_that_an_earlier_setup_has_let_in_is_told(console: Console, bucket: Any) -> None:
    setup(console, "--origin", "*")

    said = step(setup(console), "cors")

    assert said["outcome"] == "unchanged"
    assert "Every page may use presigned URLs (*)" in said["reason"]


# -- old versions


def test_old_versions_are_erased_only_where_that_was_asked_for(
    console: Console, sea: Sea, bucket: Any
) -> None:
    setup(console)
    assert set(rules(bucket)) == {"petal-s3-stale-uploads", f"petal-s3-tmp-{MACHINE}"}

    answer = setup(console, "--expire-versions", "30")

    assert (answer.code, step(answer, "lifecycle")["outcome"]) == (0, "changed"), answer
    rule = rules(bucket)["petal-s3-versions"]
    assert rule["Status"] == "Enabled"
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rule["Filter"] == rules(bucket)["petal-s3-stale-uploads"]["Filter"]
    assert "Expiration" not in rule  # what stands at a key stays
    sea.ledger.clear()
    assert step(setup(console), "lifecycle")["outcome"] == "unchanged"  # it stays without the word
    assert writes(sea) == []


def test_the_erasing_of_old_versions_is_taken_back_alone(
    console: Console, sea: Sea, bucket: Any
) -> None:
    setup(console, "--expire-versions", "30")

    answer = setup(console, "--remove", "expire-versions")

    assert (answer.code, step(answer, "versions")["outcome"]) == (0, "changed"), answer
    assert set(rules(bucket)) == {"petal-s3-stale-uploads", f"petal-s3-tmp-{MACHINE}"}
    sea.ledger.clear()
    again = step(setup(console, "--remove", "expire-versions"), "versions")
    assert (again["outcome"], writes(sea)) == ("unchanged", [])

    setup(console, "--expire-versions", "30")
    setup(console, "--remove", "lifecycle")  # every rule of ours
    with pytest.raises(ClientError):
        rules(bucket)


@pytest.mark.parametrize(
    "words", [("--expire-versions", "0"), ("--expire-versions", "9", "--remove", "cors")]
)
def test_what_makes_no_sense_is_refused_before_a_request(
    console: Console, sea: Sea, words: tuple[str, ...]
) -> None:
    assert setup(console, *words).code == 2
    assert sea.ledger.requests() == []
