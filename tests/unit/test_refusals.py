"""Whatever S3, the network or a library says has one meaning here, and unknown means: wait."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from petal_s3.errors import (
    BadInput,
    ClockSkew,
    Conflict,
    LocalStorageError,
    Mismatch,
    NotS3,
    Offline,
    Refused,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceAway,
    SourceChanged,
    Throttled,
    Told,
    Transient,
    UploadGone,
)
from petal_s3.s3.error_codes import TABLE
from petal_s3.s3.error_mapping import translate
from petal_s3.s3.http_session import UnexpectedRedirect

PEER = ("s3.example", 443)
Meaning = tuple[type[S3IntegrationError], str]

EXPIRED: Meaning = (S3CredentialsError, "credentials_expired")
KEYS: Meaning = (S3CredentialsError, "credentials_refused")
CLOCK: Meaning = (ClockSkew, "clock")
FORBIDDEN: Meaning = (S3BucketError, "forbidden")
BUCKET: Meaning = (S3BucketError, "bucket")
NOT_OFFERED: Meaning = (S3BucketError, "not_implemented")
ENCRYPTION: Meaning = (S3BucketError, "encryption")
ADDRESS: Meaning = (S3BucketError, "address_style")
FULL: Meaning = (S3BucketError, "bucket_full")
SLOW: Meaning = (Throttled, "throttled")
GONE: Meaning = (UploadGone, "upload_gone")
DIGEST: Meaning = (Mismatch, "digest_refused")
TAKEN: Meaning = (Conflict, "key_taken")
MISSING: Meaning = (S3FileNotFoundError, "not_found")
NOT_SET: Meaning = (S3FileNotFoundError, "not_set")
OF_ANOTHER: Meaning = (Conflict, "bucket_of_another")
YOURS: Meaning = (Conflict, "bucket_is_yours")
OUTSIDE: Meaning = (BadInput, "no_such_range")
REFUSED: Meaning = (Refused, "s3_refused")
ARCHIVED: Meaning = (Refused, "archived")
UNKNOWN_REFUSAL: Meaning = (Transient, "s3_refused")
UNWELL: Meaning = (Transient, "s3_unwell")
NOT_S3: Meaning = (NotS3, "not_s3")
TLS: Meaning = (NotS3, "tls")
TLS_DATES: Meaning = (ClockSkew, "tls_dates")
INTERNAL: Meaning = (Transient, "internal")
OFFLINE: Meaning = (Offline, "offline")
NO_FILES: Meaning = (LocalStorageError, "too_many_files")

# Whether every row waits, and whether waiting helps.
CONSEQUENCES: dict[type[S3IntegrationError], tuple[bool, bool]] = {
    S3CredentialsError: (True, True),
    ClockSkew: (True, True),
    S3BucketError: (True, True),
    Throttled: (True, True),
    Offline: (True, True),
    NotS3: (True, True),
    UploadGone: (False, True),
    LocalStorageError: (True, True),
    Mismatch: (False, True),
    Transient: (False, True),
    SourceAway: (False, True),
    SourceChanged: (False, True),
    Conflict: (False, False),
    S3FileNotFoundError: (False, False),
    Refused: (False, False),
    BadInput: (False, False),
}

CODES: list[tuple[str, int, Meaning]] = [
    # not accepted any more: new credentials at once
    ("ExpiredToken", 400, EXPIRED),
    ("ExpiredToken", 403, EXPIRED),
    ("ExpiredTokenException", 400, EXPIRED),
    ("TokenRefreshRequired", 400, EXPIRED),
    ("InvalidToken", 400, EXPIRED),
    ("RequestExpired", 400, EXPIRED),
    # not accepted: whether new ones help is known after they were tried
    ("InvalidAccessKeyId", 403, KEYS),
    ("InvalidClientTokenId", 403, KEYS),
    ("SignatureDoesNotMatch", 403, KEYS),
    # the time in the signature
    ("RequestTimeTooSkewed", 403, CLOCK),
    ("RequestInTheFuture", 403, CLOCK),
    # a person has to give a permission
    ("AccessDenied", 403, FORBIDDEN),
    ("AllAccessDisabled", 403, FORBIDDEN),
    ("AccountProblem", 403, FORBIDDEN),
    ("InvalidSecurity", 403, FORBIDDEN),
    ("NotSignedUp", 403, FORBIDDEN),
    ("KMS.AccessDeniedException", 403, FORBIDDEN),
    # a person has to correct a setting
    ("NoSuchBucket", 404, BUCKET),
    ("InvalidBucketName", 400, BUCKET),
    ("PermanentRedirect", 301, BUCKET),
    ("TemporaryRedirect", 307, BUCKET),
    ("IllegalLocationConstraintException", 400, BUCKET),
    ("InvalidLocationConstraint", 400, BUCKET),
    ("AuthorizationHeaderMalformed", 400, BUCKET),
    ("InvalidBucketState", 409, BUCKET),
    ("SecondLevelDomainForbidden", 403, ADDRESS),
    ("PathStyleDomainForbidden", 403, ADDRESS),
    ("PathStyleRequestNotAllowed", 403, ADDRESS),
    ("InvalidEncryptionAlgorithmError", 400, ENCRYPTION),
    ("KMSNotConfigured", 501, ENCRYPTION),
    ("KMS.DisabledException", 400, ENCRYPTION),
    ("KMS.NotFoundException", 400, ENCRYPTION),
    # the server has no such thing
    ("NotImplemented", 501, NOT_OFFERED),
    ("MethodNotAllowed", 405, NOT_OFFERED),
    # no room
    ("QuotaExceeded", 403, FULL),
    ("InsufficientStorage", 507, FULL),
    ("XMinioStorageFull", 507, FULL),
    ("ServiceQuotaExceeded", 402, FULL),
    ("ServiceQuotaExceededException", 402, FULL),
    # slow down
    ("SlowDown", 503, SLOW),
    ("SlowDown", 429, SLOW),
    ("SlowDown", 500, SLOW),  # inside the 200 of a Complete
    ("ServiceUnavailable", 503, SLOW),
    ("RequestLimitExceeded", 503, SLOW),
    ("Throttling", 400, SLOW),
    ("ThrottlingException", 400, SLOW),
    ("TooManyRequests", 429, SLOW),
    ("TooManyRequestsException", 429, SLOW),
    ("BandwidthLimitExceeded", 503, SLOW),
    ("RequestThrottled", 400, SLOW),
    ("AnythingNew", 429, SLOW),
    ("AnythingNew", 503, SLOW),
    # soon again
    ("InternalError", 500, UNWELL),
    ("InternalError", 200, UNWELL),
    ("RequestTimeout", 400, UNWELL),
    ("IncompleteBody", 400, UNWELL),
    ("OperationAborted", 409, UNWELL),
    ("ConditionalRequestConflict", 409, UNWELL),
    ("500", 500, UNWELL),
    ("502", 502, UNWELL),
    ("504", 504, UNWELL),
    # a checksum that S3 does not agree with: nobody saw what came of the bytes
    ("BadDigest", 400, DIGEST),
    ("XAmzContentSHA256Mismatch", 400, DIGEST),
    ("InvalidDigest", 400, DIGEST),
    ("XAmzContentChecksumMismatch", 400, DIGEST),
    # the multipart upload
    ("NoSuchUpload", 404, GONE),
    ("NoSuchUpload", 400, GONE),
    ("InvalidPart", 400, GONE),
    ("InvalidPartOrder", 400, GONE),
    ("EntityTooSmall", 400, GONE),
    # the key
    ("PreconditionFailed", 412, TAKEN),
    ("412", 412, TAKEN),
    ("InvalidRange", 416, OUTSIDE),
    ("NoSuchKey", 404, MISSING),
    ("NoSuchVersion", 404, MISSING),
    ("404", 404, MISSING),
    ("InvalidObjectState", 403, ARCHIVED),
    ("NoSuchLifecycleConfiguration", 404, (S3FileNotFoundError, "no_lifecycle")),
    # the settings of a bucket
    ("NoSuchBucketPolicy", 404, NOT_SET),
    ("NoSuchCORSConfiguration", 404, NOT_SET),
    ("ServerSideEncryptionConfigurationNotFoundError", 404, NOT_SET),
    ("NoSuchPublicAccessBlockConfiguration", 404, NOT_SET),
    ("BucketAlreadyExists", 409, OF_ANOTHER),
    ("BucketAlreadyOwnedByYou", 409, YOURS),
    ("MalformedPolicy", 400, REFUSED),
    ("InvalidTargetBucketForLogging", 400, REFUSED),
    ("CrossLocationLoggingProhibited", 403, REFUSED),
    ("TooManyBuckets", 400, REFUSED),
    # the request itself
    ("EntityTooLarge", 400, REFUSED),
    ("KeyTooLongError", 400, REFUSED),
    ("MetadataTooLarge", 400, REFUSED),
    ("InvalidArgument", 400, REFUSED),
    ("InvalidRequest", 400, REFUSED),
    ("MalformedXML", 400, REFUSED),
    ("UnsupportedHeader", 400, REFUSED),
    # only a status
    ("301", 301, BUCKET),
    ("401", 401, FORBIDDEN),
    ("403", 403, FORBIDDEN),
    ("405", 405, NOT_OFFERED),
    ("407", 407, NOT_S3),
    ("429", 429, SLOW),
    ("501", 501, NOT_OFFERED),
    ("503", 503, SLOW),
    ("507", 507, FULL),
    ("511", 511, NOT_S3),
    # what nobody has heard of
    ("SomethingNew", 400, UNKNOWN_REFUSAL),
    ("SomethingNew", 409, UNWELL),
    ("SomethingNew", 418, UNWELL),
    ("SomethingNew", 500, UNWELL),
    ("SomethingNew", 0, UNWELL),
    ("599", 599, UNWELL),
]

SAID = "what the server says"
# They name an upload: where it is gone, some servers say that the key is (Ceph), or nothing.
OF_AN_UPLOAD = ["UploadPart", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"]
OF_A_KEY = ["PutObject", "CreateMultipartUpload", "GetObject", "CopyObject", "DeleteObject"]


def answered(
    code: str,
    status: int,
    *,
    message: str = SAID,
    operation: str = "PutObject",
    **headers: str,
) -> boto.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {
            "HTTPStatusCode": status,
            "HTTPHeaders": {name.replace("_", "-"): value for name, value in headers.items()},
        },
    }
    return boto.ClientError(response, operation)


def check(error: BaseException, meaning: Meaning) -> S3IntegrationError:
    translated = translate(error, peer=PEER)
    assert (type(translated), translated.code) == meaning
    blocks_drain, waiting_helps = CONSEQUENCES[type(translated)]
    assert (translated.blocks_drain, translated.waiting_helps) == (blocks_drain, waiting_helps)
    sentence = translated.message
    assert sentence.strip()
    assert not set("{}\n") & set(sentence)
    return translated


@pytest.mark.parametrize(("code", "status", "meaning"), CODES)
def test_every_answer_of_s3_has_one_meaning(code: str, status: int, meaning: Meaning) -> None:
    translated = check(answered(code, status), meaning)
    assert came(code, status) in translated.message or meaning == MISSING


def came(code: str, status: int) -> str:
    """How a sentence quotes what was asked and what came."""
    quoted = "without a code" if code == str(status) else f"{code}: {SAID}"
    return f"PutObject was answered {status} {quoted}"


def test_every_code_of_the_table_is_in_this_one() -> None:
    assert set(TABLE) <= {code for code, _, _ in CODES}


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", "HeadObject"])
@pytest.mark.parametrize("status", [*range(300, 600), 0])
@pytest.mark.guarantee(
    "refusals", "a code that nobody has heard of, with any status", "it waits, for ever if need be"
)
def test_an_unknown_code_with_any_status_is_never_the_end_of_a_row(
    status: int, operation: str
) -> None:
    translated = translate(answered("SomethingNew", status, operation=operation), peer=PEER)
    if status == 412 or (status == 404 and operation != "UploadPart"):
        # the object, the key: the uploader decides
        assert isinstance(translated, S3FileNotFoundError | Conflict)
    else:
        assert translated.waiting_helps


@pytest.mark.parametrize("operation", [*OF_A_KEY, *OF_AN_UPLOAD])
def test_a_code_means_the_same_in_every_operation(operation: str) -> None:
    for code, status, meaning in CODES:
        if status == 404 and operation in OF_AN_UPLOAD and code != "NoSuchBucket":
            continue  # below
        check(answered(code, status, operation=operation), meaning)


@pytest.mark.parametrize("operation", OF_AN_UPLOAD)
@pytest.mark.parametrize("code", ["NoSuchUpload", "NoSuchKey", "SomethingNew", "404"])
@pytest.mark.guarantee(
    "refusals",
    "a server calls the key of a multipart upload missing where the upload is gone",
    "taken for a gone upload, which begins anew",
)
def test_a_404_to_what_names_an_upload_is_about_the_upload(operation: str, code: str) -> None:
    told = check(answered(code, 404, operation=operation), GONE).message
    assert f"{operation} was answered 404" in told


@pytest.mark.parametrize("operation", OF_AN_UPLOAD)
def test_a_missing_bucket_is_no_gone_upload(operation: str) -> None:
    check(answered("NoSuchBucket", 404, operation=operation), BUCKET)


@pytest.mark.parametrize("operation", OF_AN_UPLOAD)
def test_a_web_page_is_no_gone_upload(operation: str) -> None:
    """Confirmed parts are not given up because a portal has no such page."""
    for code in ("", "404"):
        page = answered(code, 404, operation=operation, content_type="text/html")
        check(page, NOT_S3)
    check(answered("", 404, operation=operation, content_type="application/xml"), NOT_S3)


def test_a_server_that_lists_no_uploads_and_says_so_by_a_404_has_none() -> None:
    check(
        answered("NoSuchUpload", 404, operation="ListMultipartUploads"),
        (S3FileNotFoundError, "no_uploads"),
    )


# What each word of blame needs to be said: nothing else may say it.
BLAME: dict[str, set[Meaning]] = {
    "damaged": set(),
    "other bytes": set(),
    "expired": set(),
    "not from S3": set(),
    "somebody": set(),
    "login": {NOT_S3},
    "credentials": {EXPIRED},
    "access key": {KEYS},
    "permission": {FORBIDDEN},
    "PETAL_S3_SSE": {ENCRYPTION},
    "PETAL_S3_ADDRESS_STYLE": {ADDRESS},
    "PETAL_S3_BUCKET_NAME": {BUCKET, OF_ANOTHER},
}


@pytest.mark.parametrize("operation", [*OF_A_KEY, *OF_AN_UPLOAD, "HeadObject"])
def test_nothing_is_blamed_that_the_answer_does_not_say(operation: str) -> None:
    for code, status, _ in CODES:
        translated = translate(answered(code, status, operation=operation), peer=PEER)
        meaning = (type(translated), translated.code)
        for word, allowed in BLAME.items():
            assert word not in translated.message or meaning in allowed, (code, status)
        if code in {"401", "403"}:  # it does not say why
            assert "permission" not in translated.message


@pytest.mark.parametrize("code", ["403", "SomethingNew"])
def test_a_refusal_that_does_not_say_why_blames_no_permission(code: str) -> None:
    told = check(answered(code, 403), FORBIDDEN).message
    assert told == f"S3 refuses this request ({came(code, 403)})."


def test_a_sentence_names_the_options_that_the_request_carried() -> None:
    error = answered("InvalidRequest", 400, operation="UploadPart")
    translated = translate(error, peer=PEER, options="x-amz-checksum-crc32")
    assert translated.message == (
        "S3 refuses this request (UploadPart with x-amz-checksum-crc32 was answered 400"
        f" InvalidRequest: {SAID})."
    )
    assert translated.told == Told(
        "UploadPart with x-amz-checksum-crc32", 400, "InvalidRequest", SAID
    )


def test_an_unknown_refusal_shows_the_words_of_the_server() -> None:
    """Only they say what a person may do: moto wants x-amz-sdk-checksum-algorithm."""
    for status in (400, 409, 418, 500):
        translated = translate(answered("SomethingNew", status), peer=PEER)
        assert f"{status} SomethingNew: {SAID}" in translated.message


# -- what the code alone does not tell


@pytest.mark.parametrize(
    ("code", "message", "meaning"),
    [
        ("SignatureDoesNotMatch", "The request signature we calculated does not match", KEYS),
        ("SignatureDoesNotMatch", "Signature expired: 19700101 is now earlier", CLOCK),
        ("SignatureDoesNotMatch", "Signature not yet current: 2099", CLOCK),
        ("AuthorizationHeaderMalformed", "the region 'eu' is wrong; expecting 'us'", BUCKET),
        ("AuthorizationHeaderMalformed", "incorrect date format or date 19700101", CLOCK),
        ("AccessDenied", "Signature expired", FORBIDDEN),
    ],
)
@pytest.mark.guarantee(
    "clock",
    "a signature is refused, and only the words say that it was the time",
    "taken for the clock, not for a wrong key",
)
def test_a_signature_may_be_refused_for_its_time(code: str, message: str, meaning: Meaning) -> None:
    check(answered(code, 403, message=message), meaning)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
@pytest.mark.parametrize("code", ["", "403"])
@pytest.mark.guarantee(
    "answers",
    "a web page with an error status",
    "not taken for a refusal of S3: the network may need a login",
)
def test_a_web_page_is_not_s3(code: str, status: int) -> None:
    check(answered(code, status, content_type="text/html; charset=utf-8"), NOT_S3)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_document_without_a_code_is_not_s3(status: int) -> None:
    check(answered("", status, content_type="application/xml"), NOT_S3)


@pytest.mark.parametrize(("status", "word"), [(407, "proxy"), (511, "network")])
@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
@pytest.mark.guarantee(
    "answers", "a proxy (407) or the network (511) asks for a login", "the reason says which"
)
def test_a_caller_that_asks_for_a_login_is_named(status: int, word: str, content_type: str) -> None:
    translated = check(answered("", status, content_type=content_type), NOT_S3)
    assert word in translated.message
    assert "login" in translated.message


def test_a_server_that_calls_its_errors_html_is_s3_all_the_same() -> None:
    check(answered("SlowDown", 503, content_type="text/html"), SLOW)


@pytest.mark.parametrize(("code", "meaning"), [("403", FORBIDDEN), ("404", MISSING)])
@pytest.mark.parametrize("content_type", ["text/html", "application/xml"])
def test_the_answer_to_a_head_has_no_words(code: str, meaning: Meaning, content_type: str) -> None:
    check(
        answered(code, int(code), operation="HeadObject", content_type=content_type, message=""),
        meaning,
    )


@pytest.mark.parametrize("operation", ["HeadObject", "HeadBucket", "UploadPart"])
@pytest.mark.guarantee(
    "answers",
    "a HEAD is answered 400, without a word",
    "no credentials are blamed or renewed for it: it may be an option of the request",
)
def test_a_bad_request_without_words_says_nothing_of_credentials(operation: str) -> None:
    told = check(answered("400", 400, operation=operation, message="Bad Request"), UNWELL).message
    assert told == (
        f"S3 did not say why ({operation} was answered 400 without a code); it is tried again."
    )


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ("120", 120.0),
        ("9" * 400, 3600.0),
        ("Thu, 20 Nov 2025 10:02:00 GMT", 120.0),
        ("Thu, 20 Nov 2025 09:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_s3_may_say_how_long_to_wait(told: str, wait_s: float | None) -> None:
    answer = answered("SlowDown", 503, retry_after=told, date="Thu, 20 Nov 2025 10:00:00 GMT")
    assert translate(answer, peer=PEER).retry_after_s == wait_s


@pytest.mark.guarantee(
    "attack",
    "an error message of a server with escapes, line breaks or without end",
    "one short printable line in reason and log",
)
@pytest.mark.threat("server")
def test_what_a_server_says_stays_one_short_plain_line() -> None:
    hostile = "\x1b[31mlook\nhere\r\n" + "x" * 1000 + "ü"
    translated = translate(answered("InvalidRequest", 400, message=hostile), peer=PEER)
    assert translated.message.isprintable()
    assert len(translated.message) < 300
    translated = translate(answered(hostile, 400, message=hostile), peer=PEER)
    assert translated.message.isprintable()
    assert len(translated.message) < 300


def test_an_answer_with_nothing_in_it_is_not_s3() -> None:
    response: Any = {}
    check(boto.ClientError(response, "PutObject"), NOT_S3)


# -- what never was an answer of S3

URL = "https://s3.example/logs"
KEY = ConnectionKey("s3.example", 443, True, True, None, None, None)


def certificate_error(text: str) -> ssl.SSLCertVerificationError:
    return ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {text} (_ssl.c:1000)")


UNTRUSTED = certificate_error("certificate verify failed: self-signed certificate")
WRONG_NAME = certificate_error("certificate verify failed: Hostname mismatch")
TOO_EARLY = certificate_error("certificate verify failed: certificate is not yet valid")
TOO_LATE = certificate_error("certificate verify failed: certificate has expired")
REFUSED_TCP = OSError(errno.ECONNREFUSED, "Connect call failed")
CARD_GONE = OSError(errno.EIO, "Input/output error")
CHANGED = SourceChanged("The file became shorter while it was sent.")

RAW: dict[str, tuple[BaseException, Meaning]] = {
    "refused": (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), OFFLINE),
    "reset": (ConnectionResetError(errno.ECONNRESET, "reset"), OFFLINE),
    "broken pipe": (BrokenPipeError(errno.EPIPE, "pipe"), OFFLINE),
    "unreachable": (OSError(errno.ENETUNREACH, "unreachable"), OFFLINE),
    "no route": (OSError(errno.EHOSTUNREACH, "no route"), OFFLINE),
    "no name": (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OFFLINE),
    "too many files": (OSError(errno.EMFILE, "Too many open files"), NO_FILES),
    "too many files of all": (
        aiohttp.ClientConnectorError(KEY, OSError(errno.ENFILE, "Too many open files in system")),
        NO_FILES,
    ),
    "time-out": (asyncio.TimeoutError(), OFFLINE),
    "time-out of the system": (TimeoutError(errno.ETIMEDOUT, "timed out"), OFFLINE),
    "disconnected": (aiohttp.ServerDisconnectedError(), OFFLINE),
    "connection error": (aiohttp.ClientConnectionError("closed"), OFFLINE),
    "cannot connect": (aiohttp.ClientConnectorError(KEY, REFUSED_TCP), OFFLINE),
    "cannot write": (aiohttp.ClientOSError(errno.ECONNRESET, "cannot write"), OFFLINE),
    "server time-out": (aiohttp.SocketTimeoutError("read"), OFFLINE),
    "body broke off": (aiohttp.ClientPayloadError("not completed"), OFFLINE),
    "TLS was cut": (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), OFFLINE),
    "TLS was closed": (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), OFFLINE),
    "TLS met something else": (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), OFFLINE),
    "certificate: issuer": (UNTRUSTED, TLS),
    "certificate: name": (WRONG_NAME, TLS),
    "certificate: not yet": (TOO_EARLY, TLS_DATES),
    "certificate: no more": (TOO_LATE, TLS_DATES),
    "certificate, as aiohttp says it": (
        aiohttp.ClientConnectorCertificateError(KEY, UNTRUSTED),
        TLS,
    ),
    "certificate dates, as aiohttp says it": (
        aiohttp.ClientConnectorCertificateError(KEY, TOO_EARLY),
        TLS_DATES,
    ),
    "redirect": (UnexpectedRedirect(status=302), NOT_S3),
    "no XML": (ResponseParserError("invalid XML received"), NOT_S3),
    "card gone": (CARD_GONE, (SourceAway, "source_away")),
    "device gone": (OSError(errno.ENODEV, "No such device"), (SourceAway, "source_away")),
    "stale mount": (OSError(errno.ESTALE, "Stale file handle"), (SourceAway, "source_away")),
    "file changed": (CHANGED, (SourceChanged, "source_changed")),
    "a bug": (ZeroDivisionError("division by zero"), INTERNAL),
    "a runtime error": (RuntimeError("Session is closed"), INTERNAL),
}


@pytest.mark.parametrize("name", RAW)
@pytest.mark.guarantee(
    "links",
    "any error of sockets, TLS or the HTTP library",
    "one meaning each; a file that cannot be read is not taken for a dead link",
)
def test_an_error_of_the_network_or_the_file_has_one_meaning(name: str) -> None:
    error, meaning = RAW[name]
    translated = check(error, meaning)
    if type(translated) is Offline:
        assert translated.peer == PEER
        assert "s3.example" in translated.message


def wrapped(error: BaseException) -> dict[str, BaseException]:
    """How botocore hands an error of the HTTP client on."""
    chained = boto.EndpointConnectionError(endpoint_url=URL)
    chained.__cause__ = error
    twice = boto.HTTPClientError(
        request=None, response=None, error=boto.HTTPClientError(error=error)
    )
    outer = RuntimeError("a library between")
    outer.__cause__ = boto.EndpointConnectionError(endpoint_url=URL, error=error)
    return {
        "EndpointConnectionError": boto.EndpointConnectionError(endpoint_url=URL, error=error),
        "ConnectionClosedError": boto.ConnectionClosedError(endpoint_url=URL, error=error),
        "HTTPClientError": boto.HTTPClientError(error=error),
        "chained": chained,
        "wrapped twice": twice,
        "chained and wrapped": outer,
    }


@pytest.mark.parametrize("name", [n for n in RAW if n != "no XML" and RAW[n][1] != INTERNAL])
def test_wrapping_does_not_change_the_meaning(name: str) -> None:
    error, meaning = RAW[name]
    for wrapper in wrapped(error).values():
        check(wrapper, meaning)


def test_a_cycle_of_causes_is_no_trap() -> None:
    first, second = RuntimeError("one"), RuntimeError("two")
    first.__cause__, second.__cause__ = second, first
    check(first, INTERNAL)


@pytest.mark.parametrize("error", [KeyError("documentation"), TypeError("no"), MemoryError()])
def test_a_fault_of_a_library_is_not_called_a_dead_link(error: Exception) -> None:
    ways = wrapped(error)
    for one in (error, ways["HTTPClientError"], ways["wrapped twice"]):
        told = check(one, INTERNAL).message
        assert type(error).__name__ in told
        assert "s3.example" not in told
    # Where botocore says that there was no connection, it is believed.
    check(ways["EndpointConnectionError"], OFFLINE)


@pytest.mark.parametrize(
    "ours",
    [
        CHANGED,
        LocalStorageError("The disk is full."),
        S3CredentialsError("The token service is down.", code="token_service_down"),
        Offline("The upload stalled.", peer=("proxy", 3128)),
    ],
)
def test_our_own_errors_come_out_as_they_went_in(ours: S3IntegrationError) -> None:
    assert translate(ours, peer=PEER) is ours
    for wrapper in wrapped(ours).values():
        assert translate(wrapper, peer=PEER) is ours


BOTO: dict[str, tuple[BaseException, Meaning]] = {
    "connect": (boto.EndpointConnectionError(endpoint_url=URL), OFFLINE),
    "connect time-out": (boto.ConnectTimeoutError(endpoint_url=URL), OFFLINE),
    "read time-out": (boto.ReadTimeoutError(endpoint_url=URL), OFFLINE),
    "closed": (boto.ConnectionClosedError(endpoint_url=URL), OFFLINE),
    "proxy": (boto.ProxyConnectionError(proxy_url="http://proxy:3128"), OFFLINE),
    "any other": (boto.HTTPClientError(error="BadStatusLine"), OFFLINE),
    "certificate": (
        boto.SSLError(endpoint_url=URL, error=Exception("certificate verify failed: self-signed")),
        TLS,
    ),
    "certificate dates": (
        boto.SSLError(endpoint_url=URL, error=Exception("certificate has expired")),
        TLS_DATES,
    ),
    "TLS": (boto.SSLError(endpoint_url=URL, error=Exception("EOF occurred in violation")), OFFLINE),
    "no credentials": (boto.NoCredentialsError(), (S3CredentialsError, "no_credentials")),
    "credentials not had": (
        boto.CredentialRetrievalError(provider="iam", error_msg="no answer"),
        (S3CredentialsError, "no_credentials"),
    ),
    "no region": (boto.NoRegionError(), BUCKET),
    "wrong region": (boto.InvalidRegionError(region_name="no where"), BUCKET),
    "wrong endpoint": (ValueError("Invalid endpoint: http://my_minio:9000"), BUCKET),
    "wrong bucket": (
        boto.ParamValidationError(report='Invalid bucket name "My Logs": it must match the regex'),
        BUCKET,
    ),
    "wrong parameter": (boto.ParamValidationError(report="Invalid type for Body"), REFUSED),
}


@pytest.mark.parametrize("name", BOTO)
def test_an_error_of_botocore_has_one_meaning(name: str) -> None:
    check(*BOTO[name])


def test_a_setting_that_would_help_is_named() -> None:
    def sentence(error: BaseException) -> str:
        return translate(error, peer=PEER).message

    assert "PETAL_S3_SESSION_TOKEN_URL" in sentence(boto.NoCredentialsError())
    assert "PETAL_S3_BUCKET_NAME" in sentence(answered("NoSuchBucket", 404))
    assert "PETAL_S3_REGION" in sentence(answered("PermanentRedirect", 301))
    assert "PETAL_S3_ENDPOINT_URL" in sentence(BOTO["wrong endpoint"][0])
    assert "PETAL_S3_TLS_IGNORE_DATES=true" in sentence(TOO_EARLY)
    assert "PETAL_S3_SSE" in sentence(answered("InvalidEncryptionAlgorithmError", 400))
    assert "PETAL_S3_SSE" in sentence(answered("KMS.NotFoundException", 400))
    assert "PETAL_S3_ADDRESS_STYLE" in sentence(answered("SecondLevelDomainForbidden", 403))
    # Of several options none is blamed alone, but each is named.
    carried = "x-amz-checksum-crc32 and x-amz-server-side-encryption"
    told = translate(answered("NotImplemented", 501), peer=PEER, options=carried).message
    assert f"PutObject with {carried} was answered 501 NotImplemented" in told


def test_a_peer_that_is_not_known_yet_is_no_trap() -> None:
    translated = translate(ConnectionRefusedError(), peer=None)
    assert isinstance(translated, Offline)
    assert translated.message == "No link to S3 (Connection refused)."


def test_a_dead_link_is_told_in_the_words_of_the_system() -> None:
    def sentence(error: BaseException) -> str:
        told = {translate(one, peer=PEER).message for one in wrapped(error).values()}
        assert len(told) == 1
        return told.pop()

    assert sentence(RAW["refused"][0]) == "No link to s3.example (Connection refused)."
    assert sentence(RAW["no name"][0]) == "No link to s3.example (its name is not known here)."
    assert sentence(aiohttp.ServerDisconnectedError()) == (
        "No link to s3.example (the connection was closed, or broke off)."
    )
    assert sentence(asyncio.TimeoutError()) == "No answer from s3.example in time."
    assert "does not speak TLS" in sentence(RAW["TLS met something else"][0])


def test_the_reason_a_file_cannot_be_read_is_told() -> None:
    sentence = translate(CARD_GONE, peer=PEER).message
    assert os.strerror(errno.EIO) in sentence
