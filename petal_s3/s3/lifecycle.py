"""The lifecycle rules of the bucket: whether one collects uploads that were never joined."""

from __future__ import annotations

from petal_s3.errors import NotS3, Refused, S3BucketError, S3FileNotFoundError
from petal_s3.s3.client import S3
from petal_s3.s3.responses import withheld
from petal_s3.s3.shapes import Answer


async def stale_upload_rule(s3: S3, prefix: str) -> bool | None:
    """Whether a rule of the bucket aborts stale multipart uploads below ``prefix``.

    None where S3 does not say: no permission, or a server without such rules.
    """
    try:
        answer = await s3.server.call("get_bucket_lifecycle_configuration", {})
    except S3FileNotFoundError as error:
        return False if error.code == "no_lifecycle" else None
    except (Refused, NotS3):
        return None
    except S3BucketError as error:
        if not withheld(error):
            raise
        return None
    # S3 keeps no configuration without rules: an empty answer says nothing.
    rules = answer.get("Rules") or []
    return any(aborts_stale_uploads(rule, prefix) for rule in rules) if rules else None


def aborts_stale_uploads(rule: Answer, prefix: str) -> bool:
    """Whether a lifecycle rule aborts stale multipart uploads of every key below ``prefix``."""
    told = rule.get("AbortIncompleteMultipartUpload") or {}
    if rule.get("Status") != "Enabled" or not told.get("DaysAfterInitiation"):
        return False
    chosen = dict(rule.get("Filter") or {})
    chosen |= chosen.pop("And", None) or {}
    covered = chosen.pop("Prefix", None) or rule.get("Prefix") or ""
    return not chosen and prefix.startswith(covered)  # what is left chooses by tag or size
