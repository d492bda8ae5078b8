"""What is optional in a request is named, left out alone or together, and never the encryption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest
from test_refusals import answered

from petal_s3.errors import NotS3, S3IntegrationError, Told, Transient
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.error_mapping import translate
from petal_s3.s3.options import (
    OPTIONS,
    carried,
    is_vague,
    may_be_refusal,
    spoken,
    to_drop,
    without,
)

BODY = {"Key": "k", "Body": b"0", "ContentLength": 1}
PUT = {**BODY, "ChecksumCRC32": "AAAAAA==", "IfNoneMatch": "*", "ServerSideEncryption": "AES256"}
COMPLETE: Mapping[str, Any] = {
    "Key": "k",
    "UploadId": "u",
    "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"e"', "ChecksumCRC32": "AAAAAA=="}]},
    "ChecksumCRC32": "AAAAAA==",
    "ChecksumType": "FULL_OBJECT",
    "MpuObjectSize": 1,
    "IfNoneMatch": "*",
}


# -- which options a request carries


def test_every_option_is_a_feature_and_every_request_can_do_without_it() -> None:
    for operation, options in OPTIONS.items():
        assert set(options) <= set(get_args(Feature))
        for feature, names in options.items():
            asked = {**dict.fromkeys(names, "x"), "Key": "k"}
            assert carried(operation, asked) == (feature,)
            assert without(operation, asked, feature) == {"Key": "k"}


def test_a_request_asks_for_the_features_whose_parameters_it_carries() -> None:
    assert carried("put_object", PUT) == ("body_checksums", "put_condition", "encryption")
    assert carried("put_object", BODY) == ()
    assert carried("upload_part", PUT) == ("body_checksums",)
    assert carried("list_parts", PUT) == ()


def test_a_sentence_names_the_headers_that_a_request_carries() -> None:
    assert spoken(PUT) == (
        "x-amz-checksum-crc32 and If-None-Match and x-amz-server-side-encryption"
    )
    assert spoken({"Key": "k", "ChecksumMode": "ENABLED"}) == "x-amz-checksum-mode"
    assert spoken(BODY) == ""


def test_a_sentence_names_no_value_of_a_header() -> None:
    assert "kms-key" not in spoken({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "kms-key"})


# -- leaving options out


def test_an_option_that_is_left_out_takes_nothing_else_along() -> None:
    left = without("put_object", PUT, "put_condition")
    assert left == {name: value for name, value in PUT.items() if name != "IfNoneMatch"}
    assert "IfNoneMatch" in PUT
    assert without("put_object", PUT) == PUT
    assert without("list_parts", PUT, "put_condition") == PUT


def test_a_checksum_of_the_whole_is_left_out_with_those_of_its_parts() -> None:
    left = without("complete_multipart_upload", COMPLETE, "full_checksums")
    assert left == {
        "Key": "k",
        "UploadId": "u",
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"e"'}]},
        "IfNoneMatch": "*",
    }
    assert COMPLETE["MultipartUpload"]["Parts"][0]["ChecksumCRC32"] == "AAAAAA=="
    kept = without("complete_multipart_upload", COMPLETE, "complete_condition")
    assert kept["MultipartUpload"] == COMPLETE["MultipartUpload"]


def test_each_option_is_left_out_by_itself_and_then_all_of_them() -> None:
    assert list(to_drop("complete_multipart_upload", COMPLETE)) == [
        ("full_checksums",),
        ("complete_condition",),
        ("full_checksums", "complete_condition"),
    ]
    assert list(to_drop("upload_part", PUT)) == [("body_checksums",)]
    assert list(to_drop("upload_part", BODY)) == []


def test_the_encryption_is_never_left_out() -> None:
    for operation in OPTIONS:
        for features in to_drop(operation, PUT):
            assert "encryption" not in features
            assert "ServerSideEncryption" in without(operation, PUT, *features)
    only = {**BODY, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}
    assert list(to_drop("put_object", only)) == []


# -- whether an answer may be the refusal of an option


def error(code: str, status: int, operation: str = "PutObject", **headers: str) -> Any:
    answer = answered(code, status, operation=operation, **headers)
    return translate(answer, peer=("s3.example", 443))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InvalidArgument", 400),
        ("InvalidRequest", 400),
        ("SomethingNew", 400),
        ("400", 400),
        ("BadDigest", 400),
        ("PreconditionFailed", 412),
        ("AccessDenied", 403),
        ("403", 403),
        ("NotImplemented", 501),
        ("MethodNotAllowed", 405),
        ("InternalError", 500),
        ("502", 502),
        ("InvalidEncryptionAlgorithmError", 400),
        ("503", 503),
    ],
)
def test_such_an_answer_may_mean_an_option(code: str, status: int) -> None:
    assert may_be_refusal(error(code, status))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ExpiredToken", 400),
        ("InvalidAccessKeyId", 403),
        ("SignatureDoesNotMatch", 403),
        ("NoSuchBucket", 404),
        ("PermanentRedirect", 301),
        ("QuotaExceeded", 403),
        ("InsufficientStorage", 507),
        ("SecondLevelDomainForbidden", 403),
        ("NoSuchKey", 404),
        ("404", 404),
        ("NoSuchUpload", 404),
        ("InvalidPart", 400),
        ("SlowDown", 503),
        ("ServiceUnavailable", 503),
        ("429", 429),
        ("SlowDown", 400),
        ("401", 401),
        ("407", 407),
        ("511", 511),
        ("504", 504),
    ],
)
def test_such_an_answer_speaks_of_something_else(code: str, status: int) -> None:
    assert not may_be_refusal(error(code, status))


@pytest.mark.parametrize(("status", "may"), [(400, True), (403, True), (501, True), (500, False)])
def test_an_answer_without_a_code_may_be_one_where_servers_refuse_so(
    status: int, may: bool
) -> None:
    found = error("", status, content_type="application/xml")
    assert isinstance(found, NotS3)
    assert may_be_refusal(found) is may


def test_what_was_not_answered_refuses_nothing() -> None:
    for found in (Transient("It stalled."), translate(ConnectionResetError(), peer=None)):
        assert not may_be_refusal(found)
        assert is_vague(found)


@pytest.mark.parametrize("status", range(400, 512))
def test_an_answer_that_comes_from_a_server_in_trouble_too_is_vague(status: int) -> None:
    found = S3IntegrationError("It came.")
    found.told = Told("PutObject", status)
    assert is_vague(found) is (status in {403, 500, 502, 503})
