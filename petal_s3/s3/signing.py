"""What a request is signed with: the server's time, and the md5 of a setting."""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

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
    from http.client import HTTPMessage as HTTPHeaders

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

        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            headers: object = request.headers
            if not isinstance(headers, dict):  # botocore's own request
                return super().headers_to_sign(request)
            bare = cast(
                "AWSRequest", PlainRequest(str(request.method), str(request.url), {}, None, {})
            )
            host = super().headers_to_sign(bare).items()
            return cast("HTTPHeaders", _Signed({**dict(host), **signed_of(headers)}))

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


class _Signed(dict[str, str]):
    """Headers to be signed, each of which is there once."""

    def get_all(self, name: str) -> list[str]:
        """The values of a header."""
        return [self[name]]


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
