"""Send what changes, as it changes: rows on their way, and how things are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from petal_s3.errors import S3FileNotFoundError, S3IntegrationError, Throttled
from petal_s3.service.service import Service
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView
from petal_s3.service.views.view import View

_LATEST = 50  # rows that are looked at beside those on their way
_LOOK_S = 0.5
_MOST_LISTENERS = 20
_OPEN = ("queued", "uploading")
_QUIET_S = 10.0  # after so long a comment is sent: a client that is gone is noticed
_LIFE_S = 300.0  # then the browser connects again; nothing is missed, the state is sent again
_NOISE = {
    "as_of",
    "backlog_bytes",
    "clock_offset_s",
    "eta_s",
    "link_seen_s",
    "next_try_s",
    "oldest_unsent_s",
    "rate_bytes_s",
    "reason_age_s",
}

_CARD_NOISE = {"rate_bytes_s", "to_fetch_bytes"}


class _Trouble(View):
    """Why the status cannot be read now."""

    error: str
    code: str


class _Mark(NamedTuple):
    """The fields of a row whose change is an event."""

    state: str
    sent_bytes: int
    reason: str
    key: str
    attempts: int


class News:
    """What one client has been sent so far."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._status: StatusView | None = None
        self._rows: dict[int, _Mark] = {}
        self._begun = False

    async def take(self) -> list[tuple[str, View]]:
        """The events since the last time: ``("status", status)`` and ``("progress", row)``."""
        service = self._service
        status = await service.status()
        found: list[tuple[str, View]] = []
        if self._status is None or _calm(status) != _calm(self._status):
            self._status = status
            found.append(("status", status))
        for row in await self._view():
            mark = _Mark(row.state, row.sent_bytes, row.reason, row.key, row.attempts)
            if self._rows.get(row.id) != mark:
                self._rows[row.id] = mark
                if self._begun or row.state in _OPEN:
                    found.append(("progress", row))
        self._begun = True
        return found

    async def _view(self) -> list[RowView]:
        service = self._service
        rows = {row.id: row for row in await service.rows(limit=_LATEST)}
        rows |= {row.id: row for row in await service.rows(state="uploading", limit=_LATEST)}
        for row_id, mark in self._rows.items():
            if row_id not in rows and mark.state in _OPEN:
                with contextlib.suppress(S3FileNotFoundError):  # the outbox began anew
                    rows[row_id] = await service.row(row_id)
        self._rows = {row_id: mark for row_id, mark in self._rows.items() if row_id in rows}
        return [rows[row_id] for row_id in sorted(rows)]


def _calm(status: StatusView) -> dict[str, object]:
    """The status without what changes all the time."""
    calm = status.model_dump(exclude=_NOISE)
    if status.card is not None:
        calm["card"] = status.card.model_dump(exclude=_CARD_NOISE)
    return calm


def listen(
    service: Service, leaving: Callable[[], bool], *, life_s: float = _LIFE_S
) -> AsyncGenerator[bytes, None]:
    """Server-sent events (HTML Living Standard, 9.2), until the client or the server stops.

    A listener counts from the first event on. Raises :class:`Throttled` when too many listen.
    """
    if service.listeners >= _MOST_LISTENERS:
        raise Throttled("Too many listen already: close one of the others.", code="too_many")
    return _stream(service, leaving, life_s)


async def _stream(
    service: Service, leaving: Callable[[], bool], life_s: float
) -> AsyncGenerator[bytes, None]:
    news, trouble = News(service), ""
    began = said_at = service.now()
    service.listeners += 1
    try:
        yield b"retry: 1000\n\n"
        while not leaving() and not service.stopping and service.now() - began < life_s:
            try:
                found, trouble = await news.take(), ""
            except S3IntegrationError as error:
                said = _Trouble(error=error.message, code=error.code)
                found = [("trouble", said)] if error.message != trouble else []
                trouble = error.message
            for name, view in found:
                yield f"event: {name}\ndata: {json.dumps(view.model_dump())}\n\n".encode()
            if not found and service.now() - said_at >= _QUIET_S:
                yield b": still here\n\n"
            if found or service.now() - said_at >= _QUIET_S:
                said_at = service.now()
            await service.changes.next(_LOOK_S)
    finally:
        service.listeners -= 1
