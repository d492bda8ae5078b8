"""Connect to buckets with an administrator's credentials."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from petal_s3.core.settings import Settings
from petal_s3.errors import S3CredentialsError
from petal_s3.s3.calls import Caller, own_credentials
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.http_session import ServerClock

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
