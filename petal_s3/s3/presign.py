"""URLs that open one object for a while, without credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from petal_s3.errors import S3IntegrationError
from petal_s3.s3.client import S3
from petal_s3.s3.responses import Presigned, encryption_headers
from petal_s3.s3.shapes import Params


async def get_url(s3: S3, key: str, expires_s: int) -> Presigned:
    """A URL to read ``key``.

    It ends with the session token that signs it, and never claims to live longer.
    """
    return await _signed(s3, "get_object", "GET", {"Key": key}, {}, expires_s)


async def put_url(
    s3: S3,
    key: str,
    expires_s: int,
    *,
    size: int | None = None,
    content_type: str = "",
    metadata: Mapping[str, str] | None = None,
) -> Presigned:
    """A URL to write ``key`` where nothing stands there yet, encrypted as all is.

    ``size``: the URL takes bodies of so many bytes alone. Its ``headers`` must be sent along.
    """
    # The URL may add a log, and may not replace one that is there.
    params: dict[str, object] = {"Key": key, "IfNoneMatch": "*", **s3.server.encryption}
    headers = {"If-None-Match": "*", **encryption_headers(s3.server.encryption)}
    if s3.capabilities.lacks("put_condition"):
        del params["IfNoneMatch"], headers["If-None-Match"]
    if size is not None:
        params["ContentLength"] = size  # every client sends it by itself
    if content_type:
        params["ContentType"] = headers["Content-Type"] = content_type
    if metadata:
        params["Metadata"] = dict(metadata)
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
    return await _signed(s3, "put_object", "PUT", params, headers, expires_s)


async def _signed(
    s3: S3,
    operation: str,
    method: str,
    params: Params,
    headers: Mapping[str, str],
    expires_s: int,
) -> Presigned:
    if s3.clock.offset_s is None:  # a URL that was signed in 1970 opens nothing
        with contextlib.suppress(S3IntegrationError):
            await s3.head(params["Key"])
    expires_s = min(expires_s, await s3.server.calls.credentials_left_s())
    client = await s3.server.calls.connection.open()
    with s3.server.calls.errors():
        url: str = await client.generate_presigned_url(
            operation, Params={"Bucket": s3.bucket, **params}, ExpiresIn=expires_s
        )
    return Presigned(url, method, expires_s, headers)
