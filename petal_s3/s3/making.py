"""Make the botocore client for one bucket: its credentials, its signatures, its configuration.

To import this imports aiobotocore: see :mod:`petal_s3.s3.connection`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

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
from petal_s3.core.tasks import driven
from petal_s3.core.threads import run_in
from petal_s3.errors import Offline, Transient
from petal_s3.s3 import named_files
from petal_s3.s3.basis import Basis
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.data_files import DataFiles
from petal_s3.s3.direct import Route, route_of
from petal_s3.s3.error_mapping import translate, unusable_settings
from petal_s3.s3.evidence import bears_marks, note_booleans, note_root
from petal_s3.s3.forward_proxy import proxy_for
from petal_s3.s3.http_session import Session, dateless_session
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock, from_cache
from petal_s3.s3.shapes import Answer
from petal_s3.s3.signing import register_signer, send_md5
from petal_s3.s3.signing_keys import TokenProvider, of_files
from petal_s3.s3.tcp import Sockets

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

# At DEBUG these print session tokens; the host sets levels from its environment.
_CHATTY = ("botocore", "aiobotocore", "urllib3")
for _chatty in _CHATTY:
    logging.getLogger(_chatty).setLevel(logging.INFO)

_USER_AGENT = f"petal-s3/{__version__} aiobotocore/{aiobotocore.__version__}"
_AWS = "https://s3.amazonaws.com"


@dataclass(frozen=True)
class Made:
    """A client, and the keys of AWS's files that it signs with; none where they come from
    elsewhere."""

    client: S3Client
    keys: ReadOnlyCredentials | None


Make = Callable[[Basis, AddressStyle], Awaitable[Made]]


async def make(basis: Basis, style: AddressStyle) -> Made:
    """Make a client; to be closed by its ``__aexit__``.

    Raises :class:`S3IntegrationError` for settings and files that cannot be used.
    """
    try:
        return await _make(basis, style)
    except (OSError, ValueError, BotoCoreError) as error:
        # No link is needed to make a client: a file or value of the settings is unusable.
        found = translate(error, peer=None)
        local = type(found) in (Offline, Transient)
        raise (unusable_settings(error) if local else found) from error


async def _make(basis: Basis, style: AddressStyle) -> Made:
    tokens = basis.tokens
    proxy_for(basis.settings.endpoint_url or _AWS)  # botocore does not say what is wrong with one
    session, keys = await run_in(None, _session, tokens), None
    if tokens is None:
        found = await session.get_credentials()
        if found is None:
            raise NoCredentialsError  # a client without any would never look again
        keys = await of_files(found)
    return Made(await run_in(None, _built, session, basis, style), keys)


def _session(tokens: TokenService | None) -> AioSession:
    """A session that knows where credentials come from; blocking."""
    session = named_files.session()
    if tokens is not None:
        session.register_component(
            "credential_provider",
            AioCredentialResolver([TokenProvider(tokens)]),  # type: ignore[list-item]
        )
    session.get_component("credential_provider")  # made here, and not at its first use
    session.get_component("data_loader").file_loader = DataFiles()
    return session


def _built(session: AioSession, basis: Basis, style: AddressStyle) -> S3Client:
    """The client itself; blocking: the model of S3 is read and turned into its methods."""
    settings, clock = basis.settings, basis.clock
    client: S3Client = driven(
        session.create_client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            config=_client_config(settings, style, clock.wall, basis.sockets),
        ).__aenter__()
    )
    _quieten_loggers()  # now that all of them are there
    signer = register_signer(clock, f"petal-s3v4-{uuid.uuid4().hex}")
    events = client.meta.events
    events.register_first("choose-signer.s3", lambda **_: signer)  # type: ignore[arg-type]
    events.register("response-received.s3", note_root)
    events.register("response-received.s3", note_booleans)
    events.register("response-received.s3", partial(_received, clock))
    events.register_last("before-sign.s3", partial(_signing, basis.routes, client))
    events.register("before-call.s3", send_md5)
    # A peer that never says "100 Continue" would hold an upload for ever.
    events.unregister("before-call.s3", add_expect_header)
    return client


def _signing(
    routes: dict[S3Client, Route], client: S3Client, request: AWSRequest, **told: Any
) -> None:
    """Remember how botocore sends what may go without it; for its event ``before-sign``."""
    route = route_of(
        request, told["signature_version"], told["request_signer"], told["region_name"]
    )
    if route is not None and "-query" not in route.signature:
        routes[client] = route


def received(clock: ServerClock, response_dict: Answer, parsed_response: Answer) -> None:
    """Note of an answer that came without botocore's events what is noted of each."""
    note_root(response_dict, parsed_response)
    _received(clock, response_dict, parsed_response)


def _received(
    clock: ServerClock,
    response_dict: Answer | None = None,
    parsed_response: Answer | None = None,
    **_: object,
) -> None:
    headers = (response_dict or {}).get("headers", {})
    told = "date" in headers and not from_cache(headers)
    if told and bears_marks(parsed_response or {}, headers):
        clock.learn(headers["date"])


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
