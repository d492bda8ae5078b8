"""A robot whose autopilot has a card in memory; its process is stepped, killed and started anew."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.settings_loading import load_settings
from petal_s3.intake.flight_state import Heartbeat
from petal_s3.outbox import card as card_files
from petal_s3.outbox import queries
from petal_s3.outbox.card import CardFile
from petal_s3.outbox.rows import Row
from petal_s3.service import card_summary
from petal_s3.service.service import Service
from petal_s3.service.views.card import CardFigures
from tests.support.card_model import ARMED, DISARMED, MISSIONS, ROOT, CardModel

SETTLE_S = 10.0


_ROOTS = {"log": ROOT, "mission_log": MISSIONS}


@dataclass(frozen=True)
class Known:
    """What the outbox says of a file of the card; ``whole``: its path there."""

    whole: str
    size: int
    kept: int
    begun_anew: bool


class Killed(BaseException):
    """The process ends here, whatever it was doing."""


class CardRobot:
    """A robot whose card is read step by step; its processes may be killed."""

    def __init__(self, folder: Path, card: CardModel) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.card = card
        self.time = 1000.0
        self.given: dict[str, object] = {}
        self._services: list[Service] = []
        self.last_beat: Heartbeat | None = None

    async def start(self, **settings: object) -> CardRobot:
        """A new process, which listens to the autopilot."""
        self.given = {**self.given, **settings}
        loaded = load_settings(
            **{
                "bucket_name": "logs",
                "machine_id": "drone-001",
                "endpoint_url": "http://127.0.0.1:9",
                "state_dir": self.state,
                "log_dirs": str(self.folder / "logs"),
                "settle_seconds": SETTLE_S,
                **self.given,
            }
        )
        self.service = Service(loaded, now=lambda: self.time)
        self._services.append(self.service)
        await self.service.open()
        self.service.fetcher.attach(self.card)
        assert self.service.fetcher.loop is not None
        self.fetcher = self.service.fetcher.loop
        return self

    async def stop(self) -> None:
        for service in self._services:
            await service.stop()

    def hear(self, beat: Heartbeat = DISARMED, times: int = 1) -> None:
        self.last_beat = beat
        for _ in range(times):
            self.service.flight.heartbeat(beat, self.time)

    def fly(self) -> None:
        self.hear(ARMED)
        self.hear(times=3)

    def wait(self, seconds: float) -> None:
        """Time passes, in which the autopilot is heard."""
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + 2.0)
            self.hear(self.last_beat or DISARMED)

    async def step(self) -> float:
        """One step, a moment later."""
        self.time += 0.01
        self.hear()
        return await self.fetcher.step()

    async def rest(self, most: int = 400) -> None:
        """Step until only the next periodic listing is waited for; time passes as it wishes."""
        for _ in range(most):
            pause_s = await self.step()
            if pause_s > 5 * SETTLE_S:
                return
            self.wait(pause_s)
        raise AssertionError("it never rests")

    async def files(self) -> dict[str, CardFile]:
        return {one.path: one for one in await self.service.outbox(card_files.on_card)}

    async def states(self) -> dict[str, str]:
        return {path: one.shown_state for path, one in (await self.files()).items()}

    async def row(self, path: str) -> Row:
        row_id = (await self.files())[path].row_id
        assert row_id is not None
        return await self.service.outbox(queries.get, row_id)

    async def entered(self, path: str) -> bytes:
        """The bytes that are to be uploaded of it."""
        row = await self.row(path)
        assert (row.state, row.spooled, row.received_by) == ("queued", True, "card")
        return Path(row.path).read_bytes()

    def kept(self) -> dict[int, int]:
        """How many bytes of each file the outbox says are durable, asked past the process."""
        with contextlib.closing(sqlite3.connect(self.state / "outbox.db")) as outbox:
            return dict(outbox.execute("SELECT id, fetched_bytes FROM card").fetchall())

    def known(self) -> dict[int, Known]:
        """Likewise, all that the outbox says of each file."""
        asked = "SELECT id, tree, path, size, fetched_bytes, code FROM card"
        with contextlib.closing(sqlite3.connect(self.state / "outbox.db")) as outbox:
            return {
                number: Known(f"{_ROOTS[tree]}/{path}", size, kept, code == "card_changed")
                for number, tree, path, size, kept, code in outbox.execute(asked)
            }

    async def figures(self) -> CardFigures:
        report = self.service.reporter.report()
        found = await self.service.outbox(card_summary.figures, report)
        assert found is not None
        return found

    async def prove(self, path: str) -> None:
        """As if its row had been uploaded and proven."""
        row = await self.row(path)
        await self.service.outbox(
            lambda outbox: outbox.sql.change(
                'UPDATE log SET state = \'verified\', sent_bytes = size, receipt = \'{"key": "k",'
                ' "etag": "e", "checksum": "crc32:00000000", "size": 1, "proof": "etag",'
                ' "verified_at": 1}\' WHERE id = :id',
                id=row.id,
            )
        )
