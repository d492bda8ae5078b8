"""One REST operation, whichever server it runs in: its request, its answer, its checks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from petal_s3.core.wrong_values import first_mistake
from petal_s3.errors import BadInput, S3IntegrationError
from petal_s3.service.service import Service
from petal_s3.web.guard import Guard
from petal_s3.web.requests import Body, Nothing

GUARD_ERRORS = (401, 403, 429)
"""What the guard may answer in place of any operation."""


class NoSuchRange(BadInput):
    """Nothing of the object lies in the range; ``size`` is that of the object."""

    code = "no_such_range"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The object has {size} bytes; nothing of it lies in this range.")
        self.size = size


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Call:
    """One request, whichever server took it; ``headers`` as :func:`guard.headers_of` gives them.

    ``peer``: the address it came from. ``scheme``: ``http`` or ``https``, as the server tells it,
    which may believe a proxy before it. ``leaving``: whether the server is about to stop, so that
    endless answers have to end. ``guard``: that of the server, which has let it pass.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: AsyncIterable[bytes] | None = None
    peer: str = ""
    scheme: str = "http"
    leaving: Callable[[], bool] = _never
    guard: Guard = field(default_factory=Guard)

    @property
    def announced(self) -> int:
        """The size of its body, as its head says; 0 where it does not."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdecimal() and len(told) < 19 else 0


@dataclass(frozen=True)
class Reply:
    """An answer; a stream is closed by the server that reads it."""

    body: BaseModel | bytes | AsyncIterator[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    @property
    def content(self) -> bytes | AsyncIterator[bytes]:
        """The bytes of the body, or a stream of them."""
        if isinstance(self.body, BaseModel):
            text = json.dumps(self.body.model_dump(), ensure_ascii=False)
            return text.encode("utf-8", "replace")
        return self.body


Run = Callable[[Service, Any, Call], Awaitable[Reply]]


FOR_NO_OTHER_SITE: Mapping[str, str] = MappingProxyType(
    {"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
)
"""Headers of every answer: no page of another site shows it, or runs it as what it is not (Fetch,
"Cross-Origin-Resource-Policy header" and "X-Content-Type-Options header")."""


@dataclass(frozen=True)
class Route:
    """One operation. ``ask`` is made of path and query, or of path and the JSON body."""

    method: str
    path: str
    name: str
    summary: str
    run: Run
    ask: type[BaseModel] = Nothing
    answer: type[BaseModel] | str = "text/plain"
    errors: tuple[int, ...] = (503, 507)
    status: int = 200
    form: type[BaseModel] | None = None
    most_json_bytes: int = 64 * 1024
    public: bool = False
    """Whether it tells nothing, so that no token is needed; pages of other sites may not ask."""

    @property
    def takes_json(self) -> bool:
        """Whether it reads a JSON body."""
        return issubclass(self.ask, Body)

    async def __call__(self, active: Callable[[], Service], call: Call, guard: Guard) -> Reply:
        """Ask the guard, check the request and run the operation; raises our errors only.

        ``active`` gives the service, or raises why there is none: that, too, only the guard's
        guests are told.
        """
        if self.public:
            guard.check_page(call.headers, call.scheme, link=self.method == "GET")
        else:
            guard.check(self.method, call.headers, call.peer, call.scheme)
        service = active()
        if service.outbox.is_starting and not self.public:
            raise service.outbox.why_closed()
        return await self.run(service, await self._asked(service, call), replace(call, guard=guard))

    async def _asked(self, service: Service, call: Call) -> BaseModel:
        given: dict[str, object] = {**call.query, **call.path}
        if self.takes_json:
            given = await _json(call, service.settings.request_timeout, self.most_json_bytes)
        try:
            return self.ask.model_validate(given)
        except ValidationError as error:
            raise BadInput(_sentence(error)) from None


async def _json(call: Call, within_s: float, most_bytes: int) -> dict[str, object]:
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadInput("A JSON body is expected, with the content type application/json.")
    try:
        text = await asyncio.wait_for(_text(call, most_bytes), within_s)
    except asyncio.TimeoutError:
        raise BadInput(
            f"The body did not come within {within_s:.0f} s.", code="body_stalled", status=408
        ) from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput("A JSON object is expected.")
    return found


async def _text(call: Call, most_bytes: int) -> bytes:
    text = bytearray()
    async for block in call.body or no_bytes():
        text += block
        if len(text) > most_bytes:
            raise BadInput("The body is too long.", code="too_large", status=413)
    return bytes(text)


async def joined(begun: bytes, coming: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A stream that has begun already, with its first block; closing it closes ``coming``."""
    async with contextlib.aclosing(coming):
        yield begun
        async for block in coming:
            yield block


async def no_bytes() -> AsyncIterator[bytes]:
    """The body of a call without one."""
    empty: tuple[bytes, ...] = ()
    for block in empty:
        yield block


def _sentence(error: ValidationError) -> str:
    """The first mistake; never quotes what was given."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":  # its name is the caller's
        return "There is a name in the body that is not known."
    place, expected = first_mistake(error)
    where = ".".join(str(part) for part in place) or "The request"
    return f"{where}: {expected}."


def headers_of(error: S3IntegrationError) -> Iterator[tuple[str, str]]:
    """Headers that an error is answered with."""
    if isinstance(error, NoSuchRange):
        yield "Content-Range", f"bytes */{error.size}"
    if error.status in {429, 503} and error.retry_after_s:
        yield "Retry-After", str(math.ceil(error.retry_after_s))
    if error.status == 401:
        yield "WWW-Authenticate", "Bearer"
