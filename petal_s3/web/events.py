"""Send what changes, as it changes: rows on their way, and how things are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from petal_s3.errors import S3FileNotFoundError, S3IntegrationError, Throttled
from petal_s3.service.overview import Glance
from petal_s3.service.service import Service
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView
from petal_s3.service.views.view import View

_LATEST = 50  # rows that are looked at beside those on their way
_LOOK_S = 0.4
"""How often is looked while something moves: its progress is told twice a second."""
_QUIET_LOOK_S = 0.8
"""The same while nothing does; whatever changes here ends it."""
_PACE_S = 1.0
"""How often figures that move are told."""
_SURE_S = 30.0
"""How often all is looked at, whether or not anything seems to have changed."""
_MOST_LISTENERS = 20
_OPEN = ("queued", "uploading")
_SILENT_S = 5.0  # after so long a comment is sent: a client that is gone is noticed
_LIFE_S = 300.0  # then the browser connects again; nothing is missed, the state is sent again
_DRIFTS = {
    "as_of",
    "clock_offset_s",
    "link_seen_s",
    "next_try_s",
    "oldest_unsent_s",
    "reason_age_s",
    "since",
}
"""What changes with the time alone."""
_MOVES = {"backlog_bytes", "eta_at", "eta_s", "headline", "rate_bytes_s", "reason"}
"""What may change with each request beside."""
_CARD_MOVES = {"rate_bytes_s", "to_fetch_bytes"}


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
        self._glance: Glance | None = None
        self._looked_at = self._told_at = 0.0

    @property
    def look_s(self) -> float:
        """After how many seconds to look again."""
        soon = self._glance is not None and self._glance.soon
        return _LOOK_S if soon else _QUIET_LOOK_S

    async def take(self) -> list[tuple[str, View]]:
        """The events since the last time: ``("status", status)`` and ``("progress", row)``."""
        now, glance = self._service.now(), await self._service.overview.glance()
        quiet = glance == self._glance and not glance.moving
        if self._begun and quiet and now - self._looked_at < _SURE_S:
            return []
        found = await self._new_status(now)
        for row in await self._view():
            mark = _Mark(row.state, row.sent_bytes, row.reason, row.key, row.attempts)
            if self._rows.get(row.id) != mark:
                self._rows[row.id] = mark
                if self._begun or row.state in _OPEN:
                    found.append(("progress", row))
        self._begun, self._looked_at, self._glance = True, now, glance
        return found

    async def _new_status(self, now: float) -> list[tuple[str, View]]:
        """The status, where it says something new; figures that move have a pace."""
        status, before = await self._service.status(), self._status
        paced = _DRIFTS if now - self._told_at >= _PACE_S else _DRIFTS | _MOVES
        if before is not None and _calm(status, paced) == _calm(before, paced):
            return []
        self._status, self._told_at = status, now
        return [("status", status)]

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


def _calm(status: StatusView, noise: set[str]) -> dict[str, object]:
    """The status without what changes all the time."""
    calm = status.model_dump(exclude=noise)
    if status.card is not None and noise >= _MOVES:
        calm["card"] = status.card.model_dump(exclude=_CARD_MOVES)
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
            if not found and service.now() - said_at >= _SILENT_S:
                yield b": still here\n\n"
            if found or service.now() - said_at >= _SILENT_S:
                said_at = service.now()
            await service.changes.next(news.look_s)
    finally:
        service.listeners -= 1
