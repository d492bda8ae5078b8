"""Publish what changes, once a second at most, to whoever has subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError, Throttled, as_json
from petal_s3.host.guarded import guarded
from petal_s3.host.mqtt_answers import Json, plain_json
from petal_s3.service.service import Service
from petal_s3.web.events import News

_MOST_STREAMS = 5
_MOST_ROWS = 40
"""Rows of one message; the others come with the next."""
_MOST_WAITING = 400
"""Rows that wait for a message; while there is no broker the oldest are left out."""
_LONGEST_S = 15.0
"""Between two tries while messages do not get away."""

Publish = Callable[[str, Json], Awaitable[bool]]


class StatusStreams:
    """The streams that somebody has subscribed to; each lives for a while."""

    def __init__(self, active: Callable[[], Service], publish: Publish) -> None:
        """``publish`` is called with the name of the stream and its payload; it says whether the
        message has got away."""
        self._active = active
        self._publish = publish
        self._running: dict[str, asyncio.Task[None]] = {}

    def subscribe(self, name: str, rate_hz: float, for_s: float) -> None:
        """Publish from now on, everything first; a stream of this name begins anew.

        Raises :class:`Throttled` where there are too many.
        """
        self.unsubscribe(name)
        if len(self._running) >= _MOST_STREAMS:
            raise Throttled(
                "Too many have subscribed already: unsubscribe another one.", code="too_many"
            )
        self._running[name] = asyncio.create_task(self._live(name, rate_hz, for_s))

    def unsubscribe(self, name: str) -> None:
        """Publish no more; what is not there has ended already."""
        task = self._running.pop(name, None)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """End them all."""
        tasks = list(self._running.values())
        self._running.clear()
        await cancel_and_wait(*tasks)

    async def _live(self, name: str, rate_hz: float, for_s: float) -> None:
        with guarded("a status stream over MQTT has ended"):
            service = self._active()
            telling = _Telling(service)
            until, pause_s = service.now() + for_s, 1 / rate_hz
            while not service.stopping and service.now() < until:
                payload = await telling.take()
                if payload and await self._publish(name, payload):
                    pause_s = 1 / rate_hz
                elif payload:  # the host logs each that fails: without a broker they become few
                    telling.take_back(payload)
                    pause_s = max(1 / rate_hz, min(_LONGEST_S, 2 * pause_s))
                await asyncio.sleep(pause_s)
        if self._running.get(name) is asyncio.current_task():
            del self._running[name]


class _Telling:
    """What one stream was told so far, and what it is still to be told."""

    def __init__(self, service: Service) -> None:
        self._news = News(service)
        self._status: Json = {}
        self._rows: dict[object, Json] = {}
        self._trouble = ""
        self._is_due = False

    async def take(self) -> Json:
        """What has changed since the last time, in one payload; empty where nothing has."""
        try:
            found = await self._news.take()
        except S3IntegrationError as error:
            said, self._trouble = self._trouble, error.message
            return {} if said == error.message else {"trouble": plain_json(as_json(error))}
        changed = bool(found or self._rows or self._trouble or self._is_due)
        self._trouble, self._is_due = "", False
        for name, view in found:
            content = plain_json(view.model_dump())
            if name == "status":
                self._status = content
            else:
                self._rows[content["id"]] = content
        return {"status": self._status, "rows": self._next_rows()} if changed else {}

    def take_back(self, payload: Json) -> None:
        """This message did not get away: the next says it again."""
        rows = cast("list[Json]", payload.get("rows", []))
        latest = {**{row["id"]: row for row in rows}, **self._rows}
        self._rows = dict(list(latest.items())[-_MOST_WAITING:])
        self._trouble, self._is_due = "", True

    def _next_rows(self) -> list[Json]:
        return [self._rows.pop(row_id) for row_id in list(self._rows)[:_MOST_ROWS]]
