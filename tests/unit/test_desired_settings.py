"""What a bucket's settings shall be: what is fine stays, what others set stays, ours comes once."""

from __future__ import annotations

from typing import Any

import pytest

from petal_s3.admin import desired_settings
from petal_s3.admin import iam_policy as policy
from petal_s3.errors import Refused

THEIRS = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "a/"},
    "Expiration": {"Days": 9},
}
TMP = desired_settings.tmp_rule("flight_logs/", "m-1")
ABORTS = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}}
MARKERS = {"Expiration": {"ExpiredObjectDeleteMarker": True}}
TLS = policy.tls_only("logs", "us-east-1")


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, **more}


def ids(lifecycle: dict[str, Any]) -> list[str]:
    return [one["ID"] for one in lifecycle["Rules"]]


# -- lifecycle


def test_our_rules_are_added_once_and_others_stay() -> None:
    once = desired_settings.ruled({"Rules": [THEIRS]}, [TMP])

    assert once["Rules"] == [THEIRS, desired_settings.stale_rule(), TMP]
    assert desired_settings.ruled(once, [TMP]) == once
    assert desired_settings.differences(once, desired_settings.ruled(once, [TMP])) == []


@pytest.mark.parametrize(
    "written",
    [
        {"Filter": {}},
        {"Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {}},
    ],
)
def test_a_rule_that_the_server_writes_otherwise_is_the_same(written: dict[str, Any]) -> None:
    told = {"Rules": [{**desired_settings.stale_rule(), **written}, TMP]}

    assert desired_settings.ruled(told, [TMP]) == told


def test_rules_of_others_that_collect_everything_are_enough() -> None:
    theirs = {"Rules": [rule("a", **ABORTS), rule("b", **MARKERS)]}

    assert desired_settings.ruled(theirs, []) == theirs


@pytest.mark.parametrize(
    "short",
    [
        [rule("a", **ABORTS)],
        [rule("b", **MARKERS)],
        [rule("a", **ABORTS), {**rule("b", **MARKERS), "Status": "Disabled"}],
        [rule("a", **ABORTS), {**rule("b", **MARKERS), "Filter": {"Prefix": "x/"}}],
        [{**rule("a", **ABORTS), "Filter": {"Prefix": "x/"}}, rule("b", **MARKERS)],
        [rule("a", **ABORTS), {**rule("b", **MARKERS), "Filter": {"Tag": {"Key": "k"}}}],
        [],
    ],
)
def test_rules_of_others_that_fall_short_get_ours_beside_them(short: list[Any]) -> None:
    found = desired_settings.ruled({"Rules": short}, [])

    assert found["Rules"] == [*short, desired_settings.stale_rule()]


def test_a_rule_of_ours_that_was_changed_is_put_back_in_its_place() -> None:
    changed = {**TMP, "Status": "Disabled"}

    found = desired_settings.ruled(
        {"Rules": [desired_settings.stale_rule(), changed, THEIRS]}, [TMP]
    )

    assert found["Rules"] == [desired_settings.stale_rule(), TMP, THEIRS]


def test_a_prefix_in_the_old_way_becomes_a_filter_when_something_is_written() -> None:
    old = {"ID": "old", "Status": "Enabled", "Prefix": "a/", "Expiration": {"Days": 9}}

    found = desired_settings.ruled({"Rules": [old]}, [])

    assert found["Rules"][0] == {**THEIRS, "ID": "old"}


def test_what_is_said_beside_the_rules_stays() -> None:
    more = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}

    found = desired_settings.ruled({"Rules": [THEIRS], **more}, [TMP])

    assert found["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"


def test_more_rules_than_s3_takes_are_refused_before_anything_is_written() -> None:
    fits = [
        desired_settings.tmp_rule("", f"m-{number}")
        for number in range(desired_settings.MOST_RULES - 1)
    ]

    assert len(desired_settings.ruled(None, fits)["Rules"]) == desired_settings.MOST_RULES
    with pytest.raises(Refused, match="1000"):
        desired_settings.ruled({"Rules": [THEIRS]}, fits)


def test_a_machine_is_told_from_one_whose_id_begins_alike() -> None:
    assert desired_settings.tmp_rule("p/", "m-1")["Filter"]["Prefix"] == "p/m-1/tmp/"


# -- encryption


def default(algorithm: str, key: str = "", **more: Any) -> list[dict[str, Any]]:
    named = {"KMSMasterKeyID": key} if key else {}
    return [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm, **named}, **more}]


KEYED = {"BucketKeyEnabled": True}


@pytest.mark.parametrize(
    ("now", "sse"),
    [
        (default("AES256"), "AES256"),
        (default("AES256", BucketKeyEnabled=False), "AES256"),
        (default("aws:kms", "k", **KEYED), "aws:kms:k"),
        (default("aws:kms", "k", **KEYED), "aws:kms"),  # which key is left open
        (default("aws:kms", "k"), "none"),
    ],
)
def test_an_encryption_that_is_fine_stays(now: list[Any], sse: str) -> None:
    assert desired_settings.encrypted(now, sse) == now


@pytest.mark.parametrize(
    ("now", "sse", "wanted"),
    [
        (None, "AES256", default("AES256")),
        (None, "aws:kms", default("aws:kms", **KEYED)),
        (default("AES256", **KEYED), "aws:kms:k", default("aws:kms", "k", **KEYED)),
        (default("aws:kms", "k"), "aws:kms", default("aws:kms", "k", **KEYED)),
        (default("aws:kms", "k", **KEYED), "aws:kms:l", default("aws:kms", "l", **KEYED)),
        (default("aws:kms", "k", **KEYED), "AES256", default("AES256")),
        (default("AES256", Blocked=1), "aws:kms:k", default("aws:kms", "k", Blocked=1, **KEYED)),
    ],
)
def test_another_encryption_is_set(now: Any, sse: str, wanted: list[Any]) -> None:
    assert desired_settings.encrypted(now, sse) == wanted
    assert desired_settings.encrypted(wanted, sse) == wanted


# -- pages, logs, differences


def test_pages_are_set_once_and_kept_when_none_are_named() -> None:
    page = {"ID": "page", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://a"]}
    once = desired_settings.for_browsers([page], ["https://b", "https://c"]) or []

    assert [one["ID"] for one in once] == ["page", desired_settings.BROWSER]
    assert desired_settings.for_browsers(once, []) == once
    told = [page, {**once[1], "AllowedOrigins": ["https://c", "https://b"]}]
    assert desired_settings.for_browsers(told, ["https://b", "https://c"]) == told
    every = desired_settings.for_browsers(once, ["*"]) or []
    assert every[1]["AllowedOrigins"] == ["*"]
    assert desired_settings.for_browsers([page], []) == [page]
    assert desired_settings.for_browsers(None, []) is None


def test_access_logs_keep_how_they_are_written_only_in_the_same_bucket() -> None:
    now = {"TargetBucket": "a", "TargetPrefix": "x/", "TargetObjectKeyFormat": {"SimplePrefix": {}}}

    assert desired_settings.logged(now, "a", "x/") == now
    assert desired_settings.logged(now, "a", "y/") == {**now, "TargetPrefix": "y/"}
    assert desired_settings.logged(now, "b", "") == {"TargetBucket": "b", "TargetPrefix": ""}


def test_a_difference_is_one_line_for_each_part() -> None:
    assert desired_settings.differences(None, "Enabled") == ["never set -> Enabled"]
    now = desired_settings.ruled(None, [])
    (line,) = desired_settings.differences(now, desired_settings.ruled(now, [TMP]))
    assert line.startswith("adds petal-s3-tmp-m-1: ")


# -- statements of a bucket's policy


def test_a_statement_is_added_once_and_others_stay() -> None:
    theirs = {"Sid": "Theirs", "Effect": "Deny"}
    once = policy.with_statement({"Version": "2008-10-17", "Statement": theirs}, TLS)

    assert once == {"Version": "2008-10-17", "Statement": [theirs, TLS]}
    assert policy.with_statement(once, TLS) == once


def test_a_statement_that_means_the_same_is_enough() -> None:
    same = {
        **TLS,
        "Sid": "Theirs",
        "Principal": {"AWS": "*"},
        "Action": ["s3:*"],
        "Resource": list(reversed(TLS["Resource"])),
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
    }
    told = {"Version": "2012-10-17", "Statement": [same]}

    assert policy.with_statement(told, TLS) == told
    weaker = {**told, "Statement": [{**same, "Resource": TLS["Resource"][:1]}]}
    assert policy.with_statement(weaker, TLS)["Statement"] == [*weaker["Statement"], TLS]


def test_a_statement_of_ours_that_was_changed_is_put_back_in_its_place() -> None:
    told = {"Version": "2012-10-17", "Statement": [{**TLS, "Effect": "Allow"}, {"Sid": "x"}]}

    assert policy.with_statement(told, TLS)["Statement"] == [TLS, {"Sid": "x"}]


def test_two_buckets_that_log_into_one_have_statements_of_their_own() -> None:
    one, other = (policy.takes_access_logs("t", "", name, "us-east-1") for name in ("a-b", "ab"))

    assert one["Sid"] != other["Sid"]
    assert one["Sid"].isalnum()


@pytest.mark.parametrize(
    ("region", "part"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_an_arn_begins_as_its_part_of_the_world_wants(region: str, part: str) -> None:
    assert policy.tls_only("logs", region)["Resource"][0] == f"arn:{part}:s3:::logs"
