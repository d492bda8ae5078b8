"""Translate what the S3 client raises into our errors, once; an unknown one is transient."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
import time
from collections.abc import Iterator, Sequence

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from petal_s3.core.files import no_descriptors
from petal_s3.errors import (
    ClockSkew,
    NotS3,
    Offline,
    Refused,
    S3BucketError,
    S3CredentialsError,
    S3IntegrationError,
    SourceAway,
    Transient,
)
from petal_s3.s3 import tls_dates
from petal_s3.s3.answered_errors import answered
from petal_s3.s3.details import aws_detail, connection_detail, tls_detail
from petal_s3.s3.error_codes import BUCKET
from petal_s3.s3.http_session import EndlessAnswer, UnexpectedRedirect

_NO_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG")
_FILE_ERRORS = {errno.EIO, errno.ENODEV, errno.ESTALE, errno.EBADF}

_NO_CREDENTIALS = (
    "There are no credentials: set PETAL_S3_SESSION_TOKEN_URL, or AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials (AWS_PROFILE chooses a profile), or give"
    " this machine an instance role."
)


def translate(
    error: BaseException,
    *,
    peer: tuple[str, int] | None,
    options: str = "",
    over_http: bool = False,
) -> S3IntegrationError:
    """Return our error for anything the S3 client can raise; the caller chains the cause.

    ``options``: what the request carried beside the necessary, in words. ``over_http``: without
    TLS.
    """
    causes = list(_causes(error))
    ours = next((e for e in causes if isinstance(e, S3IntegrationError)), None)
    if ours is not None:
        return ours
    if isinstance(error, boto.ClientError):
        return answered(error, options, over_http=over_http)
    return _not_sent(error) or _not_s3(error, causes) or _unanswered(causes, peer)


def _not_sent(error: BaseException) -> S3IntegrationError | None:
    if isinstance(error, boto.NoCredentialsError | boto.CredentialRetrievalError):
        return S3CredentialsError(_NO_CREDENTIALS, code="no_credentials")
    if isinstance(error, boto.PartialCredentialsError | boto.ProfileNotFound):
        return S3CredentialsError(
            f"The credentials cannot be used{aws_detail(error)}.",
            code="no_credentials",
        )
    return _misnamed(error)


def _misnamed(error: BaseException) -> S3IntegrationError | None:
    """The error for a setting of which no request can be made; none for any other error."""
    misnamed = "Invalid endpoint" in str(error) and isinstance(error, ValueError)
    if misnamed or isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
        return S3BucketError(
            "The address of S3 is unusable: check PETAL_S3_ENDPOINT_URL and PETAL_S3_REGION.",
            code="bucket",
        )
    if isinstance(error, boto.ParamValidationError):
        if "Invalid bucket name" in str(error):
            return S3BucketError(BUCKET.format(told="InvalidBucketName"), code="bucket")
        return Refused("No request can be made of this: a value in it is none that S3 takes.")
    on_the_way = boto.HTTPClientError | boto.ConnectionError | ResponseParserError
    if isinstance(error, boto.BotoCoreError) and not isinstance(error, on_the_way):
        # A profile, a region, a file of the AWS settings: nothing was sent.
        return unusable_settings(error)
    return None


def unusable_settings(error: BaseException) -> S3BucketError:
    """What is wrong with the AWS settings of this machine, so that no request can be made."""
    return S3BucketError(
        "The AWS settings of this machine (AWS_... variables, ~/.aws) cannot be used"
        f"{aws_detail(error)}.",
        code="aws_settings",
    )


def _not_s3(error: BaseException, causes: Sequence[BaseException]) -> S3IntegrationError | None:
    if any(isinstance(e, UnexpectedRedirect) for e in causes):
        return NotS3("The network redirects elsewhere: it may need a login.")
    for one in causes:
        # Any other error of TLS is a link that was cut.
        if isinstance(one, ssl.SSLCertVerificationError) or (
            isinstance(one, boto.SSLError | ssl.SSLError) and "certificate" in str(one).lower()
        ):
            return _untrusted(one, causes)
    if any(isinstance(e, EndlessAnswer) for e in causes):
        return NotS3("An answer came that is longer, or other, than any of S3; it was not read.")
    if isinstance(error, ResponseParserError):
        return NotS3("An answer came that is no XML of S3.")
    return None


def _untrusted(error: BaseException, causes: Sequence[BaseException]) -> S3IntegrationError:
    # The TLS library says what is wrong with it; the libraries above add the whole address.
    said = (str(getattr(one, "verify_message", "")) for one in causes)
    text = next(filter(None, said), str(error))
    if "not yet valid" in text or "has expired" in text:
        return ClockSkew(
            f"The certificate of S3 {tls_dates.unfit(text, time.time())}.",
            code="tls_dates",
        )
    return NotS3(
        f"The certificate that came is not one for the address of S3 ({tls_detail(text)}).",
        code="tls",
    )


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
    if not any(_is_of_network(one) for one in causes):
        return _unexpected(causes[-1])
    host = peer[0] if peer else "S3"
    if any(isinstance(e, TimeoutError | asyncio.TimeoutError) for e in causes):
        return Offline(f"No answer from {host} in time.", peer=peer)
    if any(isinstance(e, ssl.SSLError) and _NO_TLS.search(str(e)) for e in causes):
        return Offline(
            f"{host} does not speak TLS: check PETAL_S3_ENDPOINT_URL, or log in to the network.",
            peer=peer,
        )
    return Offline(f"No link to {host}{_why(causes)}.", peer=peer)


def _is_of_network(error: BaseException) -> bool:
    """Whether an error tells of a connection: what libraries wrap tells for itself."""
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return type(error) is not boto.HTTPClientError or _kept(error) is None
    return isinstance(error, OSError | asyncio.TimeoutError | EOFError | aiohttp.ClientError)


def _unexpected(error: BaseException) -> Transient:
    return Transient(
        f"petal-s3, or a library that it uses, failed ({type(error).__name__}); nothing says that"
        " the network or S3 did.",
        code="internal",
    )


def _why(causes: Sequence[BaseException]) -> str:
    """What the system said of a connection, in brackets."""
    return f" ({connection_detail(causes)})"


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
        waiting += [_kept(one), one.__cause__]


def _kept(error: BaseException) -> BaseException | None:
    """What an error of botocore wraps; none where it wraps nothing."""
    kept = getattr(error, "kwargs", None)
    inner = kept.get("error") if isinstance(kept, dict) else None
    return inner if isinstance(inner, BaseException) else None
