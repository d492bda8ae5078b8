"""How this machine authenticates to its token service: a bearer token, a client certificate."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.clock import Clock
from petal_s3.core.files import check_descriptors, read_file
from petal_s3.errors import S3CredentialsError
from petal_s3.s3.plain_http import is_open
from petal_s3.s3.sendable import is_sendable
from petal_s3.s3.tls_dates import dateless

TOKEN_FILE, CERTIFICATE = "PETAL_S3_SESSION_TOKEN_FILE", "PETAL_S3_SESSION_TOKEN_CERT"
_URL = "PETAL_S3_SESSION_TOKEN_URL"
_MOST_BYTES = 16 * 1024


@dataclass(frozen=True)
class TokenLogin:
    """Files that are read anew at each call; none of them: the URL alone opens the service."""

    token_file: Path | None = None
    certificate: Path | None = None

    def __bool__(self) -> bool:
        return self.token_file is not None or self.certificate is not None

    def check_way(self, url: str, *, has_login: bool) -> None:
        """Raise :class:`S3CredentialsError` where ``url`` must not, or cannot, be told of these.

        ``has_login``: whether the URL has a login of its own, which is sent in the same header.
        """
        if self.token_file is not None and is_open(url):
            raise _unusable(
                f"The bearer token of {TOKEN_FILE} is not sent over plain http: {_URL} has to begin"
                " with https://."
            )
        if self.token_file is not None and has_login:
            raise _unusable(f"{_URL} holds a login, and {TOKEN_FILE} is set: only one can be sent.")
        if self.certificate is not None and not url.startswith("https:"):
            raise _unusable(f"{CERTIFICATE} is set: {_URL} has to begin with https://.")

    def headers(self) -> dict[str, str]:
        """What the request carries; blocking. Raises :class:`S3CredentialsError`."""
        if self.token_file is None:
            return {}
        return {"Authorization": f"Bearer {bearer_token(self.token_file)}"}

    def context(self, *, ignore_dates: bool, wall: Clock) -> ssl.SSLContext | None:
        """The TLS context of the request, none for the usual one; blocking.

        ``wall``: the device's date, in seconds since 1970. Raises :class:`S3CredentialsError`.
        """
        if self.certificate is None and not ignore_dates:
            return None
        context = ssl.create_default_context()
        if self.certificate is not None:
            load_certificate(context, self.certificate)
        return dateless(context, wall) if ignore_dates else context


def bearer_token(file: Path) -> str:
    """The bearer token in ``file``; blocking. A line break at its end is none of it.

    Raises :class:`S3CredentialsError`, which quotes nothing of it.
    """
    found = _content(TOKEN_FILE, file)
    line = found.removesuffix(b"\n").removesuffix(b"\r")
    token = line.decode("ascii", "replace")  # what replaces is none that can be sent
    if not token:
        raise _unusable(f"The file of {TOKEN_FILE} is empty: a bearer token is expected in it.")
    if len(found) > _MOST_BYTES or not is_sendable(token):
        raise _unusable(
            f"The file of {TOKEN_FILE} holds no bearer token: one line of printable ASCII"
            " characters without spaces is expected."
        )
    return token


def load_certificate(context: ssl.SSLContext, file: Path) -> None:
    """Have ``context`` show the certificate in ``file``; blocking.

    Raises :class:`S3CredentialsError`, which quotes nothing of it.
    """
    _content(CERTIFICATE, file)  # a pipe would be waited for, when it is opened by its path
    try:
        context.load_cert_chain(file, password=_no_password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise _unusable(
            f"The file of {CERTIFICATE} cannot be used: a certificate and its key, without a"
            " password, are expected in it as PEM."
        ) from error


def open_to_others(file: Path) -> str:
    """The mode of ``file`` where others may read or change it, as ``0644``; else empty; blocking.

    Raises ``OSError``.
    """
    mode = stat.S_IMODE(file.stat().st_mode)
    return f"{mode:04o}" if mode & 0o077 else ""


def _no_password() -> str:
    raise ValueError("no person is there to be asked")


def _content(setting: str, file: Path) -> bytes:
    try:
        return read_file(file, _MOST_BYTES + 1)
    except OSError as error:
        check_descriptors(error)
        raise _unusable(f"The file of {setting} cannot be read ({error.strerror}).") from error


def _unusable(sentence: str) -> S3CredentialsError:
    return S3CredentialsError(sentence, code="token_service_login")
