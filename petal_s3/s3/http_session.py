"""The HTTP session under the S3 client: no redirects, no hidden retries, the server's time."""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import asyncio
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4Auth, S3SigV4QueryAuth
from botocore.exceptions import HTTPClientError

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import AddressStyle
from petal_s3.errors import SourceChanged
from petal_s3.s3.headers import date_s

_SEND_BUFFER_BYTES = 128 * 1024
X509_NO_CHECK_TIME = 0x200000
_NOT_MODIFIED = 304
_LONGEST_ANSWER_BYTES = 16 * 1024 * 1024
# A server without a clock may live in 1970; beyond, a date is a joke, and soon no date at all.
_SANE_S = range(7_258_118_400)  # to 2200


class UnexpectedRedirect(HTTPClientError):
    """Somebody redirects: to follow would hand body and session token to a stranger."""

    fmt = "redirected (HTTP {status}) to another address"


class EndlessAnswer(HTTPClientError):
    """No answer of S3 but an object is so long; to read on would fill the memory."""

    fmt = "an answer of more than {limit} bytes"


class _Guard:
    """An aiohttp session that follows no redirect, sends nothing twice, reads nothing endless."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        # aiohttp silently repeats idempotent requests, a whole part among them, when the
        # connection drops. There is no public switch: aiohttp's minor version is pinned and a
        # test counts requests on the wire.
        session._retry_connection = False
        session._response_class = _Answer

    async def request(self, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        response = await self._session.request(*args, **{**kwargs, "allow_redirects": False})
        redirected = 300 <= response.status < 400 and response.status != _NOT_MODIFIED
        if redirected and "x-amz-request-id" not in response.headers:
            response.close()
            raise UnexpectedRedirect(status=response.status)
        return response


class _Answer(aiohttp.ClientResponse):
    """Whole answers are bounded; the stream of an object goes past this."""

    async def read(self) -> bytes:
        """Read it to its end; raises :class:`EndlessAnswer`."""
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:
                self.close()  # half an answer: nothing else may come over this connection
                raise
        return await super().read()

    async def _bounded(self) -> bytes:
        body = bytearray()
        async for block in self.content.iter_any():
            body += block
            if len(body) > _LONGEST_ANSWER_BYTES:
                raise EndlessAnswer(limit=_LONGEST_ANSWER_BYTES)
        # S3 defines no entities; a few lines of them grow to gigabytes when they are parsed, and
        # the parsers of older systems let them. In UTF-16 a zero stands between the letters.
        if b"<!ENTITY" in body.replace(b"\0", b""):
            raise EndlessAnswer(limit=_LONGEST_ANSWER_BYTES)
        return bytes(body)


class Session(AIOHTTPSession):
    """aiobotocore's HTTP session behind the guard."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Guard(await super()._get_session(proxy_url))  # type: ignore[misc]


class DatelessSession(Session):
    """Accept certificates outside their dates; issuer and name are checked as ever."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc]
        context.verify_flags |= X509_NO_CHECK_TIME
        return context


def _socket(info: Any) -> socket.socket:
    made = socket.socket(*info[:3])
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A small buffer keeps "handed to the kernel" close to "sent": honest progress, honest stalls.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    for name, value in (
        ("TCP_KEEPIDLE", 20),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        # No TCP_USER_TIMEOUT: Linux runs it on while a slow receiver opens its window in small
        # steps, and ends an upload that moves. Every call has a bound of its own.
    ):
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def client_config(
    *, connections: int, ignore_dates: bool, addressing_style: AddressStyle = "auto"
) -> AioConfig:
    """The botocore configuration: one try per call, v4 signatures, checksums only from us."""
    return AioConfig(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=15,
        # Slow is not dead: bodies are watched by their progress, calls by a deadline of their own.
        read_timeout=900,
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style, "payload_signing_enabled": False},
        connector_args={"socket_factory": _socket, "keepalive_timeout": 30},
        http_session_cls=DatelessSession if ignore_dates else Session,
    )


class ServerClock:
    """The server's time: ours plus an offset learnt from the ``Date`` of its answers."""

    def __init__(
        self,
        steady: Clock = clock.now,
        wall: Clock = time.time,
    ) -> None:
        self._steady = steady
        self._wall = wall
        self._base_s: float | None = None  # server time at steady 0

    def utcnow(self) -> datetime:
        """The server's time now, in UTC; the device's while none was learnt."""
        seconds = self._wall() if self._base_s is None else self._base_s + self._steady()
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)

    @property
    def offset_s(self) -> float | None:
        """How far the server is ahead of the device; none while nothing was learnt."""
        if self._base_s is None:
            return None
        return self._base_s + self._steady() - self._wall()

    def learn(self, date: str) -> float:
        """Take over an HTTP ``Date``; return by how many seconds our idea of time moved."""
        told = date_s(date)
        if told is None or int(told) not in _SANE_S:
            return 0.0
        moved = told - self.utcnow().timestamp()
        if self._base_s is None or abs(moved) > 30.0:
            self._base_s = told - self._steady()
        return abs(moved)


def register_signer(server_clock: ServerClock, name: str) -> str:
    """Register a v4 signer that signs with the server's time; return its signature version.

    botocore reads the device's clock; the time is replaced after it was set and before the
    canonical request is built. Only new names are added to botocore's table.
    """

    class Auth(S3SigV4Auth):
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = server_clock.utcnow().strftime(SIGV4_TIMESTAMP)
            super()._modify_request_before_signing(request)  # type: ignore[misc]

        def payload(self, request: Any) -> str:
            # A file window was hashed in a thread beforehand; never read a body on the loop.
            if isinstance(request.body, Window):
                return request.body.sha256 or "UNSIGNED-PAYLOAD"
            signed: str = super().payload(request)
            return signed

    class QueryAuth(S3SigV4QueryAuth):
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = server_clock.utcnow().strftime(SIGV4_TIMESTAMP)
            super()._modify_request_before_signing(request)  # type: ignore[misc]

    AUTH_TYPE_MAPS[name] = Auth
    AUTH_TYPE_MAPS[f"{name}-query"] = QueryAuth
    return name


class RateLimit:
    """Share a number of bytes per second among threads; 0 is no limit."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def mouthful(self) -> int | None:
        """Bytes to ask for at once: more would be a long wait, which looks like a stall."""
        return max(1, int(self.bytes_per_s / 4)) if self.bytes_per_s else None

    def wait(self, size: int) -> None:
        """Block this thread until ``size`` more bytes may leave."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + size / self.bytes_per_s
        time.sleep(max(0.0, start - now))


class Window(io.RawIOBase):
    """A stretch of an open file as a request body; remembers how far it was read, and when."""

    def __init__(  # noqa: PLR0913
        self,
        fd: int,
        offset: int,
        size: int,
        *,
        sha256: str = "",
        limit: RateLimit | None = None,
        on_read: Callable[[int], None] | None = None,
        now: Clock = clock.now,
    ) -> None:
        super().__init__()
        self.size = size
        self.sha256 = sha256
        self.position = 0
        self.farthest = 0
        self.moved_at = now()
        self.transport: asyncio.WriteTransport | None = None  # once it is on its way
        self._now = now
        self._fd = fd
        self._offset = offset
        self._limit = limit
        self._on_read = on_read

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: botocore rewinds to 0."""
        return True

    def tell(self) -> int:
        """Position within the window."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move within the window."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def readinto(self, buffer: Any, /) -> int:
        """Read on; raises :class:`SourceChanged` where the file ends early."""
        view = memoryview(buffer)[: max(0, self.size - self.position)]
        if not view:
            return 0
        if self._limit is not None:
            view = view[: self._limit.mouthful]
            self._limit.wait(len(view))
        read = os.preadv(self._fd, [view], self._offset + self.position)
        if read == 0:
            raise SourceChanged("The file became shorter while it was sent.")
        self.position += read
        self.moved_at = self._now()
        if self.position > self.farthest:
            if self._on_read is not None:
                self._on_read(self.position - self.farthest)
            self.farthest = self.position
        return read
