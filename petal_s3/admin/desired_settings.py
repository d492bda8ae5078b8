"""Compute the desired settings of a bucket from the present ones; rules of others stay."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from petal_s3.errors import Refused
from petal_s3.objects.key_names import temporary_folder
from petal_s3.s3.lifecycle import aborts_stale_uploads

Json = dict[str, Any]
STALE_UPLOADS = "petal-s3-stale-uploads"
TMP = "petal-s3-tmp-"
VERSIONS = "petal-s3-versions"
BROWSER = "petal-s3-browser"
STALE_DAYS = 7
PUBLIC_ACCESS_BLOCK = (
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
)
"""The four switches: S3 User Guide, "Blocking public access to your Amazon S3 storage"."""
MOST_RULES = 1000
"""Lifecycle rules of one bucket: S3 User Guide, "Lifecycle configuration elements"."""


# Each takes what is now (none: never set) and returns what shall be: the very same where that
# is fine already, however it is written.


def versioned(now: str | None) -> str:
    """Versioning is on."""
    return "Enabled" if now != "Enabled" else now


def encrypted(now: Sequence[Json] | None, sse: str) -> Sequence[Json]:
    """The default encryption is what PETAL_S3_SSE says; ``none``: whatever it is."""
    if sse == "none":
        return now or []
    algorithm, key = (sse[:7], sse[8:]) if sse.startswith("aws:kms") else (sse, "")
    wanted: Json = {"SSEAlgorithm": algorithm}
    if key:
        wanted["KMSMasterKeyID"] = key
    rule = dict(now[0]) if now else {}
    default = rule.get("ApplyServerSideEncryptionByDefault") or {}
    keyed = algorithm != "aws:kms" or rule.get("BucketKeyEnabled") is True
    if now and keyed and wanted.items() <= default.items():
        return now
    if algorithm == default.get("SSEAlgorithm"):
        wanted = {**default, **wanted}
    rule["ApplyServerSideEncryptionByDefault"] = wanted
    rule.pop("BucketKeyEnabled", None)
    if algorithm == "aws:kms":  # one data key for many objects: KMS is asked less, and paid less
        rule["BucketKeyEnabled"] = True
    return [rule, *(now or [])[1:]]


def logged(now: Mapping[str, Any] | None, target: str, prefix: str) -> Mapping[str, Any]:
    """Access to the bucket is logged in ``target`` below ``prefix``."""
    wanted = {"TargetBucket": target, "TargetPrefix": prefix}
    kept = dict(now) if now is not None and now.get("TargetBucket") == target else {}
    return {**kept, **wanted}


def tmp_rule(upload_prefix: str, machine_id: str) -> Json:
    """The rule that expires a machine's temporary objects after a day.

    In a versioned bucket expiry only hides them; the versions go another day later.
    """
    return {
        "ID": f"{TMP}{machine_id}",
        "Status": "Enabled",
        "Filter": {"Prefix": temporary_folder(f"{upload_prefix}{machine_id}/")},
        "Expiration": {"Days": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }


def stale_rule() -> Json:
    """The rule that collects what uploads and deletions leave behind, in the whole bucket."""
    return {
        "ID": STALE_UPLOADS,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": STALE_DAYS},
    }


def versions_rule(days: int) -> Json:
    """The rule that erases what was overwritten or deleted ``days`` ago, in the whole bucket."""
    return {
        "ID": VERSIONS,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }


def ruled(now: Mapping[str, Any] | None, more: Sequence[Json]) -> Json:
    """The lifecycle with our rules in it, and ``more`` of ours that are asked for.

    Raises :class:`Refused` where they do not fit in.
    """
    told: Json = dict(now or {"Rules": []})
    rules = list(told["Rules"])
    collected = any(aborts_stale_uploads(rule, "") for rule in rules)
    if not (collected and any(_removes_markers(rule) for rule in rules)):
        rules = _put(rules, stale_rule())
    for rule in more:
        rules = _put(rules, rule)
    if rules == told["Rules"]:
        return told
    if len(rules) > MOST_RULES:
        raise Refused(
            f"The bucket would have {len(rules)} lifecycle rules, and S3 takes {MOST_RULES}: leave"
            " machines out; each sweeps its own tmp/ as well.",
            code="too_many_rules",
        )
    # S3 takes no rule that names its prefix in the old way beside one with a filter.
    return {**told, "Rules": [_filtered(rule) for rule in rules]}


def _removes_markers(rule: Mapping[str, Any]) -> bool:
    expires = rule.get("Expiration") or {}
    whole = not (rule.get("Filter") or {}).get("Prefix") and not rule.get("Prefix")
    chosen = set(rule.get("Filter") or {}) - {"Prefix"}
    return (
        rule.get("Status") == "Enabled"
        and whole
        and not chosen
        and bool(expires.get("ExpiredObjectDeleteMarker") or expires.get("Days"))
    )


def _filtered(rule: Json) -> Json:
    if "Prefix" not in rule:
        return rule
    kept = {name: value for name, value in rule.items() if name != "Prefix"}
    return {"Filter": {"Prefix": rule["Prefix"]}, **kept}


def for_browsers(now: Sequence[Json] | None, origins: Sequence[str]) -> Sequence[Json] | None:
    """Pages of ``origins`` may use presigned URLs; without origins those that were named before."""
    named = list(origins) or let_in(now)
    if not named:
        return now
    wanted = {
        "ID": BROWSER,
        "AllowedMethods": ["GET", "PUT", "HEAD"],
        "AllowedOrigins": named,
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }
    return _put(list(now or []), wanted)


def let_in(now: Sequence[Json] | None) -> list[str]:
    """The origins that our rule names."""
    ours = next((rule for rule in now or () if rule.get("ID") == BROWSER), {})
    return list(ours.get("AllowedOrigins") or [])


def blocked(now: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """No policy and no ACL opens the bucket to the public."""
    return {**(now or {}), **dict.fromkeys(PUBLIC_ACCESS_BLOCK, True)}


def _put(rules: list[Json], wanted: Json) -> list[Json]:
    """``rules`` with ``wanted`` in the place of the one of its id, or at the end."""
    for at, rule in enumerate(rules):
        if rule.get("ID") == wanted["ID"]:
            same = _meaning(rule) == _meaning(wanted)
            return rules if same else [*rules[:at], wanted, *rules[at + 1 :]]
    return [*rules, wanted]


def _meaning(value: Any) -> Any:
    """A rule without what is empty, and without the order of its lists."""
    if isinstance(value, Mapping):
        told = {name: _meaning(one) for name, one in value.items() if name != "Prefix" or one}
        return {name: one for name, one in told.items() if one not in ({}, None)}
    return sorted(value) if isinstance(value, list) else value


# -- what differs, for people


def differences(now: Any, wanted: Any) -> list[str]:
    """What has to be done so that ``now`` becomes ``wanted``, each in one line."""
    if now == wanted:
        return []
    if isinstance(wanted, str):
        return [f"{now or 'never set'} -> {wanted}"]
    before, after = _named(now), _named(wanted)
    lines = [
        f"removes {name}: {_shown(value)}"
        for name, value in before.items()
        if name not in after and value not in after.values()
    ]
    for name, value in after.items():
        if value in before.values():
            continue
        if name not in before:
            lines.append(f"adds {name}: {_shown(value)}")
        else:
            lines.append(f"changes {name}: {_shown(before[name])} -> {_shown(value)}")
    return lines or [f"rewrites it: {_shown(wanted)}"]


def _named(value: Any) -> Json:
    """The parts of a value by a name that tells them apart."""
    if value is None:
        return {}
    parts = value if isinstance(value, Sequence) else value.get("Rules") or value.get("Statement")
    if parts is None:
        return dict(value)
    parts = [parts] if isinstance(parts, Mapping) else parts
    return {
        str(part.get("ID") or part.get("Sid") or f"part {number}"): part
        for number, part in enumerate(parts, 1)
    }


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {name: one for name, one in value.items() if name not in {"ID", "Sid"}}
    return value if isinstance(value, str) else json.dumps(value, default=str)
