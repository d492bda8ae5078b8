"""Write IAM documents as plain dicts: what one machine may do, and what a bucket demands."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from petal_s3.objects.ownership import KeyOwnership

Json = dict[str, Any]

# The longest session policy, packed: IAM User Guide, "IAM and AWS STS quotas".
SESSION_POLICY_CHARS = 2048
TLS_ONLY = "PetalS3TlsOnly"
ACCESS_LOGS = "PetalS3AccessLogs"
_LOGGING = "logging.s3.amazonaws.com"
_VERSION = "2012-10-17"


def partition(region: str) -> str:
    """The first part of every ARN after ``arn``, which China and the US government have apart."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def packed(policy: Mapping[str, Any]) -> str:
    """The policy without a needless space, as its length is counted."""
    return json.dumps(policy, separators=(",", ":"))


# -- one machine


def machine_policy(
    ownership: KeyOwnership, *, region: str, sse: str, delete: bool = True
) -> dict[str, Any]:
    """The least that lets a machine send its logs into ``ownership.bucket``, and read them.

    ``delete``: also what deletions, moves and the sweep of ``tmp/`` need.
    s3:ListBucketMultipartUploads is left out on purpose: AWS cannot limit it to a prefix, so it
    would show the keys of all machines.
    """
    bucket = f"arn:{partition(region)}:s3:::{ownership.bucket}"
    roots = [_literal(root) for root in ownership.owned_prefixes]
    actions = [
        "s3:PutObject",
        "s3:GetObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        *(["s3:DeleteObject"] if delete else []),
    ]
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Sid": "OwnObjects",
                "Effect": "Allow",
                "Action": actions,
                "Resource": [f"{bucket}/{root}*" for root in roots],
            },
            {
                "Sid": "ListOwn",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket,
                "Condition": {"StringLike": {"s3:prefix": [f"{root}*" for root in roots]}},
            },
            *_key_statements(sse, region),
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Action": "s3:*",
                "Resource": [bucket, f"{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ],
    }


def _literal(text: str) -> str:
    """``text`` as IAM takes it literally: ``*``, ``?`` and ``$`` mean something there."""
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", text)


def _key_statements(sse: str, region: str) -> list[Json]:
    """What the key of ``aws:kms:<key>`` needs, through S3 alone.

    Plain ``aws:kms`` is the key that AWS manages for S3: its own policy allows the whole account to
    use it through S3, so nothing is granted here, least of all every key.
    """
    key = sse.removeprefix("aws:kms:")
    if key == sse:
        return []
    arn = re.fullmatch(r"(arn:[^:]+:kms:([^:]*):[^:]*):(key|alias)/(.+)", key)
    home = arn[1] if arn else f"arn:{partition(region)}:kms:{region}:*"
    where = arn[2] if arn else region
    condition: Json = {"StringEquals": {"kms:ViaService": f"s3.{where}.amazonaws.com"}}
    name = f"{arn[3]}/{arn[4]}" if arn else key if key.startswith("alias/") else f"key/{key}"
    if name.startswith("alias/"):  # an alias is no resource of these actions
        condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": name}
        name = "key/*"
    return [
        {
            "Sid": "OwnKey",
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": f"{home}:{name}",
            "Condition": condition,
        }
    ]


# -- the bucket


def tls_only(bucket: str, region: str) -> Json:
    """The statement of a bucket's policy that refuses requests without TLS."""
    arn = f"arn:{partition(region)}:s3:::{bucket}"
    return {
        "Sid": TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def takes_access_logs(target: str, prefix: str, source: str, region: str) -> Json:
    """The statement of ``target``'s policy that lets S3 write access logs of ``source`` there."""
    arn = f"arn:{partition(region)}:s3:::"
    # A Sid has letters and digits only; the sum keeps my-logs and mylogs apart.
    name = re.sub("[^A-Za-z0-9]", "", source)
    return {
        "Sid": f"{ACCESS_LOGS}{name}{zlib.crc32(source.encode()):08x}",
        "Effect": "Allow",
        "Principal": {"Service": _LOGGING},
        "Action": "s3:PutObject",
        "Resource": f"{arn}{target}/{_literal(prefix)}*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"{arn}{source}"}},
    }


def with_statement(policy: Mapping[str, Any] | None, wanted: Json) -> Json:
    """``policy`` with the statement ``wanted``; equal to ``policy`` where it says so already.

    Statements of others stay, also in their order; ours is known by its Sid.
    """
    if policy is None:
        return {"Version": _VERSION, "Statement": [wanted]}
    statements = statements_of(policy)
    if any(_meaning(one) == _meaning(wanted) for one in statements):
        return dict(policy)
    kept = [wanted if one.get("Sid") == wanted["Sid"] else one for one in statements]
    if wanted not in kept:
        kept.append(wanted)
    return {**policy, "Statement": kept}


def without_statement(policy: Mapping[str, Any] | None, sid: str) -> Mapping[str, Any] | None:
    """``policy`` without our statement of this Sid; none where no other is left.

    Equal to ``policy`` where it has no such statement.
    """
    statements = statements_of(policy)
    kept = [one for one in statements if one.get("Sid") != sid]
    if policy is None or len(kept) == len(statements):
        return policy
    return {**policy, "Statement": kept} if kept else None


def wants_tls(policy: Mapping[str, Any] | None) -> bool:
    """Whether some statement refuses requests without TLS, whoever has written it."""
    return any(
        one.get("Effect") == "Deny"
        and _sorted(one.get("Condition")) == {"Bool": {"aws:SecureTransport": "false"}}
        for one in statements_of(policy)
    )


def statements_of(policy: Mapping[str, Any] | None) -> Sequence[Json]:
    """The statements of a policy, of which one alone may stand without a list."""
    told = (policy or {}).get("Statement") or []
    return [told] if isinstance(told, dict) else list(told)


def _meaning(statement: Mapping[str, Any]) -> Any:
    """What a statement says, however it is written and called."""
    return _sorted({name: value for name, value in statement.items() if name != "Sid"})


def _sorted(value: Any) -> Any:
    if value in ({"AWS": "*"}, {"AWS": ["*"]}):
        return "*"
    if isinstance(value, Mapping):
        return {name: _sorted(one) for name, one in value.items()}
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return sorted(map(str, value)) if len(value) != 1 else str(value[0])
    return value
