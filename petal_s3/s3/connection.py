"""The botocore client under every call: its credentials, its signatures, its configuration."""

from __future__ import annotations

import petal_s3.s3.fitting

# isort: split
import petal_s3.s3.body_writing  # noqa: F401 - aiohttp has to know file parts

# isort: split
import asyncio
import contextlib
import functools
import logging
import uuid
from typing import TYPE_CHECKING, Any, cast

import aiobotocore
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentialResolver
from aiobotocore.session import AioSession
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.handlers import add_expect_header

from petal_s3 import __version__
from petal_s3.core.clock import Clock
from petal_s3.core.settings import AddressStyle
from petal_s3.errors import Offline
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.direct import ElsewhereError, Route, is_plain, route_of, send
from petal_s3.s3.error_mapping import ErrorTranslation, translate, unusable_settings
from petal_s3.s3.evidence import bears_marks, note_booleans, note_root
from petal_s3.s3.forward_proxy import peer_of, proxy_for
from petal_s3.s3.http_session import Session, dateless_session
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock, from_cache
from petal_s3.s3.shapes import Answer, Params
from petal_s3.s3.signing import register_signer, send_md5
from petal_s3.s3.signing_keys import TokenProvider, keys_in_files, of_files
from petal_s3.s3.tcp import Sockets

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

# At DEBUG these print session tokens; the host sets levels from its environment.
_CHATTY = ("botocore", "aiobotocore", "urllib3")
for _chatty in _CHATTY:
    logging.getLogger(_chatty).setLevel(logging.INFO)

_USER_AGENT = f"petal-s3/{__version__} aiobotocore/{aiobotocore.__version__}"
_PROBE_S = 3.0
_AWS = "https://s3.amazonaws.com"


class Connection:
    """The clients for one bucket, one for each way to address it."""

    def __init__(
        self, settings: S3Settings, tokens: TokenService | None, server_clock: ServerClock
    ) -> None:
        self.peer: tuple[str, int] | None = None
        """Host and port that connections go to (a proxy, where one is set); none before opening."""
        self.sockets = Sockets()
        self._settings = settings
        self._tokens = tokens
        self._clock = server_clock
        self._stack = contextlib.AsyncExitStack()
        self._clients: dict[AddressStyle, S3Client] = {}
        self._routes: dict[S3Client, Route] = {}
        """Where each client sends requests about objects, as of its last one."""
        self._style = settings.address_style
        self._opening = asyncio.Lock()
        self._keys: ReadOnlyCredentials | None = None
        """Those of AWS's files that clients sign with; none where they come from elsewhere."""

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._clients.clear()
        self._routes.clear()
        await self._stack.aclose()

    def use_style(self, style: AddressStyle) -> None:
        """Address the bucket in this way from the next call on; calls under way go on as begun."""
        self._style = style

    async def has_other_keys(self) -> bool:
        """Whether AWS's files name other keys than are signed with; the next call takes those.

        botocore reads them once. Calls under way go on as begun.
        """
        if self._tokens is not None or self._keys is None:
            return False
        keys = await keys_in_files()
        if keys is None or keys == self._keys:
            return False
        self._clients.clear()  # the old ones end with the connection: keys change seldom
        return True

    async def open(self) -> S3Client:
        """Make the client, once a style: no network, but some 100 ms of work on the loop."""
        style = self._style
        if style in self._clients:
            return self._clients[style]
        async with self._opening:
            if style not in self._clients:
                with ErrorTranslation(self.peer):
                    client = await self._connected(style)
                self.peer = peer_of(client.meta.endpoint_url)
                self._clients[style] = client
        return self._clients[style]

    async def call(self, operation: str, params: Params) -> Answer:
        """Call an operation of the bucket; raises what botocore raises.

        Frequent ones go without botocore's call machinery, once it has shown where to.
        """
        client = await self.open()
        named = {"Bucket": self._settings.bucket, **params}
        route = self._routes.get(client)
        if route is not None and is_plain(operation, params):
            with contextlib.suppress(ElsewhereError):
                return await send(client, route, operation, params, self._noted)
            if "Body" in params:
                params["Body"].seek(0)
        return cast("Answer", await getattr(client, operation)(**named))

    async def _connected(self, style: AddressStyle) -> S3Client:
        try:
            return await self._connect(style)
        except (OSError, ValueError, BotoCoreError) as error:
            # No link is needed to make a client: a file or value of the settings is unusable.
            found = translate(error, peer=None)
            local = isinstance(found, Offline) and type(found) is Offline
            raise (unusable_settings(error) if local else found) from error

    async def _connect(self, style: AddressStyle) -> S3Client:
        settings = self._settings
        proxy_for(settings.endpoint_url or _AWS)  # botocore does not say what is wrong with one
        session = AioSession()
        if self._tokens is not None:
            session.register_component(
                "credential_provider",
                AioCredentialResolver([TokenProvider(self._tokens)]),  # type: ignore[list-item]
            )
        else:
            found = await session.get_credentials()
            if found is None:
                raise NoCredentialsError  # a client without any would never look again
            self._keys = await of_files(found)
        client: S3Client = await self._stack.enter_async_context(
            session.create_client(
                "s3",
                region_name=settings.region,
                endpoint_url=settings.endpoint_url,
                config=_client_config(settings, style, self._clock.wall, self.sockets),
            )
        )
        _quieten_loggers()  # now that all of them are there
        signer = register_signer(self._clock, f"petal-s3v4-{uuid.uuid4().hex}")
        events = client.meta.events
        events.register_first("choose-signer.s3", lambda **_: signer)  # type: ignore[arg-type]
        events.register("response-received.s3", note_root)
        events.register("response-received.s3", note_booleans)
        events.register("response-received.s3", self._received)
        events.register_last("before-sign.s3", functools.partial(self._signing, client))
        events.register("before-call.s3", send_md5)
        # A peer that never says "100 Continue" would hold an upload for ever.
        events.unregister("before-call.s3", add_expect_header)
        return client

    def _signing(self, client: S3Client, request: AWSRequest, **told: Any) -> None:
        """Remember how botocore does what :meth:`call` does; for its event ``before-sign``."""
        route = route_of(
            request, told["signature_version"], told["request_signer"], told["region_name"]
        )
        if route is not None and "-query" not in route.signature:
            self._routes[client] = route

    def _noted(self, response_dict: Answer, parsed_response: Answer) -> None:
        """What is noted of each answer."""
        note_root(response_dict, parsed_response)
        self._received(response_dict, parsed_response)

    def _received(
        self,
        response_dict: Answer | None = None,
        parsed_response: Answer | None = None,
        **_: object,
    ) -> None:
        headers = (response_dict or {}).get("headers", {})
        told = "date" in headers and not from_cache(headers)
        if told and bears_marks(parsed_response or {}, headers):
            self._clock.learn(headers["date"])


def _client_config(
    settings: S3Settings, style: AddressStyle, wall: Clock, sockets: Sockets
) -> AioConfig:
    """One try per call, v4 signatures, checksums only from us; a user agent that is ready."""
    return AioConfig(
        user_agent=_USER_AGENT,
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=15,
        # Slow is not dead: bodies are watched by their progress, calls by a deadline of their own.
        read_timeout=900,
        max_pool_connections=settings.connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": style, "payload_signing_enabled": False},
        connector_args={"socket_factory": sockets.make, "keepalive_timeout": 30},
        http_session_cls=dateless_session(wall) if settings.ignore_dates else Session,
    )


def _quieten_loggers() -> None:
    """Drop what chatty loggers say at DEBUG, whatever level is set on one of them."""
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
