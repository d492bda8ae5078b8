"""Check everything that a log needs on its way, and say what to do about what is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from petal_s3.admin.finding import Finding, trouble
from petal_s3.admin.local_checks import LOCAL_CHECKS, findings_of
from petal_s3.admin.permission_checks import CHECKS, try_all
from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.errors import S3CredentialsError, S3IntegrationError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import TokenService, token_service
from petal_s3.s3.signing_keys import own_credentials

_SKEW_S = 15 * 60.0


async def checkup(settings: Settings, ownership: KeyOwnership) -> AsyncIterator[Finding]:
    """Every check, in the order of a log's way; nothing is created, no lock is taken.

    Raises nothing but cancellation.
    """
    for local in LOCAL_CHECKS:
        for finding in await asyncio.to_thread(findings_of, local, settings, ownership):
            yield finding
    async with contextlib.AsyncExitStack() as stack:
        tokens = token_service(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.close)
        s3 = S3.from_settings(settings, tokens, connections=2)
        stack.push_async_callback(s3.close)
        credentials = await _credentials(tokens)
        yield credentials
        if credentials.state == "failed":
            for check in (*CHECKS, "clock"):
                yield Finding(check, "skipped", "needs credentials")
            return
        async for finding in try_all(
            s3,
            ownership,
            region=settings.region,
            sse=settings.sse,
            over_http=settings.over_http,
        ):
            yield finding
            if finding.check == "bucket":
                yield _clock(s3.clock.offset_s)


async def _credentials(tokens: TokenService | None) -> Finding:
    check = "credentials"
    try:
        if tokens is not None:
            left_s = (await tokens.get()).expires_at - clock.now()
            return Finding(check, "ok", f"the token service gave some for {left_s / 60:.0f} min")
        source = await own_credentials()
    except S3IntegrationError as error:
        return trouble(check, error)
    if source:
        return Finding(
            check, "ok", f"from AWS's own chain ({source}); it tells nothing of their life"
        )
    none = S3CredentialsError("There are none, neither from a token service nor from AWS's chain.")
    return trouble(check, none, "Set PETAL_S3_SESSION_TOKEN_URL.")


def _clock(offset_s: float | None) -> Finding:
    if offset_s is None:
        return Finding("clock", "skipped", "S3 has not told its time")
    where = "behind" if offset_s > 0 else "ahead of"
    found = f"this device is {abs(offset_s):.0f} s {where} S3"
    if abs(offset_s) <= _SKEW_S:
        return Finding("clock", "ok", found)
    return Finding(
        "clock",
        "warning",
        f"{found}; requests are signed with S3's time all the same",
        "Set the clock: names of logs and dates of certificates are read by it.",
    )
