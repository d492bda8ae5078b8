"""Connect to buckets with an administrator's credentials."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from petal_s3.core.settings import Settings
from petal_s3.errors import S3CredentialsError
from petal_s3.s3.calls import Calls
from petal_s3.s3.credentials import TokenService, token_service
from petal_s3.s3.s3_settings import s3_settings
from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.signing_keys import own_credentials


@contextlib.asynccontextmanager
async def calls_for(settings: Settings, *buckets: str) -> AsyncIterator[list[Calls]]:
    """Calls for each bucket, with an administrator's credentials.

    AWS's own chain comes first: a machine's credentials, from the token service, rarely allow
    this. Raises :class:`S3CredentialsError` where neither has any.
    """
    async with contextlib.AsyncExitStack() as stack:
        tokens = await _tokens(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.close)
        made = [_calls(settings, name, tokens) for name in buckets]
        for calls in made:
            stack.push_async_callback(calls.close)
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
    return token_service(settings)


def _calls(settings: Settings, bucket: str, tokens: TokenService | None) -> Calls:
    return Calls(s3_settings(settings, connections=2, bucket=bucket), tokens, ServerClock())
