"""A drone in front of one server: its disk, its service, what it says, and what it has sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from petal_s3.demo.faults import Fault
from petal_s3.demo.logs import write_ulog
from petal_s3.objects.key_names import log_key
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service.gate import Reason
from petal_s3.service.service import Service
from tests.matrix.place import Place, settings_for
from tests.matrix.sentences import Said

HOME = "flight_logs/drone-1/"
_BLOCKED_S = 60.0  # a block that lasts so long is one
_BODIES = ("PutObject", "UploadPart")
_NAMED = re.compile("PETAL_S3_|check its permissions")


class Blocked(Exception):
    """Nothing is sent, and a sentence names the setting that has to change."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class NotProven(Exception):
    """A log was not proven in time, or was sent without end."""


class Ears(logging.Handler):
    """Hears what petal-s3 logs, and knows during which operation."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.during = ""
        self.heard: dict[Said, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: Traceback of {record.exc_info[1]!r}"
        self.say(text)

    def say(self, text: str) -> None:
        if text:
            self.heard.setdefault(Said(self.during, text))

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        log = logging.getLogger("petal_s3")
        level, passes = log.level, log.propagate
        log.addHandler(self)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(level)
            log.propagate = passes


class Drone:
    """One machine on one outbox; ``start`` and ``stop`` are those of its process."""

    def __init__(self, place: Place, home: Path, part: int, **settings: Any) -> None:
        self.place = place
        self.part = part
        self.ears = Ears()
        self.logs = home / "logs"
        self.home = home
        self.logs.mkdir()
        self._settings = settings_for(
            place.where(), part, state_dir=home / "state", log_dirs=str(self.logs), **settings
        )
        self._service: Service | None = None
        self._written = 0

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    @property
    def sse(self) -> str:
        """The encryption that is asked for."""
        return self._settings.sse

    async def start(self) -> None:
        self._service = self.place.serve(self._settings)
        await self._service.start(watch=False)

    async def stop(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.stop()

    # -- logs

    def write(self, size: int) -> tuple[Path, bytes]:
        """A new log on the disk, and its bytes."""
        self._written += 1
        path = self.logs / f"log{self._written}.ulg"
        write_ulog(path, size, seed=self._written)
        moment = int(self.place.server_s()) - 600
        os.utime(path, (moment, moment))
        return path, path.read_bytes()

    def key_of(self, path: Path) -> str:
        """The key that a log has when it is free."""
        moment = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        return log_key(HOME, path.name, moment)

    # -- waiting

    async def proven(self, row: Row, *, at_most: float) -> Row:
        """Wait until a row is proven.

        Raises :class:`Blocked` where a setting has to change before anything is sent, and
        :class:`NotProven` after the patience of the place, or when more than ``at_most`` bytes
        were sent.
        """
        place, begun, free_at = self.place, self.place.case_s(), self.place.case_s()
        patience_s = place.patience_s
        while place.case_s() - begun < patience_s:
            row = await self.service.outbox(queries.get, row.id)
            if row.state == "verified":
                return row
            if row.settled:
                raise NotProven(f"its row is {row.state}: {row.reason}")
            code, reason = await self._why(row)
            if self.sent() > at_most:
                raise NotProven(f"{self.sent()} bytes were sent, and it goes on: {reason}")
            if not self._is_block(reason):
                free_at = place.case_s()
            if place.case_s() - free_at >= min(_BLOCKED_S, patience_s / 4):
                raise Blocked(code, reason)
            await asyncio.sleep(place.tick_s)
        raise NotProven(f"not proven after {patience_s:.0f} s: {(await self._why(row))[1]}")

    async def until_asked(self, op: str, *, part: int = 0) -> None:
        """Wait until a request was made; raises as :meth:`proven`."""
        place, begun, free_at = self.place, self.place.case_s(), self.place.case_s()
        since = len(place.ledger.requests())
        look_s = place.tick_s / 10
        while place.case_s() - begun < place.patience_s:
            new = place.ledger.requests()[since:]
            if any(one.op == op and one.part == part and one.fault for one in new):
                return
            reason = self.service.gate.reason() or Reason("", "")
            self.ears.say(reason.sentence)
            if not self._is_block(reason.sentence):
                free_at = place.case_s()
            if place.case_s() - free_at >= min(_BLOCKED_S, place.patience_s / 4):
                raise Blocked(reason.code, reason.sentence)
            await asyncio.sleep(look_s)
        raise NotProven(f"{op} {part or ''} was never asked: {self.service.gate.reason()}")

    def _is_block(self, reason: str) -> bool:
        return self.service.drainer.block is not None and bool(_NAMED.search(reason))

    async def _why(self, row: Row) -> tuple[str, str]:
        """Code and reason why a row is not up yet; all that is told is heard."""
        status = await self.service.status()
        told = (await self.service.row(row.id)).reason
        for text in (told, status.reason, *status.advice, row.reason):
            self.ears.say(str(text))
        reason = self.service.gate.reason()
        return (reason.code if reason is not None else "") or row.code, told

    # -- what was sent

    def begin(self, operation: str) -> None:
        """What is sent and said from now on belongs to this operation."""
        self.ears.during = operation
        self._since = len(self.place.ledger.requests())

    def sent(self) -> int:
        """Bytes of bodies since the operation began, but for single bytes that try something."""
        return sum(
            one.body_bytes
            for one in self.place.ledger.requests()[self._since :]
            if one.op in _BODIES and one.body_bytes > 1
        )

    def confirmed(self) -> int:
        """Bytes of parts that were confirmed since the operation began."""
        return sum(
            one.body_bytes
            for one in self.place.ledger.requests()[self._since :]
            if one.op == "UploadPart" and one.status == 200 and one.body_bytes > 1
        )


HANG = Fault("hang", hang=True)
DEAF = Fault("deaf", deaf=True)
