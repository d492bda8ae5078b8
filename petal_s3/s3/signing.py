"""What a request is signed with: the server's time, and the md5 of a setting."""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from botocore.auth import (
    AUTH_TYPE_MAPS,
    SIGNED_HEADERS_BLACKLIST,
    SIGV4_TIMESTAMP,
    S3SigV4Auth,
    S3SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from petal_s3.s3.request_body import FilePart
from petal_s3.s3.sendable import check_sendable
from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.shapes import Params

if TYPE_CHECKING:
    from botocore.model import OperationModel


def register_signer(server_clock: ServerClock, name: str) -> str:
    """Register a v4 signer that signs with the server's time; return its signature version.

    botocore reads the device's clock; the time is replaced after it was set and before the
    canonical request is built. Only new names are added to botocore's table.
    """

    class Auth(S3SigV4Auth):
        def _modify_request_before_signing(self, request: AWSRequest) -> None:
            check_keys(self.credentials)
            request.context["timestamp"] = server_clock.utcnow().strftime(SIGV4_TIMESTAMP)
            super()._modify_request_before_signing(request)  # type: ignore[misc]

        def payload(self, request: AWSRequest) -> str:
            # A file's part was hashed in a thread beforehand; never read a body on the loop.
            body: object = request.body
            if isinstance(body, FilePart):
                return body.digest.sha256 or "UNSIGNED-PAYLOAD"
            signed: str = super().payload(request)
            return signed

        def add_auth(self, request: AWSRequest) -> None:
            plain: object = request
            if isinstance(plain, PlainRequest):
                check_keys(self.credentials)
                at = server_clock.utcnow().strftime(SIGV4_TIMESTAMP)
                where = self._region_name, self._service_name  # type: ignore[attr-defined]
                _sign(plain, self.credentials, at, where, self.payload(request))
            else:
                super().add_auth(request)

    class QueryAuth(S3SigV4QueryAuth):
        def _modify_request_before_signing(self, request: AWSRequest) -> None:
            check_keys(self.credentials)
            request.context["timestamp"] = server_clock.utcnow().strftime(SIGV4_TIMESTAMP)
            super()._modify_request_before_signing(request)  # type: ignore[misc]

    AUTH_TYPE_MAPS[name] = Auth
    AUTH_TYPE_MAPS[f"{name}-query"] = QueryAuth
    return name


@dataclass
class PlainRequest:
    """A request as botocore's signer and HTTP session look at it.

    Its headers are a plain mapping: botocore's own costs more than all else that is done with it.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: FilePart | None
    context: dict[str, object] = field(repr=False)
    params: Mapping[str, str] = field(default_factory=dict)
    stream_output: bool = False


def _sign(
    request: PlainRequest,
    keys: Credentials | ReadOnlyCredentials,
    at: str,
    where: tuple[str, str],
    payload: str,
) -> None:
    """Sign a request with plain headers, as AWS Signature Version 4 says (for S3: the path is taken
    as it is); ``where``: region and service. botocore takes ten times as long for the same."""
    headers = request.headers
    headers["X-Amz-Date"] = at
    if keys.token:
        headers["X-Amz-Security-Token"] = keys.token
    headers["X-Amz-Content-SHA256"] = payload
    base, _, query = request.url.partition("?")
    path = base.partition("://")[2].partition("/")[2]
    signed = {"host": _host(base.removesuffix(f"/{path}")), **signed_of(headers)}
    names = sorted(signed)
    lines = [request.method, f"/{path}", "&".join(sorted(query.split("&")))]
    lines += [f"{name}:{' '.join(signed[name].split())}" for name in names]
    lines += ["", ";".join(names), payload]
    scope = "/".join((at[:8], *where, "aws4_request"))
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{whole}".encode(), "sha256")
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope},"
        f" SignedHeaders={';'.join(names)}, Signature={signature.hex()}"
    )


@lru_cache(maxsize=8)
def _host(base: str) -> str:
    """The header that goes with requests to the address ``base``, as botocore puts it."""
    found = S3SigV4Auth(Credentials("", ""), "", "").headers_to_sign(AWSRequest("HEAD", url=base))
    return str(found["host"])


def signed_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Of the headers of a request those that botocore signs, by their names in lower case."""
    named = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in named.items() if name not in SIGNED_HEADERS_BLACKLIST}


def check_keys(keys: Credentials | ReadOnlyCredentials) -> None:
    """Raise where no request can carry the keys: aiohttp would take it for a broken link."""
    check_sendable(
        {
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "aws_session_token": keys.token,
        }
    )


def send_md5(model: OperationModel, params: Params, **_: object) -> None:
    """Send the md5 of a setting beside the CRC32 that botocore sends.

    Ceph and others know only ``Content-MD5``, and refuse a lifecycle without it; botocore has
    left it out since 1.36. For its event ``before-call``.
    """
    body = params.get("body")
    if model.http_checksum.get("requestChecksumRequired") and isinstance(body, bytes):
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        params["headers"].setdefault("Content-MD5", base64.b64encode(md5).decode())
