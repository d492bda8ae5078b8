"""The HTTP session under the S3 client: no redirects, no hidden retries, no endless answers."""

from __future__ import annotations

import petal_s3.s3.fitting

# isort: split
import contextlib
import ssl
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import HTTPClientError

import petal_s3.s3.body_writing  # noqa: F401 - aiohttp learns to send parts of files
from petal_s3.core.clock import Clock
from petal_s3.s3.tls_dates import dateless

_NOT_MODIFIED = 304
_LONGEST_ANSWER_BYTES = 16 * 1024 * 1024


class UnexpectedRedirect(HTTPClientError):
    """A redirect: to follow it would hand body and session token to an unknown server."""

    fmt = "redirected (HTTP {status}) to another address"


class EndlessAnswer(HTTPClientError):
    """An answer longer than any of S3 except an object; to read on would fill the memory."""

    fmt = "an answer of more than {limit} bytes"


class GuardedSession:
    """An aiohttp session that follows no redirect, sends nothing twice, reads nothing endless."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        # aiohttp silently repeats idempotent requests, a whole part among them, when the
        # connection drops. There is no public switch: aiohttp's minor version is pinned and a
        # test counts requests on the wire.
        session._retry_connection = False
        session._response_class = _BoundedResponse

    async def request(self, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        """Send a request once; raises :class:`UnexpectedRedirect`."""
        response = await self._session.request(*args, **{**kwargs, "allow_redirects": False})
        redirected = 300 <= response.status < 400 and response.status != _NOT_MODIFIED
        if redirected and "x-amz-request-id" not in response.headers:
            response.close()
            raise UnexpectedRedirect(status=response.status)
        return response


class _BoundedResponse(aiohttp.ClientResponse):
    """Whole answers are bounded; the stream of an object goes past this."""

    async def read(self) -> bytes:
        """Read it to its end; raises :class:`EndlessAnswer`."""
        if self._body is None:
            with contextlib.ExitStack() as on_error:
                on_error.callback(self.close)  # half an answer: the connection is used no more
                self._body = await self._bounded()
                on_error.pop_all()
        return await super().read()

    async def _bounded(self) -> bytes:
        body = bytearray()
        async for block in self.content.iter_any():
            body += block
            if len(body) > _LONGEST_ANSWER_BYTES:
                raise EndlessAnswer(limit=_LONGEST_ANSWER_BYTES)
        # S3 defines no entities; a few lines of them grow to gigabytes when they are parsed, which
        # the parsers of older systems permit. In UTF-16 a zero stands between the letters.
        if b"<!ENTITY" in body.replace(b"\0", b""):
            raise EndlessAnswer(limit=_LONGEST_ANSWER_BYTES)
        return bytes(body)


class Session(AIOHTTPSession):
    """aiobotocore's HTTP session, guarded."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return GuardedSession(await super()._get_session(proxy_url))  # type: ignore[misc]


def dateless_session(wall: Clock) -> type[Session]:
    """Sessions with :class:`~petal_s3.s3.tls_dates.DatelessContext`, by the date of ``wall``."""

    class DatelessSession(Session):
        def _get_ssl_context(self) -> ssl.SSLContext:
            return dateless(super()._get_ssl_context(), wall)  # type: ignore[misc]

    return DatelessSession
