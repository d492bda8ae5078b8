"""Fetch session tokens and know how long they live."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.threads import run_in
from petal_s3.errors import S3BucketError, S3CredentialsError
from petal_s3.s3.forward_proxy import peer_of, proxy_for
from petal_s3.s3.token_answer import SessionToken, life_s
from petal_s3.s3.token_errors import nonsense, refusal, same_again, unreached
from petal_s3.s3.token_login import TokenLogin

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("petal_s3")

_MARGIN_S = 120.0
_APART_S = 60.0  # robots that got their tokens together renew them within so long
_AGAIN_S = 10.0
_NO_LOGIN = TokenLogin()
_MAX_ANSWER_BYTES = 64 * 1024
_HTTP_OK = range(200, 300)


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials; ``expires_at`` on the clock that was passed in."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float
    generation: int


class TokenService:
    """Session credentials from the token service, one fetch at a time, shared by all calls.

    Renewed before they expire, by a clock that is never set: the life of a token is its
    expiration minus the ``Date`` of the same answer, so the device's own date plays no part.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        ignore_dates: bool = False,
        login: TokenLogin = _NO_LOGIN,
        clock: Clock = clock.now,
        wall: Clock = time.time,
    ) -> None:
        """``ignore_dates``: as PETAL_S3_TLS_IGNORE_DATES, by the date of ``wall``; ``login``: how
        this machine authenticates."""
        self._url = url
        self._ignore_dates = ignore_dates
        self._login = login
        self._wall = wall
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._current: Credentials | None = None
        self._renew_at = 0.0
        self._fetched = 0
        self.tries = 0
        self.spread: Callable[[], float] = random.random
        """Jitter: how much earlier than need be tokens are renewed, 0..1."""
        self._refusal: S3CredentialsError | None = None

    @property
    def current(self) -> Credentials | None:
        """The credentials at hand, or none; sends nothing."""
        held = self._current
        return held if held is not None and self._clock() < held.expires_at else None

    async def get(self) -> Credentials:
        """Return valid credentials, fetching them when needed.

        Raises :class:`S3CredentialsError` with the reason; credentials that are still valid
        are used on while the service cannot be reached.
        """
        if self._current is not None and self._clock() < self._renew_at:
            return self._current
        tries = self.tries
        async with self._lock:
            if self._current is not None and self._clock() < self._renew_at:
                return self._current
            if self.tries != tries and self._refusal is not None:
                raise same_again(self._refusal)  # a fetch was waited for, and ended so
            return await self._renew_or_hold()

    def invalidate(self, generation: int) -> None:
        """Drop the credentials of ``generation``: S3 does not accept them any more.

        Later generations are kept, so that many users of one dead token cause one fetch.
        """
        if self._current is not None and self._current.generation == generation:
            self._current = None

    async def close(self) -> None:
        """Close the connection to the service."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _renew_or_hold(self) -> Credentials:
        self._refusal = None
        try:
            return await self._renew()
        except S3CredentialsError as error:
            held = self.current
            if held is None:
                self._refusal = error
                raise
            log.warning("credentials renewal deferred reason=%s", error.message)
            again_s = _AGAIN_S * (1.0 + self.spread())
            self._renew_at = min(held.expires_at, self._clock() + again_s)
            return held
        finally:
            self.tries += 1

    async def _renew(self) -> Credentials:
        answer, life_s = await self._fetch()
        self._fetched += 1
        now = self._clock()
        early_s = self.spread() * min(_APART_S, life_s / 8)
        self._renew_at = now + life_s - min(_MARGIN_S, life_s / 4) - early_s
        self._current = Credentials(
            answer.access_key_id.get_secret_value(),
            answer.secret_access_key.get_secret_value(),
            answer.session_token.get_secret_value(),
            now + life_s,
            self._fetched,
        )
        log.info("credentials fetched life_s=%.0f", life_s)
        return self._current

    async def _fetch(self) -> tuple[SessionToken, float]:
        await run_in(None, _http_errors)  # slow, once: later it is at hand
        from yarl import URL  # noqa: PLC0415 - imported with aiohttp

        url = URL(self._url)
        where = f"The token service at {url.host}"
        self._login.check_way(str(url), has_login=bool(url.user or url.password))
        try:
            proxy, peer = proxy_for(str(url)), peer_of(str(url))
        except S3BucketError as error:
            raise S3CredentialsError(
                f"{where} cannot be reached. {error.message}", code="token_service_down"
            ) from error
        try:
            status, headers, body = await self.post(proxy)
        except asyncio.TimeoutError:
            raise S3CredentialsError(
                f"{where} cannot be reached (no answer within {self._timeout_s:g} s).",
                code="token_service_down",
                peer=peer,
            ) from None
        except _http_errors() as error:
            # Without its cause, which carries the request, and with it passwords.
            raise unreached(where, peer, error) from None
        if status not in _HTTP_OK:
            raise refusal(where, status, headers)
        try:
            answer = SessionToken.model_validate_json(body)
        except ValidationError as error:
            raise nonsense(where, error, headers) from None  # the cause carries the body: a secret
        return answer, life_s(answer.expiration, headers)

    async def post(self, proxy: str | None) -> tuple[int, dict[str, str], bytes]:
        """Make one request for credentials; gives status, headers and body."""
        login = await asyncio.to_thread(self._login.headers) if self._login else {}
        session = await self._opened()
        # A redirect is a captive portal: it must not get a request that yields secrets.
        async with session.post(
            self._url, allow_redirects=False, proxy=proxy, headers=login
        ) as response:
            body = await response.content.read(_MAX_ANSWER_BYTES)
            while not response.content.at_eof() and len(body) < _MAX_ANSWER_BYTES:
                body += await response.content.read(_MAX_ANSWER_BYTES - len(body))
            headers = {name.lower(): value for name, value in response.headers.items()}
            return response.status, headers, body

    async def _opened(self) -> aiohttp.ClientSession:
        """The session; one with a certificate is made anew, as that may have been renewed."""
        if self._session is not None and self._login.certificate is None:
            return self._session
        await self.close()
        context: ssl.SSLContext | None = None
        if self._login or self._ignore_dates:
            made = partial(self._login.context, ignore_dates=self._ignore_dates, wall=self._wall)
            context = await asyncio.to_thread(made)
        import aiohttp  # noqa: PLC0415 - slow; by now it is imported

        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            connector=None if context is None else aiohttp.TCPConnector(ssl=context),
        )
        return self._session


def _http_errors() -> tuple[type[Exception], ...]:
    """What a request may raise; blocking where aiohttp was not imported yet."""
    from aiohttp import ClientError  # noqa: PLC0415 - slow, and not before it is needed

    return ClientError, OSError, ValueError


def token_service(
    settings: Settings, now: Clock = clock.now, wall: Clock = time.time
) -> TokenService | None:
    """The token service that ``settings`` name, or none: then AWS's own chain is asked."""
    if not settings.session_token_url:
        return None
    return TokenService(
        settings.session_token_url,
        timeout_s=settings.request_timeout,
        ignore_dates=settings.tls_ignore_dates,
        login=TokenLogin(settings.session_token_file, settings.session_token_cert),
        clock=now,
        wall=wall,
    )
