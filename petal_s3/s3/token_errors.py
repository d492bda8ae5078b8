"""What is wrong with the token service, or with its answer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from petal_s3.core.files import no_descriptors
from petal_s3.errors import S3CredentialsError
from petal_s3.s3 import tls_dates
from petal_s3.s3.details import connection_detail, tls_detail
from petal_s3.s3.sendable import CANNOT
from petal_s3.s3.server_time import retry_after_s

# What the other side says in TLS of the certificate that it got, or did not get (RFC 8446, 6.2).
_WANTS_CERTIFICATE = re.compile(
    "ALERT_(CERTIFICATE_|BAD_CERTIFICATE|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)"
)


def same_again(error: S3CredentialsError) -> S3CredentialsError:
    """The same error for another caller that waited for the same fetch."""
    return S3CredentialsError(
        error.message, code=error.code, peer=error.peer, retry_after_s=error.retry_after_s
    )


def unreached(where: str, peer: tuple[str, int], error: Exception) -> S3CredentialsError:
    """The service at ``where`` could not be reached."""
    import aiohttp  # noqa: PLC0415 - slow; by now it is imported

    full = no_descriptors(error) if isinstance(error, OSError) else None
    if full is not None:
        return S3CredentialsError(full.message, code=full.code)
    text = str(error)
    if "certificate is not yet valid" in text or "certificate has expired" in text:
        return S3CredentialsError(
            f"{where} has a certificate that {tls_dates.unfit(text, time.time())}.",
            code="tls_dates",
        )
    if _WANTS_CERTIFICATE.search(text):
        return S3CredentialsError(
            f"{where} refuses the client certificate of this machine, or asks for one: check"
            " PETAL_S3_SESSION_TOKEN_CERT.",
            code="token_service_refused",
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        text = f"the proxy on the way answered HTTP {error.status}"
    elif isinstance(error, aiohttp.ClientSSLError):
        text = f"its certificate: {tls_detail(text)}" if "certificate" in text else "no TLS there"
    elif isinstance(error, aiohttp.ClientConnectionError | OSError):
        text = connection_detail(_causes(error))
    else:
        text = "its answer is not one of HTTP, or broke off"
    return S3CredentialsError(
        f"{where} cannot be reached ({text}).", code="token_service_down", peer=peer
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    one: BaseException | None = error
    for _ in range(8):
        if one is None:
            return
        yield one
        inner = getattr(one, "os_error", None)
        if isinstance(inner, BaseException) and inner is not one:
            yield inner
        one = one.__cause__


def refusal(where: str, status: int, headers: Mapping[str, str]) -> S3CredentialsError:
    """The service at ``where`` answered with another status than of success."""
    if 300 <= status < 400:
        return S3CredentialsError(
            f"{where} redirects elsewhere: the network may need a login.",
            code="token_service_nonsense",
        )
    if status in {401, 403}:
        return S3CredentialsError(
            f"{where} refuses this machine (HTTP {status}): check its registration.",
            code="token_service_refused",
        )
    return S3CredentialsError(
        f"{where} answers HTTP {status}.",
        code="token_service_down",
        retry_after_s=retry_after_s(headers),
    )


def nonsense(where: str, error: ValidationError, headers: Mapping[str, str]) -> S3CredentialsError:
    """An answer that holds no credentials; nothing of it is quoted, which may be a secret."""
    return S3CredentialsError(
        f"{where} answered nonsense: {_what_is_wrong(error, headers)}.",
        code="token_service_nonsense",
    )


def _what_is_wrong(error: ValidationError, headers: Mapping[str, str]) -> str:
    if "html" in headers.get("content-type", ""):
        return "a web page instead of credentials; the network may need a login"
    first = error.errors(include_input=False, include_url=False)[0]
    field_name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return f"{field_name} {CANNOT}, and cannot be sent"
    if field_name:
        return f"{field_name} is missing or wrong"
    return "no JSON object"
