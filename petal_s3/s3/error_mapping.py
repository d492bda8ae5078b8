"""Translate what the S3 client raises into our errors, once, by a table; unknown is transient."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from petal_s3.errors import (
    BadInput,
    ClockSkew,
    Conflict,
    Mismatch,
    NotS3,
    Offline,
    Refused,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    SourceAway,
    Throttled,
    Transient,
    UploadGone,
    no_descriptors,
)
from petal_s3.s3.headers import FROM_CACHE, from_cache, patience_s
from petal_s3.s3.http_session import EndlessAnswer, UnexpectedRedirect

_LOGIN = {407, 511}
# Nothing depends on these; a server without them may say so in its own way.
_OPTIONAL = {
    "ListMultipartUploads",
    *(
        f"{verb}Bucket{setting}"
        for verb in ("Get", "Put")
        for setting in (
            "Versioning", "Encryption", "Logging", "LifecycleConfiguration", "Cors", "Policy",
        )
    ),
}  # fmt: skip
# Their answers have no body, and so no code.
_HEADS = {"HeadObject", "HeadBucket"}
_CLOCK_WORDS = re.compile(r"\bdate\b|signature expired|not yet current", re.IGNORECASE)
_NO_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG")
_FILE_ERRORS = {errno.EIO, errno.ENODEV, errno.ESTALE, errno.EBADF}

_EXPIRED = "The session credentials are no longer accepted ({code}); new ones are fetched."
_FORBIDDEN = "The bucket refuses this machine ({code}): check its permissions."
_BUCKET = "The bucket cannot be used ({code}): check PETAL_S3_BUCKET_NAME and PETAL_S3_REGION."
_FULL = "The bucket has no room left ({code})."
_CLOCK = "S3 does not accept the time of the request ({code})."
_SLOW = "S3 asks to slow down ({code})."
_GONE = "S3 no longer knows the multipart upload ({code}); it begins anew."
_DAMAGED = "Bytes were damaged on the way to S3 ({code}); they are sent again."
_TAKEN = "Another object stands at this key ({code})."
_NO_CREDENTIALS = (
    "There are no credentials: set PETAL_S3_SESSION_TOKEN_URL, or AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials (AWS_PROFILE chooses a profile), or give"
    " this machine an instance role."
)
_NO = "S3 refuses this request for good ({code}): {message}"
_NOT_OFFERED = (
    "The server does not offer what was asked of it ({code}: {message}); if that is its "
    "encryption, set PETAL_S3_SSE."
)
_OTHERS = "The bucket belongs to somebody else ({code}): choose another PETAL_S3_BUCKET_NAME."
_UNWELL = "S3 is not well ({code}); it is tried again."

_Kind = type[S3IntegrationError]

TABLE: dict[str, tuple[_Kind, str, str]] = {
    **dict.fromkeys(
        (
            "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
            "InvalidAccessKeyId", "InvalidClientTokenId", "RequestExpired",
        ),
        (S3CredentialsError, "credentials_expired", _EXPIRED),
    ),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestInTheFuture"), (ClockSkew, "clock", _CLOCK)),
    **dict.fromkeys(
        (
            "AccessDenied", "AllAccessDisabled", "AccountProblem", "SignatureDoesNotMatch",
            "InvalidSecurity", "NotSignedUp",
        ),
        (S3BucketError, "forbidden", _FORBIDDEN),
    ),
    **dict.fromkeys(
        (
            "NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "TemporaryRedirect",
            "IllegalLocationConstraintException", "AuthorizationHeaderMalformed",
            "InvalidLocationConstraint",
            "MethodNotAllowed", "InvalidBucketState",
        ),
        (S3BucketError, "bucket", _BUCKET),
    ),
    **dict.fromkeys(("NotImplemented", "InvalidEncryptionAlgorithmError"),
                    (S3BucketError, "not_implemented", _NOT_OFFERED)),
    **dict.fromkeys(
        ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "ServiceQuotaExceeded",
         "ServiceQuotaExceededException"),
        (S3BucketError, "bucket_full", _FULL),
    ),
    **dict.fromkeys(
        (
            "SlowDown", "ServiceUnavailable", "RequestLimitExceeded", "Throttling",
            "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
            "BandwidthLimitExceeded", "RequestThrottled",
        ),
        (Throttled, "throttled", _SLOW),
    ),
    **dict.fromkeys(
        ("NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"),
        (UploadGone, "upload_gone", _GONE),
    ),
    **dict.fromkeys(
        ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "XAmzContentChecksumMismatch"),
        (Mismatch, "damaged", _DAMAGED),
    ),
    "InvalidRange":
        (BadInput, "no_such_range", "Nothing of the object lies in this range ({code})."),
    "PreconditionFailed": (Conflict, "key_taken", _TAKEN),
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"),
                    (S3FileNotFoundError, "not_found", "There is no such object.")),
    "NoSuchLifecycleConfiguration":
        (S3FileNotFoundError, "no_lifecycle", "The bucket has no lifecycle rules ({code})."),
    **dict.fromkeys(
        ("NoSuchBucketPolicy", "NoSuchCORSConfiguration",
         "ServerSideEncryptionConfigurationNotFoundError"),
        (S3FileNotFoundError, "not_set", "The bucket has no such setting ({code})."),
    ),
    "BucketAlreadyExists": (Conflict, "bucket_of_another", _OTHERS),
    "BucketAlreadyOwnedByYou": (Conflict, "bucket_is_yours", "The bucket is yours ({code})."),
    **dict.fromkeys(
        ("EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidArgument",
         "InvalidRequest", "MalformedXML", "UnsupportedHeader", "MalformedPolicy",
         "InvalidTargetBucketForLogging", "CrossLocationLoggingProhibited", "TooManyBuckets"),
        (Refused, "s3_refused", _NO),
    ),
    **dict.fromkeys(
        ("InternalError", "RequestTimeout", "IncompleteBody", "OperationAborted",
         "ConditionalRequestConflict"),
        (Transient, "s3_unwell", _UNWELL),
    ),
}  # fmt: skip

_STATUS: dict[int, tuple[_Kind, str, str]] = {
    301: (S3BucketError, "bucket", _BUCKET),
    401: (S3BucketError, "forbidden", _FORBIDDEN),
    403: (S3BucketError, "forbidden", _FORBIDDEN),
    404: (S3FileNotFoundError, "not_found", "There is no such object."),
    405: (S3BucketError, "bucket", _BUCKET),
    407: (NotS3, "not_s3", "A proxy on the way asks for a login ({code})."),
    412: (Conflict, "key_taken", _TAKEN),
    429: (Throttled, "throttled", _SLOW),
    501: (S3BucketError, "not_implemented", _NOT_OFFERED),
    503: (Throttled, "throttled", _SLOW),
    507: (S3BucketError, "bucket_full", _FULL),
    511: (NotS3, "not_s3", "The network asks for a login ({code})."),
}  # fmt: skip


def translate(error: BaseException, *, peer: tuple[str, int] | None) -> S3IntegrationError:
    """Return our error for anything the S3 client can raise; the caller chains the cause."""
    causes = list(_causes(error))
    ours = next((e for e in causes if isinstance(e, S3IntegrationError)), None)
    if ours is not None:
        return ours
    if isinstance(error, boto.ClientError):
        return _answered(error)
    return _not_sent(error) or _not_s3(error, causes) or _unanswered(causes, peer)


def _not_sent(error: BaseException) -> S3IntegrationError | None:
    if isinstance(error, boto.NoCredentialsError | boto.CredentialRetrievalError):
        return S3CredentialsError(_NO_CREDENTIALS, code="no_credentials")
    if isinstance(error, boto.PartialCredentialsError | boto.ProfileNotFound):
        # Names of settings and profiles, no values.
        return S3CredentialsError(
            f"The credentials cannot be used: {_plain(error).rstrip('.')}.", code="no_credentials"
        )
    misnamed = "Invalid endpoint" in str(error) and isinstance(error, ValueError)
    if misnamed or isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
        return S3BucketError(
            "The address of S3 is unusable: check PETAL_S3_ENDPOINT_URL and PETAL_S3_REGION.",
            code="bucket",
        )
    if isinstance(error, boto.ParamValidationError) and "Invalid bucket name" in str(error):
        return S3BucketError(_BUCKET.format(code="InvalidBucketName"), code="bucket")
    if isinstance(error, boto.ParamValidationError):
        return Refused(f"The request is malformed: {_plain(error)}")
    return None


def _not_s3(error: BaseException, causes: Sequence[BaseException]) -> S3IntegrationError | None:
    if any(isinstance(e, UnexpectedRedirect) for e in causes):
        return NotS3("The network redirects elsewhere: it may need a login.")
    for one in causes:
        # Any other error of TLS is a link that was cut.
        if isinstance(one, ssl.SSLCertVerificationError) or (
            isinstance(one, boto.SSLError | ssl.SSLError) and "certificate" in str(one).lower()
        ):
            return _untrusted(one)
    endless = any(isinstance(e, EndlessAnswer) for e in causes)
    if endless or isinstance(error, ResponseParserError):
        return NotS3("The answer is not one of S3: the network may need a login.")
    return None


def _answered(error: boto.ClientError) -> S3IntegrationError:
    answer: Mapping[str, Any] = error.response
    details = answer.get("Error", {})
    meta = answer.get("ResponseMetadata", {})
    code, status = str(details.get("Code") or ""), int(meta.get("HTTPStatusCode") or 0)
    headers = meta.get("HTTPHeaders") or {}
    # The body of a HEAD says nothing about who answers, and some servers label it HTML.
    if from_cache(headers):
        return NotS3(FROM_CACHE)
    page = "html" in str(headers.get("content-type", "")) or not code
    # S3 always names a code; only the answer to a HEAD has no body to name it in.
    nameless = code not in TABLE and error.operation_name not in _HEADS
    if page and nameless and status not in _LOGIN:
        return NotS3("A web page came instead of an answer of S3: the network may need a login.")
    if code.startswith("KMS."):
        code = "AccessDenied"
    if status == 405 and error.operation_name in _OPTIONAL:
        code = "NotImplemented"
    if code == "400" and error.operation_name in _HEADS:
        code = "ExpiredToken"  # a HEAD has no words for it
    told = _plain(details.get("Message"))
    if code in {"AuthorizationHeaderMalformed", "SignatureDoesNotMatch"}:
        code = "RequestTimeTooSkewed" if _CLOCK_WORDS.search(told) else code
    kind, our_code, sentence = (
        TABLE.get(code) or _STATUS.get(status) or (Transient, "s3_unwell", _UNWELL)
    )
    message = sentence.format(code=_plain(code or f"HTTP {status}"), message=told)
    return kind(message, code=our_code, retry_after_s=patience_s(headers))


def _untrusted(error: BaseException) -> S3IntegrationError:
    text = str(error)
    if "not yet valid" in text or "has expired" in text:
        return ClockSkew(
            "The certificate of S3 does not fit this device's date: set the clock, or set "
            "PETAL_S3_TLS_IGNORE_DATES=true.",
            code="tls_dates",
        )
    return NotS3("The certificate is not that of S3: the network may need a login.", code="tls")


def _unanswered(
    causes: Sequence[BaseException], peer: tuple[str, int] | None
) -> S3IntegrationError:
    for cause in causes:
        full = no_descriptors(cause) if isinstance(cause, OSError) else None
        if full is not None:
            return full
        # A file that cannot be read looks like a connection that cannot be made.
        if isinstance(cause, OSError) and cause.errno in _FILE_ERRORS:
            # aiohttp says the same of a request, with its address; the number is the card's.
            return SourceAway(f"The file cannot be read now ({os.strerror(cause.errno)}).")
    host = peer[0] if peer else "S3"
    if any(isinstance(e, TimeoutError | asyncio.TimeoutError) for e in causes):
        return Offline(f"No answer from {host} in time.", peer=peer)
    if any(isinstance(e, ssl.SSLError) and _NO_TLS.search(str(e)) for e in causes):
        return Offline(
            f"{host} does not speak TLS: check PETAL_S3_ENDPOINT_URL, or log in to the network.",
            peer=peer,
        )
    return Offline(f"No link to {host} ({type(causes[0]).__name__}).", peer=peer)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what botocore keeps in its ``kwargs``, and everything they came from."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = getattr(one, "kwargs", None)
        inner = kept.get("error") if isinstance(kept, dict) else None
        waiting += [inner if isinstance(inner, BaseException) else None]
        waiting.append(one.__cause__)


def _plain(text: object) -> str:
    """One short line of printable text out of what a server or library said."""
    return re.sub(r"[^\x20-\x7e]+", " ", str(text or "no reason given"))[:200]
