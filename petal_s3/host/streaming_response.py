"""Stream an answer out of the host's server; end it when the client or the host stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError

log = logging.getLogger("petal_s3")

_LOOK_S = 0.5
_GRACE_S = 3.0  # for answers that are under way when the host stops


class ClosedStream(StreamingResponse):
    """A stream whose body is closed however it ends.

    It is broken off when the client has taken nothing for ``patience_s`` seconds, and when the
    host stops: uvicorn waits for the last answer without a limit.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        patience_s: float,
        *,
        status_code: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(content, status_code=status_code, headers=headers)
        self._patience_s = patience_s
        self._broken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the body until it ends or the host stops."""
        sending = asyncio.create_task(super().__call__(scope, receive, send))
        try:
            while not sending.done():
                await asyncio.wait({sending}, timeout=_LOOK_S)
                if host_is_stopping():
                    await asyncio.wait({sending}, timeout=_GRACE_S)
                    break
            if not sending.done():
                self._break_off("the host stops")
                _abort(receive)
        finally:
            await cancel_and_wait(sending)
        if self._broken:
            _abort(receive)
        elif not sending.cancelled():
            sending.result()

    async def stream_response(self, send: Send) -> None:
        """Send the body; a client recognises a failure by a body that ends early."""

        async def patient(message: Message) -> None:
            await asyncio.wait_for(send(message), self._patience_s)

        try:
            async with contextlib.aclosing(self.body_iterator):  # type: ignore[type-var]
                await super().stream_response(patient)
        except S3IntegrationError as error:
            self._break_off(error.message)
        except asyncio.TimeoutError:
            self._break_off("the client does not read")

    def _break_off(self, reason: str) -> None:
        self._broken = True
        log.warning("answer broken off reason=%s", reason)


def _abort(receive: Receive) -> None:
    """Abort the connection: closed in order, uvicorn would wait until its buffer is read."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


def host_is_stopping() -> bool:
    """Whether uvicorn has been told to stop.

    It handles its signals with a method of its server object, which is the one place that knows.
    """
    handler = signal.getsignal(signal.SIGTERM)
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))
