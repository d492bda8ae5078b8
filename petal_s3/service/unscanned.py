"""Count the files in the log directories that no scan has seen yet."""

from __future__ import annotations

import asyncio

from petal_s3.errors import LocalStorageError
from petal_s3.intake.looking import Found, in_chunks
from petal_s3.outbox import known_directories, known_files, queries
from petal_s3.service.assembly import Parts
from petal_s3.service.report import Report

_REST_S = 2.0
_SHARE = 20
"""Looking takes at most this part of the time: large directories are looked at less often."""


class Unscanned:
    """Looks at most every two seconds, in a thread; a file that settles was seen."""

    def __init__(self, parts: Parts) -> None:
        self._base = parts.base
        self._parts = parts
        self._paths: list[str] = []
        self.trouble = ""
        """Why not every directory could be looked through; empty where all were."""
        self.unread = 0
        """How many folders could not."""
        self._rests_until = float("-inf")
        self._mark: tuple[int, int] = (-1, -1)
        self._looking = asyncio.Lock()

    async def count(self, report: Report) -> int:
        """How many there are; ``report``: of the process that drains, which watches files too."""
        async with self._looking:
            rows = sum((await self._base.outbox(queries.counts)).values())
            mark = (rows, report.watched)
            if self._base.now() >= self._rests_until or mark != self._mark:
                self._mark = mark
                await self._look()
        if self._parts.lock.held:
            return len(set(self._paths).difference(self._parts.watcher.settling.paths))
        return max(0, len(self._paths) - report.watched)

    async def _look(self) -> None:
        base, began = self._base, self._base.now()
        try:
            known = await base.outbox(known_directories.known)
            found, unseen = Found(), dict[str, None]()
            looking = in_chunks(base.settings, found, known)
            while files := await base.files.run(next, looking, None):
                unseen |= dict.fromkeys(await base.outbox(known_files.unseen, files))
            self.trouble, self.unread = found.trouble, len(found.unread)
            self._paths = list(unseen)
        except LocalStorageError as error:  # what was counted before may have changed
            self.trouble = error.message
        now = base.now()
        self._rests_until = now + max(_REST_S, _SHARE * (now - began))
