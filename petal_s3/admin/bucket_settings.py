"""Read and write a bucket and its settings over the wire; every answer is checked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from petal_s3.errors import NotS3, S3BucketError, S3FileNotFoundError, S3IntegrationError
from petal_s3.s3.calls import Calls
from petal_s3.s3.evidence import came, root_of
from petal_s3.s3.responses import status

Json = dict[str, Any]
_NEVER_SET = {"not_set", "no_lifecycle"}
# What also something on the way answers; the rest only a server that knows S3.
_OF_ANYBODY = {"", "text", "html"}
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Setting:
    """One setting of a bucket: the operations that read and write it, and what they need.

    ``word``: in the name of the answer's outermost element, which differs between servers; empty:
    JSON. ``taken`` makes a value of such an answer (none: never set), ``given`` parameters of one.
    ``delete``: the operation, with ``empty`` as its parameters, after which it is not set.
    """

    name: str
    word: str
    get: str
    put: str
    may_get: str
    may_put: str
    taken: Callable[[Mapping[str, Any]], Any]
    given: Callable[[Any], Json]
    delete: str = ""
    may_delete: str = ""
    empty: Json = field(default_factory=dict)


def _lifecycle(answer: Mapping[str, Any]) -> Json | None:
    if not answer.get("Rules"):
        return None
    return {
        name: answer[name]
        for name in ("Rules", "TransitionDefaultMinimumObjectSize")
        if answer.get(name)
    }


def _lifecycle_params(value: Json) -> Json:
    more = {name: one for name, one in value.items() if name != "Rules"}
    return {"LifecycleConfiguration": {"Rules": value["Rules"]}, **more}


def _policy(answer: Mapping[str, Any]) -> Json:
    with contextlib.suppress(ValueError):
        found = json.loads(answer.get("Policy") or "")
        if isinstance(found, dict):
            return found
    raise _another(answer, "policy")


VERSIONING = Setting(
    "versioning",
    "versioning",
    "get_bucket_versioning",
    "put_bucket_versioning",
    "s3:GetBucketVersioning",
    "s3:PutBucketVersioning",
    lambda answer: answer.get("Status"),
    lambda value: {"VersioningConfiguration": {"Status": value}},
)
ENCRYPTION = Setting(
    "encryption",
    "encryption",
    "get_bucket_encryption",
    "put_bucket_encryption",
    "s3:GetEncryptionConfiguration",
    "s3:PutEncryptionConfiguration",
    lambda answer: answer.get("ServerSideEncryptionConfiguration", {}).get("Rules") or None,
    lambda value: {"ServerSideEncryptionConfiguration": {"Rules": value}},
    "delete_bucket_encryption",
    "s3:PutEncryptionConfiguration",
)
LOGGING = Setting(
    "access logs",
    "logging",
    "get_bucket_logging",
    "put_bucket_logging",
    "s3:GetBucketLogging",
    "s3:PutBucketLogging",
    lambda answer: answer.get("LoggingEnabled"),
    lambda value: {"BucketLoggingStatus": {"LoggingEnabled": value}},
    "put_bucket_logging",
    "s3:PutBucketLogging",
    {"BucketLoggingStatus": {}},
)
LIFECYCLE = Setting(
    "lifecycle",
    "lifecycle",
    "get_bucket_lifecycle_configuration",
    "put_bucket_lifecycle_configuration",
    "s3:GetLifecycleConfiguration",
    "s3:PutLifecycleConfiguration",
    _lifecycle,
    _lifecycle_params,
    "delete_bucket_lifecycle",
    "s3:PutLifecycleConfiguration",
)
CORS = Setting(
    "cors",
    "cors",
    "get_bucket_cors",
    "put_bucket_cors",
    "s3:GetBucketCORS",
    "s3:PutBucketCORS",
    lambda answer: answer.get("CORSRules") or None,
    lambda value: {"CORSConfiguration": {"CORSRules": value}},
    "delete_bucket_cors",
    "s3:PutBucketCORS",
)
POLICY = Setting(
    "policy",
    "",
    "get_bucket_policy",
    "put_bucket_policy",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    _policy,
    lambda value: {"Policy": json.dumps(value)},
    "delete_bucket_policy",
    "s3:DeleteBucketPolicy",
)

PUBLIC_ACCESS = Setting(
    "public access",
    "publicaccessblock",
    "get_public_access_block",
    "put_public_access_block",
    "s3:GetBucketPublicAccessBlock",
    "s3:PutBucketPublicAccessBlock",
    lambda answer: answer.get("PublicAccessBlockConfiguration") or {},
    lambda value: {"PublicAccessBlockConfiguration": value},
)


async def read(calls: Calls, setting: Setting) -> Any:
    """The value of a setting; none where it was never set.

    Raises :class:`S3BucketError` ``not_implemented`` where the server answers something else: it
    does not know the setting, and has read past its name. An answer of something on the way must
    not be read as "no rules": a write would then remove the rules of others.
    """
    try:
        answer = await calls.call(setting.get, {})
    except S3FileNotFoundError as error:
        if error.code in _NEVER_SET:
            return None
        raise
    if setting.word not in root_of(answer).lower():
        raise _another(answer, setting.name)
    return setting.taken(answer)


def _another(
    answer: Mapping[str, Any], name: str, asked: str = "asked for it"
) -> S3IntegrationError:
    """What an answer means that is not about the setting that was asked for."""
    root = root_of(answer)
    if root in _OF_ANYBODY and not _by_s3(answer):
        login = "; the network may need a login" if root == "html" else ""
        return NotS3(f"The bucket's {name}: {asked}, {came(answer)} came{login}.")
    instead = f"{asked}, {came(answer)} came"
    error = S3BucketError(
        f"The server does not offer this setting ({instead}).", code="not_implemented"
    )
    error.instead = instead
    return error


async def write(calls: Calls, setting: Setting, value: Any) -> None:
    """Set it, or with none delete it; raises :class:`NotS3` where nothing says that it is so now.

    Only what was just read is deleted: a server that does not know the setting would take the
    request for one to delete the bucket. Raises :class:`S3BucketError` ``bucket_deleted`` where
    one did so all the same.
    """
    unset = value is None
    operation = setting.delete if unset else setting.put
    answer = await calls.call(operation, setting.empty if unset else setting.given(value))
    if unset and await region_of(calls) is None:
        raise S3BucketError(
            "The server took the request to remove this setting for one to delete the bucket,"
            " which was empty: petal-s3 bucket setup makes it again.",
            code="bucket_deleted",
        )
    if root_of(answer) and setting.word not in root_of(answer).lower():
        raise _another(answer, setting.name, "asked to set it")
    # S3 answers nothing but a request id. Reading it back is no better proof: AWS may go on to
    # tell the old value for a while. So that is asked only where there is no id.
    if not _by_s3(answer) and await read(calls, setting) != value:
        raise NotS3(
            f"Setting {setting.name} was answered by {came(answer)}, and nothing is set afterwards."
        )


async def region_of(calls: Calls) -> str | None:
    """The region that a bucket is in, empty where the server does not say; none: no bucket.

    Raises :class:`S3BucketError` with code ``forbidden`` where it may not be looked at.
    """
    try:
        answer = await calls.call("head_bucket", {})
    except S3FileNotFoundError:
        return None
    return str(answer.get("BucketRegion") or "")


async def is_ours(calls: Calls) -> None:
    """Ask once more, in words, after a HEAD was refused without any; errors as in S3."""
    await calls.call("get_bucket_location", {})


async def create(calls: Calls, region: str) -> None:
    """Create the bucket; raises :class:`Conflict` ``bucket_of_another`` or ``bucket_is_yours``."""
    where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    answer = await calls.call("create_bucket", {} if region == _DEFAULT_REGION else where)
    if not answer.get("Location") and not _by_s3(answer):
        raise NotS3("The answer to creating a bucket is not one of S3.")


def _by_s3(answer: Mapping[str, Any]) -> bool:
    return status(answer) in {200, 204} and bool(answer["ResponseMetadata"].get("RequestId"))
