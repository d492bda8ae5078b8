"""A drone's companion computer: its disk, its process, and how both come to an end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from unittest import mock

import botocore.useragent

from petal_s3.cleanup import deletion
from petal_s3.core import clock
from petal_s3.core.settings_loading import load_settings
from petal_s3.intake import entry
from petal_s3.intake.file_events import FileEvents, Ways
from petal_s3.intake.flight_state import FlightState, Heartbeat
from petal_s3.intake.watcher import Watcher
from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.s3 import http_session as wire
from petal_s3.service import others, said_flight, vehicle
from petal_s3.service.draining import Timing
from petal_s3.service.service import Service
from petal_s3.upload import pause
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import BUCKET, ENDPOINT, PART, TOKENS, Air, World
from tests.support.once import found_out_once

T = TypeVar("T")

SCAN_S = 120.0
ENOUGH_BYTES = 1000
_EVENTS = "events/{timestamp}_{name}"
_NO_LIMIT = (1 << 31) - 2
_AUTOPILOT = {"system": 1, "component": 1, "autopilot": 12, "type": 2}


class Killed(Exception):
    """The process died while somebody waited for it."""


class _NoEvents(FileEvents):
    """Events come at moments of the machine's own time: in a simulation there are none."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.failure = "time is simulated"

    def set(self, folders: Sequence[str], ways: Ways) -> None:
        """Nothing is listened to."""


class Drone:
    """One machine. ``boot`` starts the process, ``kill`` ends it as SIGKILL does."""

    def __init__(self, world: World, loop: VirtualLoop, home: Path, *, quiet: bool = False) -> None:
        """``quiet``: nothing happens to it: no autopilot is heard, and no file comes untold."""
        self.logs = home / "logs"
        self.outside = home / "outside"
        self.events = home / "events"
        self.state = home / "state"
        self.logs.mkdir()
        self.outside.mkdir()
        self.events.mkdir()
        self.armed = False
        self.kills = 0
        self.full = False
        self.kill_at_statement = 0
        self._image = home / "image"
        self._world = world
        self._loop = loop
        self._died: asyncio.Event | None = None
        self._service: Service | None = None
        world.kill = self.kill
        self._quiet = quiet
        if not quiet:
            self._beat()

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    @property
    def up(self) -> bool:
        """Whether a process runs."""
        return self._service is not None and not self._loop.dead

    @property
    def dead(self) -> bool:
        return self._loop.dead

    # -- simulation and death of the process

    async def boot(self) -> None:
        """Start the process on what lies on the disk."""
        world = self._world
        self._died = asyncio.Event()
        settings = load_settings(
            bucket_name=BUCKET,
            endpoint_url=ENDPOINT,
            session_token_url=TOKENS,
            machine_id="drone-1",
            state_dir=self.state,
            log_dirs=str(self.logs),
            settle_seconds=1.0,
            scan_interval=SCAN_S,
            request_timeout=30.0,
            min_free_bytes=ENOUGH_BYTES,
            sources=[{"directory": self.events, "kinds": "xml", "key": _EVENTS}],
        ).model_copy(update={"part_size": PART})
        service = self._service = Service(
            settings,
            flight=FlightState(listening_since=world.boottime()),
            now=world.boottime,
            wall=world.wall,
        )
        service.drainer.timing.spread = world.rng.random
        service.drainer.timing.probe = world.probe
        service.drain.timing = Timing(report_s=5.0)
        service.retention.free = lambda _: world.free_bytes
        if not self._quiet:
            service.watcher.noticing.events = _NoEvents()
        assert service.tokens is not None
        service.tokens.post = world.token_post  # type: ignore[method-assign]
        service.tokens.spread = world.rng.random
        world.note("boot", world.boot)
        try:
            await self.do(service.start())
        except Killed:
            return
        await service.outbox(self._watch_statements)
        self.fill(self.full)

    def kill(self, why: str) -> None:
        """End the process here and now: what is on the disk at this moment is what remains."""
        if self.dead or self._service is None:
            return
        self._world.note("kill", why)
        self.kills += 1
        shutil.copytree(self.state, self._image)
        self._world.generation += 1
        self._loop.dead = True
        assert self._died is not None
        self._died.set()

    async def bury(self) -> None:
        """Clear away what is left of a killed process; the disk is as it was when it died."""
        me = asyncio.current_task()
        while tasks := {task for task in asyncio.all_tasks() if task is not me}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)
        service, self._service = self.service, None
        await service.s3.close()
        outbox = service.outbox.opened
        if outbox is not None:
            with contextlib.suppress(Exception):
                outbox.close()
        service.lock.give()
        shutil.rmtree(self.state)
        self._image.rename(self.state)
        self._loop.dead = False

    async def do(self, work: Awaitable[T]) -> T:
        """Wait for something the process does; raises :class:`Killed` when it dies meanwhile."""
        assert self._died is not None
        task = asyncio.ensure_future(work)
        died = asyncio.ensure_future(self._died.wait())
        await asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED)
        if self.dead:
            raise Killed
        died.cancel()
        return task.result()

    def _watch_statements(self, outbox: Outbox) -> None:
        outbox.sql.conn.set_trace_callback(self._statement)

    def _statement(self, text: str) -> None:
        if self.kill_at_statement and not text.startswith(("SELECT", "PRAGMA")):
            self.kill_at_statement -= 1
            if self.kill_at_statement == 0:
                self.kill("before a statement")

    # -- its disk

    def fill(self, full: bool) -> None:
        """The database finds no room from now on, or has room again."""
        self.full = full
        if self._service is None or self._service.outbox.opened is None:
            return
        conn = self._service.outbox.opened.sql.conn
        pages = conn.execute("PRAGMA page_count").fetchone()[0] if full else _NO_LIMIT
        conn.execute(f"PRAGMA max_page_count = {pages}")

    def spoil(self) -> None:
        """The database is damaged while the process is down."""
        with (self.state / "outbox.db").open("r+b") as database:
            database.seek(100)
            database.write(b"\xde\xad\xbe\xef" * 1000)
        (self.state / "outbox.db-wal").unlink(missing_ok=True)

    # -- its autopilot

    def _beat(self) -> None:
        if self._service is not None and not self.dead:
            mode = 128 if self.armed else 0
            vehicle.heartbeat(self._service, Heartbeat(**_AUTOPILOT, base_mode=mode))
        self._loop.call_later(1.0, self._beat)

    # -- what its outbox says

    def rows(self) -> tuple[list[Row], dict[int, str]]:
        """All rows, and why each of them waits."""
        service = self.service
        outbox = service.outbox.opened
        if outbox is None:
            return [], {}
        rows = queries.rows(outbox, limit=100_000)
        waiting = (row for row in rows if not row.settled)
        seen = service.overview.seen_here()
        return rows, {row.id: service.overview.view(row, seen).reason for row in waiting}

    @property
    def carried(self) -> Collection[int]:
        """The rows that an attempt is under way for."""
        return self.service.uploader.live

    @property
    def version(self) -> tuple[int, int]:
        """Something else whenever the outbox has changed."""
        outbox = self._service.outbox.opened if self._service is not None else None
        return self.kills, -1 if outbox is None else outbox.sql.conn.total_changes


@contextlib.contextmanager
def in_this_world(world: World, *, quiet: bool = False) -> Iterator[None]:
    """Let everything that petal-s3 touches outside be of this world.

    ``quiet``: file-system events are listened to; none come.
    """
    watched = others.watched_folder

    async def session(_self: object, _proxy: object) -> wire.GuardedSession:
        return wire.GuardedSession(Air(world))  # type: ignore[arg-type]

    with (
        mock.patch.object(wire.Session, "_get_session", session),
        mock.patch.object(clock, "boot_id", lambda: world.boot),
        # Polled less often than in the real world: most of a simulation would be spent on it.
        mock.patch.object(Watcher, "poll_s", 1.0),
        mock.patch.object(pause, "LOOK_S", 1.0),
        mock.patch.object(pause, "POLL_S", 2.0),
        mock.patch.object(said_flight, "LOOK_S", 10.0),
        # Events come at moments of the machine's own time.
        mock.patch.object(others, "watched_folder", watched if quiet else lambda _: None),
        # Nobody else writes to the files of this world; /proc is that of another one.
        mock.patch.object(entry, "open_for_writing", _none_of),
        mock.patch.object(deletion, "open_for_writing", _none_of),
        found_out_once(),
        mock.patch.object(botocore.useragent.UserAgentString, "to_string", lambda _: "a drone"),
    ):
        yield


def _none_of(_paths: Iterable[str]) -> set[str]:
    return set()
