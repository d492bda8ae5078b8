"""Look at what an administrator has set for the whole bucket; a machine may rarely ask."""

from __future__ import annotations

from petal_s3.admin import public_access
from petal_s3.admin.finding import Finding
from petal_s3.errors import NotS3
from petal_s3.s3 import lifecycle
from petal_s3.s3.client import S3

STALE, PUBLIC = "stale uploads", public_access.CHECK


async def stale_uploads(s3: S3, home: str) -> Finding:
    """Whether the bucket collects what is never completed below ``home``."""
    told = await lifecycle.stale_upload_rule(s3, home)
    fine = "a lifecycle rule collects uploads that are never completed"
    if told is None:
        return Finding(STALE, "skipped", "the bucket does not tell a machine its rules")
    if told:
        return Finding(STALE, "ok", fine)
    advice = "An administrator sets one with: petal-s3 bucket setup"
    return Finding(STALE, "warning", f"no{fine[1:]}", advice)


async def public(s3: S3) -> Finding:
    """Who may get at the bucket without being let in by name."""
    try:
        seen = await public_access.look(s3.server.calls)
    except NotS3 as error:
        return Finding(PUBLIC, "skipped", error.message.rstrip("."))
    if seen.is_open:
        advice = public_access.advice(s3.bucket)
        return Finding(PUBLIC, "warning", seen.sentence, advice)
    return Finding(PUBLIC, "skipped" if len(seen.untold) == 2 else "ok", seen.sentence)
