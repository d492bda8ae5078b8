"""Whether a server encrypts as PETAL_S3_SSE asks, and what to say where it does not."""

from __future__ import annotations

import contextlib

from petal_s3.errors import S3BucketError, S3IntegrationError
from petal_s3.s3 import multipart, trials
from petal_s3.s3.client import S3
from petal_s3.s3.options import is_vague


async def refused(s3: S3, key: str, refusal: S3IntegrationError) -> S3IntegrationError:
    """What to say of a refused upload at ``key``: that it is the encryption, where that is so."""
    try:
        upload_id = await trials.begin(s3, key, encrypted=False)
    except S3IntegrationError:
        return refusal
    await multipart.abort(s3, key, upload_id)
    if is_vague(refusal):
        with contextlib.suppress(S3IntegrationError):
            await multipart.abort(s3, key, await trials.begin(s3, key, encrypted=True))
            return refusal  # it was in trouble for a moment
    s3.learn("encryption", offered=False, by=str(refusal.told))
    return lacking(f"{refusal.told}, and without it was accepted")


def lacking(seen: str) -> S3BucketError:
    """What to say where objects would be stored otherwise than PETAL_S3_SSE asks."""
    return S3BucketError(
        f"The server does not encrypt as it is asked to ({seen}): set PETAL_S3_SSE to what it"
        " offers, or to none.",
        code="encryption",
    )
