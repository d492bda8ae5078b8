"""Where the keys that requests are signed with come from: the token service, or AWS's own chain."""

from __future__ import annotations

import contextlib

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from petal_s3.core.threads import run_in
from petal_s3.errors import S3BucketError, S3CredentialsError
from petal_s3.s3 import named_files
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.details import aws_detail
from petal_s3.s3.signing import check_keys

_IN_FILES = {"shared-credentials-file", "config-file"}


class _Tokens(AioCredentials):
    """Hands the token service's credentials to the signer, at each request anew."""

    def __init__(self, tokens: TokenService) -> None:
        super().__init__("unused", "unused", "unused", method="petal-token-service")
        self._tokens = tokens

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
        held = await self._tokens.get()
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key, held.session_token)


class TokenProvider:
    """Gives botocore's chain the credentials of the token service, and no others."""

    METHOD = "petal-token-service"
    CANONICAL_NAME = None

    def __init__(self, tokens: TokenService) -> None:
        self._tokens = tokens

    async def load(self) -> _Tokens:
        """The credentials; botocore calls this, once a client."""
        return _Tokens(self._tokens)


async def keys_in_files() -> ReadOnlyCredentials | None:
    """The keys that AWS's own chain finds in a file; none where it finds others, or nothing."""
    with contextlib.suppress(BotoCoreError, S3BucketError):
        session = await run_in(None, named_files.session)
        found = await session.get_credentials()
        return None if found is None else await of_files(found)
    return None


async def of_files(found: AioCredentials) -> ReadOnlyCredentials | None:
    """The keys themselves, where they were found in a file."""
    return await found.get_frozen_credentials() if found.method in _IN_FILES else None


async def own_credentials() -> str:
    """Where AWS's own chain finds credentials (``env``, ``iam-role``, ...); empty: nowhere.

    Raises :class:`S3CredentialsError` where what it finds makes no sense, or fits no request.
    """
    try:
        found = await named_files.session().get_credentials()
    except BotoCoreError as error:
        raise S3CredentialsError(
            f"AWS's own credentials cannot be used{aws_detail(error)}.", code="no_credentials"
        ) from error
    if found is None:
        return ""
    if type(found) is AioCredentials:  # others may ask the network for them
        check_keys(await found.get_frozen_credentials())
    return str(found.method)
