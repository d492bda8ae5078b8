"""Files that AWS's settings name: whatever is no regular file is refused before it is opened.

botocore and TLS open them by their path, and a named pipe would hold the event loop for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from aiobotocore.session import AioSession

from petal_s3.core.files import not_a_file
from petal_s3.errors import S3BucketError

# The variables that botocore reads a file by, and where that is unless they say otherwise.
_VARIABLES = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ("AWS_CREDENTIAL_FILE", ""),
    ("BOTO_CONFIG", "~/.boto"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""),
)
_OF_A_PROFILE = ("ca_bundle", "web_identity_token_file")


def session() -> AioSession:
    """A session of AWS's own chain, whose files may be opened.

    Raises :class:`S3BucketError` with the name of the setting where one is no regular file, and
    what botocore raises for settings that make no sense.
    """
    for name, usual in _VARIABLES:
        _check(name, os.environ.get(name) or usual)
    made = AioSession()
    for name, path in _named_in(made):
        _check(name, path)
    return made


def _named_in(made: AioSession) -> Iterator[tuple[str, str]]:
    """What the profile names, and the authorities that TLS trusts."""
    profile = made.get_scoped_config()
    for name in _OF_A_PROFILE:
        yield f"{name} of AWS's settings", str(profile.get(name) or "")
    variable = "AWS_CA_BUNDLE" if made.get_config_variable("ca_bundle") else "REQUESTS_CA_BUNDLE"
    yield variable, os.environ.get(variable, "")


def _check(name: str, path: str) -> None:
    place = Path(path).expanduser() if path else None
    found = not_a_file(place) if place is not None else ""
    if found and str(place) != os.devnull:  # that names no file, on purpose
        raise S3BucketError(
            f"{name} names {place}, which is {found}: a file is expected.", code="aws_settings"
        )
