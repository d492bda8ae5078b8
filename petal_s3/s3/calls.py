"""Make one guarded call to S3: credentials, a deadline, errors translated, one more try at once."""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, TypeVar

from aiobotocore.credentials import AioCredentialResolver, AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.handlers import add_expect_header

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import AddressStyle
from petal_s3.errors import (
    ClockSkew,
    NotS3,
    Offline,
    S3BucketError,
    S3CredentialsError,
    S3IntegrationError,
    Told,
)
from petal_s3.s3.credentials import Credentials, TokenService
from petal_s3.s3.error_mapping import login_page, translate, unusable_settings
from petal_s3.s3.evidence import note_root, root_of, send_md5
from petal_s3.s3.forward_proxy import peer_of, proxy_for
from petal_s3.s3.headers import FROM_CACHE, from_cache
from petal_s3.s3.http_session import ServerClock, Window, client_config, register_signer
from petal_s3.s3.options import spoken
from petal_s3.s3.progress import unacknowledged
from petal_s3.s3.responses import LONGEST_URL_S, status

log = logging.getLogger("petal_s3")
# At DEBUG these print session tokens; the host sets levels from its environment.
_CHATTY = ("botocore", "aiobotocore", "urllib3")
for _chatty in _CHATTY:
    logging.getLogger(_chatty).setLevel(logging.INFO)

_T = TypeVar("_T")
_CLOCK_LIMIT_S = 14 * 60.0
_FRESH_S = 900.0
_WATCH_S = 0.5
_ANSWER_S = 120.0  # a proxy on a slow link acknowledges what it has yet to pass on
_PROBE_S = 3.0
_AWS = "https://s3.amazonaws.com"
# Policies leave these out on purpose: a refusal is no reason to give up a good token.
_OFTEN_DENIED = {"list_multipart_uploads", "get_bucket_lifecycle_configuration"}


class _Tokens(AioCredentials):
    """Hands the token service's credentials to the signer, at each request anew."""

    def __init__(self, tokens: TokenService) -> None:
        super().__init__("unused", "unused", "unused", method="petal-token-service")
        self._tokens = tokens

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
        held = await self._tokens.get()
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key, held.session_token)


class _Provider:
    METHOD = "petal-token-service"
    CANONICAL_NAME = None

    def __init__(self, tokens: TokenService) -> None:
        self._tokens = tokens

    async def load(self) -> _Tokens:
        return _Tokens(self._tokens)


class Caller:
    """One client for one bucket; every error that leaves it is ours."""

    def __init__(  # noqa: PLR0913 - the settings of a connection
        self,
        *,
        bucket: str,
        region: str,
        endpoint_url: str | None,
        tokens: TokenService | None,
        timeout_s: float,
        connections: int,
        ignore_dates: bool,
        server_clock: ServerClock,
        stall_s: float,
        now: Clock = clock.now,
        address_style: AddressStyle = "auto",
    ) -> None:
        self.answered = 0  # calls that S3 answered well: the link works
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._clock = server_clock
        self._region = region
        self._tokens = tokens
        self._timeout_s = timeout_s
        self._connections = connections
        self._ignore_dates = ignore_dates
        self._stack = contextlib.AsyncExitStack()
        self._clients: dict[AddressStyle, Any] = {}
        self._style = address_style
        self._opening = asyncio.Lock()
        self._peer: tuple[str, int] | None = None
        self._refreshed_at = float("-inf")
        self._worked = 0  # calls answered well when credentials were last renewed for a refusal
        self._stall_s = stall_s
        self._now = now

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._clients.clear()
        await self._stack.aclose()

    def use_style(self, style: AddressStyle) -> None:
        """Address the bucket in this way from the next call on; those under way end as begun."""
        self._style = style

    def peer(self) -> tuple[str, int] | None:
        """Host and port that connections go to (a proxy, where one is set); none before opening."""
        return self._peer

    async def open(self) -> Any:
        """Make the client, once a style: no network, but some 100 ms of work on the loop."""
        style = self._style
        if style in self._clients:
            return self._clients[style]
        async with self._opening:
            if style not in self._clients:
                with self.errors():
                    client = await self._connected(style)
                self._peer = peer_of(client.meta.endpoint_url)
                self._clients[style] = client
        return self._clients[style]

    async def credentials_left_s(self) -> int:
        """How long what is signed now stays good, in whole seconds, at least one."""
        if self._tokens is None:
            return LONGEST_URL_S  # botocore's own chain does not say
        held = await self._tokens.get()
        return max(1, min(LONGEST_URL_S, int(held.expires_at - self._now())))

    async def _connected(self, style: AddressStyle) -> Any:
        try:
            return await self._connect(style)
        except (OSError, ValueError, BotoCoreError) as error:
            # No link is needed to make a client: a file or value of the settings is unusable.
            found = translate(error, peer=None)
            local = isinstance(found, Offline) and type(found) is Offline
            raise (unusable_settings(error) if local else found) from error

    async def _connect(self, style: AddressStyle) -> Any:
        proxy_for(self._endpoint_url or _AWS)  # botocore does not say what is wrong with one
        session = AioSession()
        if self._tokens is not None:
            session.register_component(
                "credential_provider",
                AioCredentialResolver([_Provider(self._tokens)]),  # type: ignore[list-item]
            )
        elif await session.get_credentials() is None:
            raise NoCredentialsError  # a client without any would never look again
        client = await self._stack.enter_async_context(
            session.create_client(
                "s3",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=client_config(
                    connections=self._connections,
                    ignore_dates=self._ignore_dates,
                    addressing_style=style,
                ),
            )
        )
        _hush()  # now that all of them are there
        signer = register_signer(self._clock, f"petal-s3v4-{uuid.uuid4().hex}")
        events = client.meta.events
        events.register_first("choose-signer.s3", lambda **_: signer)
        events.register("response-received.s3", self._received)
        events.register("response-received.s3", note_root)
        events.register("before-call.s3", send_md5)
        # A peer that never says "100 Continue" would hold an upload for ever.
        events.unregister("before-call.s3", add_expect_header)
        return client

    def _received(self, response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
        headers = (response_dict or {}).get("headers", {})
        if "date" in headers and not from_cache(headers):
            self._clock.learn(headers["date"])

    async def call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        window: Window | None = None,
        slow: bool = False,
    ) -> dict[str, Any]:
        """Make one call; once more at once with new credentials or the server's time."""
        for again in (True, False):
            held = await self._tokens.get() if self._tokens is not None else None
            offset_s = self._clock.offset_s or 0.0
            try:
                return await self._try(operation, window, slow=slow, params=params)
            except (S3CredentialsError, S3BucketError, ClockSkew) as error:
                # Whatever it was called: when our time moved meanwhile, the signature was wrong.
                moved_s = abs((self._clock.offset_s or 0.0) - offset_s)
                if not again:
                    self._after_renewal(error)
                    raise
                if moved_s <= _CLOCK_LIMIT_S and not self._worth_another(operation, error, held):
                    self._of_static_keys(error)
                    self._after_renewal(error)  # lately: fresh ones were refused before
                    raise
                if window is not None and error.code == "forbidden":
                    raise  # the next request has new credentials; a body does not travel for that
                log.info("s3 call repeated reason=%s", error.told or error.code)
            if window is not None:
                window.seek(0)
        raise AssertionError("unreachable")

    def _after_renewal(self, error: S3IntegrationError) -> None:
        """Raise another sentence where fresh credentials failed as well: now they are to blame."""
        if isinstance(error, S3CredentialsError) and self._tokens is not None and error.told:
            raise _said_anew(
                error,
                f"S3 accepts neither the session credentials nor fresh ones ({error.told}): check"
                " that the token service (PETAL_S3_SESSION_TOKEN_URL) gives some for this S3.",
            ) from error

    def _of_static_keys(self, error: S3IntegrationError) -> None:
        """Raise another sentence where keys were refused that no token service can renew."""
        if isinstance(error, S3CredentialsError) and self._tokens is None and error.told:
            raise _said_anew(
                error,
                f"S3 does not accept the access key of this machine ({error.told}): check"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in ~/.aws.",
            ) from error

    def _worth_another(
        self, operation: str, error: S3IntegrationError, held: Credentials | None
    ) -> bool:
        if isinstance(error, ClockSkew) or self._tokens is None or held is None:
            return False
        if error.code != "credentials_expired":
            # An expired token may look like a missing permission; but ask for a new one rarely.
            now = self._now()
            refused = error.code in {"forbidden", "credentials_refused"}
            if not refused or operation in _OFTEN_DENIED:
                return False
            current = self._tokens.current
            if current is None or current.generation != held.generation:
                return True  # somebody else has renewed it meanwhile, or is about to
            worked = error.code == "credentials_refused" and self.answered > self._worked
            if now - self._refreshed_at < _FRESH_S and not worked:
                return False
            self._refreshed_at, self._worked = now, self.answered
        self._tokens.invalidate(held.generation)
        return True

    async def _try(
        self, operation: str, window: Window | None, *, slow: bool, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        client = await self.open()
        with self.errors(spoken(params)):
            call = getattr(client, operation)(Bucket=self._bucket, **params)
            if window is not None:
                answer = await self._watched(call, window)
            else:
                deadline = self._timeout_s * (10 if slow else 1)
                answer = await asyncio.wait_for(call, deadline)
        if from_cache(answer["ResponseMetadata"]["HTTPHeaders"]):
            if "Body" in answer:
                answer["Body"].close()
            raise NotS3(FROM_CACHE)
        if root_of(answer) == "html":
            raise login_page(Told(client.meta.method_to_api_mapping[operation], status(answer)))
        self.answered += 1
        return dict(answer)

    async def _watched(self, call: Awaitable[_T], window: Window) -> _T:
        """Await an upload as long as its body moves; a stalled one is ended.

        No timeout of botocore or aiohttp covers a peer that stops reading in the middle of a
        body, and a deadline would end a slow link that works. What moves is what the peer
        acknowledges: buffers on the way take a minute's worth of a slow link in one gulp.
        """
        task = asyncio.ensure_future(call)
        task.add_done_callback(lambda _: _send_no_more(window))
        left: int | None = None
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_WATCH_S)
                if not task.done() and _is_ended(window, left):
                    _send_no_more(window)  # its buffer would wait for room for ever
                before, left = left, unacknowledged(window.transport)
                if left != before:
                    window.moved_at = self._now()
                all_gone = window.position >= window.size and not left
                allowed = self._stall_s + (_ANSWER_S if all_gone else 0.0)
                if not task.done() and self._now() - window.moved_at > allowed:
                    gone = max(0, window.position - (left or 0))
                    raise Offline(
                        f"The upload stalled after {gone} of {window.size} bytes.",
                        peer=self._peer,
                    )
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def errors(self, options: str = "") -> Iterator[None]:
        """Let only our errors out; ``options``: what the request carries, for the sentence."""
        try:
            yield
        except asyncio.CancelledError:
            raise
        except Exception as error:
            translated = translate(error, peer=self._peer, options=options)
            if translated is error:
                raise
            raise translated from error


def _said_anew(error: S3IntegrationError, message: str) -> S3CredentialsError:
    anew = S3CredentialsError(message, code=error.code, retry_after_s=error.retry_after_s)
    anew.told = error.told
    return anew


def _is_ended(window: Window, left: int | None) -> bool:
    """Whether the peer has ended its side since the look before, in the middle of the body."""
    way = window.transport
    return left is None and way is not None and way.is_closing() and window.position < window.size


def _send_no_more(window: Window) -> None:
    """End a connection that is being closed: it would send on what its buffer still holds."""
    if window.transport is not None and window.transport.is_closing():
        with contextlib.suppress(OSError, RuntimeError):  # the peer was faster
            window.transport.abort()


def _hush() -> None:
    """Keep to itself what chatty loggers say at DEBUG, also where somebody set a level on one."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _CHATTY:
            logging.getLogger(name).addFilter(_above_debug)


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


async def reachable(peer: tuple[str, int], timeout_s: float = _PROBE_S) -> bool:
    """Whether a bare TCP connection to ``(host, port)`` can be made."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*peer), timeout_s)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def own_credentials() -> str:
    """Where AWS's own chain finds credentials (``env``, ``iam-role``, ...); empty: nowhere.

    Raises :class:`S3CredentialsError` where it cannot make sense of what it finds.
    """
    try:
        found = await AioSession().get_credentials()
    except BotoCoreError as error:
        raise S3CredentialsError(
            f"AWS's own credentials cannot be used: {error}", code="no_credentials"
        ) from error
    return "" if found is None else str(found.method)
