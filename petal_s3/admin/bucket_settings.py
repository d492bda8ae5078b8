"""The wire of an administrator: a bucket and its settings, read and written, answers checked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from petal_s3.core.settings import Settings
from petal_s3.errors import NotS3, S3CredentialsError, S3FileNotFoundError
from petal_s3.s3.calls import Caller, own_credentials
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.http_session import ServerClock
from petal_s3.s3.responses import status

Json = dict[str, Any]
_NEVER_SET = {"not_set", "no_lifecycle"}
_DEFAULT_REGION = "us-east-1"
_STALL_S = 60.0


@contextlib.asynccontextmanager
async def callers(settings: Settings, *buckets: str) -> AsyncIterator[list[Caller]]:
    """A caller for each bucket, with an administrator's credentials.

    His own come first (AWS's chain): those of a machine, from the token service, may hardly do
    this. Raises :class:`S3CredentialsError` where neither has any.
    """
    async with contextlib.AsyncExitStack() as stack:
        tokens = await _tokens(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.close)
        made = [_caller(settings, name, tokens) for name in buckets]
        for caller in made:
            stack.push_async_callback(caller.close)
        yield made


async def _tokens(settings: Settings) -> TokenService | None:
    if await own_credentials():
        return None
    if settings.session_token_url is None:
        raise S3CredentialsError(
            "There are no credentials: neither AWS's own chain (environment, ~/.aws, instance"
            " role) nor PETAL_S3_SESSION_TOKEN_URL has any.",
            code="no_credentials",
        )
    return TokenService(
        settings.session_token_url,
        timeout_s=settings.request_timeout,
        ignore_dates=settings.tls_ignore_dates,
    )


def _caller(settings: Settings, bucket: str, tokens: TokenService | None) -> Caller:
    return Caller(
        bucket=bucket,
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        tokens=tokens,
        timeout_s=settings.request_timeout,
        connections=2,
        ignore_dates=settings.tls_ignore_dates,
        address_style=settings.address_style,
        server_clock=ServerClock(),
        stall_s=_STALL_S,
    )


@dataclass(frozen=True)
class Setting:
    """One setting of a bucket: the operations that read and write it, and what they need.

    ``taken`` makes a value of an answer (none: never set), ``given`` parameters of a value.
    """

    name: str
    get: str
    put: str
    may_get: str
    may_put: str
    taken: Callable[[Mapping[str, Any]], Any]
    given: Callable[[Any], Json]


def _told(answer: Mapping[str, Any], name: str) -> Any:
    """What S3 never leaves out where it answers at all.

    An empty answer of somebody on the way must not be read as "no rules": whoever then wrote
    would remove the rules of others.
    """
    value = answer.get(name)
    if not value:
        raise NotS3(f"The answer lacks {name}: it is not from S3; the network may need a login.")
    return value


def _lifecycle(answer: Mapping[str, Any]) -> Json:
    _told(answer, "Rules")
    return {
        name: answer[name]
        for name in ("Rules", "TransitionDefaultMinimumObjectSize")
        if answer.get(name)
    }


def _lifecycle_params(value: Json) -> Json:
    more = {name: one for name, one in value.items() if name != "Rules"}
    return {"LifecycleConfiguration": {"Rules": value["Rules"]}, **more}


def _policy(answer: Mapping[str, Any]) -> Json:
    try:
        found = json.loads(_told(answer, "Policy"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotS3("The answer holds no policy: it is not from S3.")
    return found


VERSIONING = Setting(
    "versioning", "get_bucket_versioning", "put_bucket_versioning",
    "s3:GetBucketVersioning", "s3:PutBucketVersioning",
    lambda answer: answer.get("Status"),
    lambda value: {"VersioningConfiguration": {"Status": value}},
)  # fmt: skip
ENCRYPTION = Setting(
    "encryption", "get_bucket_encryption", "put_bucket_encryption",
    "s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration",
    lambda answer: _told(_told(answer, "ServerSideEncryptionConfiguration"), "Rules"),
    lambda value: {"ServerSideEncryptionConfiguration": {"Rules": value}},
)  # fmt: skip
LOGGING = Setting(
    "access logs", "get_bucket_logging", "put_bucket_logging",
    "s3:GetBucketLogging", "s3:PutBucketLogging",
    lambda answer: answer.get("LoggingEnabled"),
    lambda value: {"BucketLoggingStatus": {"LoggingEnabled": value}},
)  # fmt: skip
LIFECYCLE = Setting(
    "lifecycle", "get_bucket_lifecycle_configuration", "put_bucket_lifecycle_configuration",
    "s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration",
    _lifecycle, _lifecycle_params,
)  # fmt: skip
CORS = Setting(
    "cors", "get_bucket_cors", "put_bucket_cors", "s3:GetBucketCORS", "s3:PutBucketCORS",
    lambda answer: _told(answer, "CORSRules"),
    lambda value: {"CORSConfiguration": {"CORSRules": value}},
)  # fmt: skip
POLICY = Setting(
    "policy", "get_bucket_policy", "put_bucket_policy", "s3:GetBucketPolicy", "s3:PutBucketPolicy",
    _policy,
    lambda value: {"Policy": json.dumps(value)},
)  # fmt: skip


async def read(caller: Caller, setting: Setting) -> Any:
    """The value of a setting; none where it was never set."""
    try:
        answer = await caller.call(setting.get, {})
    except S3FileNotFoundError as error:
        if error.code in _NEVER_SET:
            return None
        raise
    return setting.taken(answer)


async def write(caller: Caller, setting: Setting, value: Any) -> None:
    """Set it, in one request; raises :class:`NotS3` where nobody says that it is set now."""
    answer = await caller.call(setting.put, setting.given(value))
    # S3 answers nothing but a request id. Reading it back is no better proof: AWS may go on to
    # tell the old value for a while. So that is asked only where there is no id.
    if not _by_s3(answer) and await read(caller, setting) != value:
        raise NotS3(f"The answer to setting {setting.name} is not one of S3.")


async def region_of(caller: Caller) -> str | None:
    """The region that a bucket is in, empty where the server does not say; none: no bucket.

    Raises :class:`S3BucketError` with code ``forbidden`` where it may not be looked at.
    """
    try:
        answer = await caller.call("head_bucket", {})
    except S3FileNotFoundError:
        return None
    return str(answer.get("BucketRegion") or "")


async def is_ours(caller: Caller) -> None:
    """Ask once more, in words, after a HEAD was refused without any; errors as in S3."""
    await caller.call("get_bucket_location", {})


async def create(caller: Caller, region: str) -> None:
    """Create the bucket; raises :class:`Conflict` ``bucket_of_another`` or ``bucket_is_yours``."""
    where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    answer = await caller.call("create_bucket", {} if region == _DEFAULT_REGION else where)
    if not answer.get("Location") and not _by_s3(answer):
        raise NotS3("The answer to creating a bucket is not one of S3.")


def _by_s3(answer: Mapping[str, Any]) -> bool:
    return status(answer) in {200, 204} and bool(answer["ResponseMetadata"].get("RequestId"))
