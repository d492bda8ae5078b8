"""Credentials travel in headers, which carry printable ASCII alone (RFC 9110, 5.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from petal_s3.errors import S3CredentialsError

CANNOT = "holds a space, a line break, a control character or one beyond ASCII"
_PRINTABLE = re.compile(r"[\x21-\x7e]*")


def is_sendable(value: str) -> bool:
    """Whether a header can carry ``value`` as it is; no credentials of AWS hold a space."""
    return _PRINTABLE.fullmatch(value) is not None


def check_sendable(named: Mapping[str, str | None]) -> None:
    """Raise :class:`S3CredentialsError` that names what no request can carry; quotes nothing.

    ``named``: credentials by the names that a person knows them by.
    """
    for name, value in named.items():
        if value is not None and not is_sendable(value):
            raise S3CredentialsError(
                f"The credentials cannot be sent: {name} {CANNOT}.", code="credentials_unsendable"
            )
