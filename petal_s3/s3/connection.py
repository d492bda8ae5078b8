"""The connection under every call: the botocore clients for one bucket, made when one is needed.

Nothing here imports botocore: with aiobotocore and the model of S3 it takes a fifth of a second and
tens of MiB, on a thread, when the first request is due.
"""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, cast

from petal_s3.core.settings import AddressStyle
from petal_s3.core.threads import run_in
from petal_s3.s3.basis import Basis
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.forward_proxy import peer_of
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.shapes import Answer, Params
from petal_s3.s3.tcp import Sockets
from petal_s3.s3.translation import ErrorTranslation

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from types_aiobotocore_s3.client import S3Client

    from petal_s3.s3.direct import Route
    from petal_s3.s3.making import Made, Make

_PROBE_S = 3.0


class Connection:
    """The clients for one bucket, one for each way to address it."""

    def __init__(
        self, settings: S3Settings, tokens: TokenService | None, server_clock: ServerClock
    ) -> None:
        self.peer: tuple[str, int] | None = None
        """Host and port that connections go to (a proxy, where one is set); none before opening."""
        self.sockets = Sockets()
        self.routes: dict[S3Client, Route] = {}
        """Where each client sends requests about objects, as of its last one."""
        self._basis = Basis(settings, tokens, server_clock, self.sockets, self.routes)
        self._stack = contextlib.AsyncExitStack()
        self._clients: dict[AddressStyle, S3Client] = {}
        self._style = settings.address_style
        self._opening = asyncio.Lock()
        self._keys: ReadOnlyCredentials | None = None
        """Those of AWS's files that clients sign with; none where they come from elsewhere."""

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self.forget_clients()
        await self._stack.aclose()

    def use_style(self, style: AddressStyle) -> None:
        """Address the bucket in this way from the next call on; calls under way go on as begun."""
        self._style = style

    async def has_other_keys(self) -> bool:
        """Whether AWS's files name other keys than are signed with; the next call takes those.

        botocore reads them once. Calls under way go on as begun.
        """
        if self._basis.tokens is not None or self._keys is None:
            return False
        from petal_s3.s3.signing_keys import keys_in_files  # noqa: PLC0415 - imported by now

        keys = await keys_in_files()
        if keys is None or keys == self._keys:
            return False
        self.forget_clients()
        return True

    def forget_clients(self) -> None:
        """Make new ones for the next calls; the old ones end with the connection."""
        self._clients.clear()
        self.routes.clear()

    async def open(self) -> S3Client:
        """The client, made once a style, on a thread; no network unless credentials need it."""
        style = self._style
        if style in self._clients:
            return self._clients[style]
        async with self._opening:
            if style not in self._clients:
                with ErrorTranslation(self.peer):
                    made = await self._make(style)
                self._stack.push_async_exit(made.client)
                self.peer = peer_of(made.client.meta.endpoint_url)
                self._clients[style], self._keys = made.client, made.keys
        return self._clients[style]

    async def call(self, operation: str, params: Params) -> Answer:
        """Call an operation of the bucket; raises what botocore raises.

        Frequent ones go without botocore's call machinery, once it has shown where to.
        """
        client = await self.open()
        from petal_s3.s3 import direct, making  # noqa: PLC0415 - imported by now

        route = self.routes.get(client)
        if route is not None and direct.is_plain(operation, params):
            received = partial(making.received, self._basis.clock)
            with contextlib.suppress(direct.ElsewhereError):
                return await direct.send(client, route, operation, params, received)
            if "Body" in params:
                params["Body"].seek(0)
        named = {"Bucket": self._basis.settings.bucket, **params}
        return cast("Answer", await getattr(client, operation)(**named))

    async def _make(self, style: AddressStyle) -> Made:
        make = await run_in(None, _maker)
        return await make(self._basis, style)


def _maker() -> Make:
    """What makes clients; blocking, as it imports aiobotocore."""
    from petal_s3.s3.making import make  # noqa: PLC0415 - slow, and not before it is needed

    return make


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
