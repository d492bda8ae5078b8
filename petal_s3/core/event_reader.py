"""Read the events of directories in a running loop, at most so often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from petal_s3.core.inotify import Event, Inotify


class EventReader:
    """Calls ``told`` in the loop with what has happened: the first events at once, those that come
    then together, ``rest_s`` seconds later."""

    def __init__(
        self,
        source: Inotify,
        told: Callable[[list[Event]], None],
        failed: Callable[[OSError], None],
        rest_s: float,
    ) -> None:
        self._source = source
        self._told = told
        self._failed = failed
        self._rest_s = rest_s
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Read no more, and close the source; safe to call twice."""
        if self._again is not None:
            self._again.cancel()
        if self._source.fd >= 0:
            self._loop.remove_reader(self._source.fd)
            self._source.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._source.fd, self._readable)

    def _readable(self) -> None:
        self._loop.remove_reader(self._source.fd)
        try:
            events = list(self._source.read())
        except OSError as error:
            self.close()
            self._failed(error)
            return
        self._again = self._loop.call_later(self._rest_s, self._listen)
        self._told(events)
