"""The answer of a token service: credentials, and how long they live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BaseModel, Field, SecretStr

from petal_s3.errors import S3CredentialsError
from petal_s3.s3.sendable import CANNOT, is_sendable
from petal_s3.s3.server_time import date_s

DEFAULT_LIFE_S = 900.0


def _sendable(value: SecretStr) -> SecretStr:
    if not is_sendable(value.get_secret_value()):
        raise ValueError(CANNOT)
    return value


_Secret = Annotated[SecretStr, AfterValidator(_sendable)]


class SessionToken(BaseModel, defer_build=True):
    """What is read of the answer; more may stand in it."""

    access_key_id: _Secret = Field(alias="accessKeyId", min_length=1)
    secret_access_key: _Secret = Field(alias="secretAccessKey", min_length=1)
    session_token: _Secret = Field(alias="sessionToken", min_length=1)
    expiration: datetime | None = Field(
        None, validation_alias=AliasChoices("expiration", "Expiration", "expiresAt")
    )


def life_s(expiration: datetime | None, headers: Mapping[str, str]) -> float:
    """How long credentials live, in seconds, by the ``Date`` of the answer that brought them.

    Raises :class:`S3CredentialsError` for those that have expired.
    """
    if expiration is None:
        return DEFAULT_LIFE_S
    if expiration.tzinfo is None:
        expiration = expiration.replace(tzinfo=timezone.utc)
    answered_s = date_s(headers.get("date", ""))
    if answered_s is None:
        return DEFAULT_LIFE_S
    left_s = expiration.timestamp() - answered_s
    if left_s <= 0:
        raise S3CredentialsError(
            "The token service hands out credentials that have already expired.",
            code="token_service_nonsense",
        )
    return left_s
