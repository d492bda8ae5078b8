"""Build the rooms once; offer land, scan, enqueue, status, wait, cancel, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from petal_s3.cleanup.retention import Retention, free_bytes
from petal_s3.cleanup.stale_uploads import Orphans
from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.settings_rules import valid_machine_id
from petal_s3.core.tasks import cancel_and_wait, to_end
from petal_s3.errors import ConfigError, Conflict, LocalStorageError, NotNow, S3IntegrationError
from petal_s3.intake import spool
from petal_s3.intake.enqueue import enqueue
from petal_s3.intake.entry import PRIORITY_ASKED, Intake, RowOptions
from petal_s3.intake.flight_state import FlightState, Heartbeat
from petal_s3.intake.receive import receive
from petal_s3.intake.spooling import adopt_copies
from petal_s3.intake.watcher import Watcher
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.objects import Objects
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import deletions, drain_status, queries, requests, transitions
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.outbox.database import DAMAGED
from petal_s3.outbox.rows import Row
from petal_s3.outbox.state_dir import DrainLock, prepare
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.capabilities import Capabilities
from petal_s3.s3.client import S3
from petal_s3.s3.credentials import token_service
from petal_s3.s3.responses import Presigned
from petal_s3.s3.server_time import ServerClock
from petal_s3.service import views
from petal_s3.service.metrics import Figures, exposition
from petal_s3.service.status import Rate, row_json, summary, why_not
from petal_s3.upload.attempt import Uploader
from petal_s3.upload.duplicates import DuplicateFinder
from petal_s3.upload.learning import Learner
from petal_s3.upload.pause import Timing
from petal_s3.upload.plan import UploadPlan
from petal_s3.upload.worker import Drainer, DrainHooks

log = logging.getLogger("petal_s3")

_LOCK_S = 1.0
_STORAGE_S = 4.0
_SAY_S = 2.0
_HEARD_S = 2 * _SAY_S + 1.0

T = TypeVar("T")


class Service:
    """Everything that lives as long as the process; every door speaks to this."""

    def __init__(
        self,
        settings: Settings,
        *,
        host_machine_id: str | None = None,
        flight: FlightState | None = None,
        now: Clock = clock.now,
        wall: Clock = time.time,
        capabilities: Capabilities | None = None,
    ) -> None:
        """Nothing is opened yet; raises :class:`ConfigError` when no machine id can be had.

        ``wall``: the device's own idea of the date, which is shown but not believed.
        ``capabilities``: what the server offers, where that is known: then it is not tried.
        """
        self.settings = settings
        self.flight = flight if flight is not None else FlightState()
        self.ownership = KeyOwnership(
            settings.upload_prefix,
            machine_ids(settings.machine_id, host_machine_id),
            settings.bucket_name,
        )
        self.machine_id = self.ownership.machine_ids[0]
        self.outbox = OutboxThread(settings.outbox_path)
        self.lock = DrainLock(settings.state_dir)
        self.stopping = False
        self.listeners = 0
        """How many hear of every change."""
        self._rebuilding = False
        self._deferred = ""
        self._now = now
        self._wall = wall
        self._spool = settings.state_dir / "spool"
        self._files = ThreadPoolExecutor(2, thread_name_prefix="petal-s3-files")
        self._rate = Rate()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining: asyncio.Task[None] | None = None
        self._drains = 0
        self._turning = asyncio.Lock()
        """The drain begins or ends."""
        self._changed = asyncio.Event()
        self._build(capabilities)

    def _build(self, capabilities: Capabilities | None) -> None:
        settings = self.settings
        self.tokens = token_service(settings, self._now)
        self.s3 = S3.from_settings(
            settings,
            self.tokens,
            connections=settings.concurrency + 6,
            server_clock=ServerClock(steady=self._now, wall=self._wall),
            now=self._now,
        )
        self.objects = Objects(self.s3, self.outbox, self.ownership)
        self.learner = Learner(
            self.s3,
            self.outbox,
            self.ownership.machine_prefix,
            bucket=bucket_name_of(settings),
            given=capabilities,
            now=self._now,
        )
        self.uploader = Uploader(
            self.s3,
            self.outbox,
            self._files,
            duplicates=DuplicateFinder(
                self.s3, self.outbox, self._files, self.ownership, now=self._now
            ),
            learner=self.learner,
            plan=UploadPlan(self.machine_id, settings.part_size, settings.concurrency, self._now),
        )
        self.orphans = Orphans(self.s3, self.outbox, self.ownership)
        self.drainer = Drainer(
            settings,
            self.outbox,
            self.uploader,
            self.orphans,
            DrainHooks(self.send_blocked_reason, self._say, self._on_settled),
            Timing(self._now),
        )
        self.retention = Retention(
            settings,
            self.outbox,
            self.s3,
            self._files,
            delete_blocked_reason=self._may_not_delete,
            now=self._now,
        )
        self.intake = Intake(
            settings,
            self.ownership,
            self.outbox,
            self._files,
            on_enqueued=self.drainer.pause.new_log,
        )
        self.watcher = Watcher(self.intake, self.flight, now=self._now)

    # -- life

    async def open(self) -> None:
        """Open state directory and outbox, anew where they were removed underneath.

        Raises :class:`LocalStorageError`.
        """
        try:
            if await self.outbox.missing():
                await self.run(prepare, self.settings.state_dir)
                await self._open_outbox()
                await self.learner.load()
        except LocalStorageError as error:
            self.outbox.closed_by = error
            raise

    async def _open_outbox(self) -> None:
        try:
            await self.outbox.open()
        except LocalStorageError as error:
            if error.code != DAMAGED or not await to_end(self.run(self.lock.take)):
                raise
            try:
                await self.outbox.rebuild()
            finally:
                if not self._drains:
                    self.lock.give()

    async def start(self, *, watch: bool = True) -> None:
        """Open, then drain (and watch the log directories) in the background.

        What the disk refuses now is asked for again until it can be had.
        """
        try:
            await self.open()
        except (OSError, LocalStorageError) as error:
            self._defer(error)
        if self.tokens is not None:  # else botocore may look for credentials on the network
            with contextlib.suppress(LocalStorageError):  # no files can be opened: at its first use
                await self.s3.open()
        await self.begin_draining()
        if watch:
            self._spawn(self.watcher.watch())

    async def stop(self) -> None:
        """Stop everything, leaving the outbox as it stands; safe to call twice."""
        self.stopping = True
        tasks, self._tasks = self._tasks, []
        if self._draining is not None:
            tasks.append(self._draining)
        await cancel_and_wait(*tasks)
        await self.s3.close()
        if self.tokens is not None:
            await self.tokens.close()
        try:
            await self.outbox.close()
        finally:
            self.lock.give()
            self._files.shutdown(wait=False)

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def begin_draining(self) -> None:
        """Drain in the background, as soon as nobody else does; several callers share one drain."""
        self._drains += 1
        async with self._turning:
            if self._draining is None and self._drains:
                self.drainer.pause.block = None  # what held up the drain before is asked anew
                self._draining = asyncio.create_task(self._drain())

    async def end_draining(self) -> None:
        """The last caller stops the drain: its row is released, and others may drain."""
        self._drains -= 1
        await to_end(self._stop_draining())

    async def _stop_draining(self) -> None:
        async with self._turning:
            if self._drains or self._draining is None:
                return
            await cancel_and_wait(self._draining)
            self._draining = None
            self.lock.give()

    @contextlib.asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """Drain while the block runs, and not a moment longer."""
        try:
            await self.begin_draining()
            yield
        finally:
            await self.end_draining()

    async def _drain(self) -> None:
        while True:
            while not await self._take_over():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(_LOCK_S)
            works = [
                asyncio.create_task(work) for work in (self.drainer.run(), self.retention.run())
            ]
            try:
                await self._say_while_ours()
            finally:
                await cancel_and_wait(*works)
            # Outbox or lock were removed underneath: begin again with what lies there now.
            self.lock.give()
            self.drainer.pause.block = None
            self.watcher.ask_scan()

    async def _take_over(self) -> bool:
        """Whether the outbox is ours to drain now; a disk that fails is asked again."""
        try:
            if await self.run(self.lock.lost):
                self.lock.give()
            await self.open()
            # Who is cancelled must not take it behind the back of who gives it.
            if not await to_end(self.run(self.lock.take)):
                return False
            await self.outbox(transitions.release_claims)
            await adopt_copies(self.intake)
            await self.run(spool.sweep, self._spool, await self.outbox(queries.spooled))
        except (OSError, LocalStorageError) as error:
            self._defer(error)
            if self.lock.held and isinstance(error, LocalStorageError) and error.code == DAMAGED:
                await self._rebuild(damaged=True)
            else:
                await asyncio.sleep(_STORAGE_S)
            return False
        self._deferred = ""
        return True

    def _defer(self, error: Exception) -> None:
        said = str(error)
        if said != self._deferred:  # said once: it may go on for days
            log.warning("drain deferred reason=%s", said)
        self._deferred = said

    async def _is_ours(self) -> bool:
        """Whether outbox and lock are still the files that others would open."""
        try:
            if await self.run(self.lock.lost):
                return False
            return not self.outbox.is_open or not await self.outbox.missing()
        except LocalStorageError:
            return False

    async def _rebuild(self, *, damaged: bool) -> None:
        """Begin a new outbox from what lies on the disk; the bucket tells what is up already.

        A disk that fails meanwhile is asked again, until all is done.
        """
        self._rebuilding = True
        try:
            if damaged or not self.outbox.is_open:
                await self.outbox.rebuild()
            await self.drainer.pause.retry_now()
            await adopt_copies(self.intake)
        except LocalStorageError as error:
            log.warning("outbox not rebuilt reason=%s", error.message)
            return
        self._rebuilding = False
        self.watcher.ask_scan()

    # -- verbs

    async def scan(self) -> int:
        """Look through the log directories; return how many new files are waited for."""
        return await self.watcher.scan()

    async def landed(self) -> dict[str, int]:
        """A flight has ended: scan now, take what has settled; ``{found, enqueued}``."""
        found, enqueued = await self.watcher.scan_and_accept()
        await self.drainer.pause.retry_now()
        return {"found": found, "enqueued": enqueued}

    async def enqueue(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        name: str | None = None,
        priority: int = PRIORITY_ASKED,
        inside_only: bool = False,
        **more: Any,
    ) -> Row:
        """Enter a file by its path, durably, without waiting for its upload.

        ``more``: ``session_id``, ``kinds`` and ``facts`` of :class:`RowOptions`. Raises as
        :func:`petal_s3.intake.enqueue.enqueue`.
        """
        options = RowOptions(name=name, key=key or "", priority=priority, **more)
        return await enqueue(self.intake, path, options, inside_only=inside_only)

    async def receive(
        self,
        chunks: AsyncIterable[bytes],
        name: str | Callable[[], str],
        *,
        key: str | None = None,
        **more: Any,
    ) -> Row:
        """Enter a body that comes in pieces, durably.

        ``more``: ``priority``, ``session_id``, ``kinds`` and ``facts`` of :class:`RowOptions`.
        Raises as :func:`petal_s3.intake.receive.receive`.
        """
        options = RowOptions(key=key or "", **more)
        idle_s = self.settings.request_timeout
        return await receive(self.intake, chunks, name, options, idle_s=idle_s)

    def fly(self, *, armed: bool) -> str:
        """Take in what somebody says of the flight; returns the flight state.

        Raises :class:`Conflict` where an autopilot is heard.
        """
        before = self.send_blocked_reason()
        if not self.flight.declare(armed=armed, now=self._now()):
            raise Conflict("An autopilot is heard: it says itself whether the vehicle is armed.")
        self._may_send_again(before)
        return self.flight.state(self._now())

    async def wait(
        self,
        row_id: int,
        *,
        patience_s: float | None = None,
        while_blocked: bool = True,
        on_progress: Callable[[int, int, float], None] | None = None,
    ) -> Row:
        """Return the row once it is settled.

        Raises :class:`NotNow` when nothing has moved for ``patience_s`` seconds, or as soon as
        nothing at all is sent (unless ``while_blocked``): the row stays and is sent later.
        ``on_progress`` gets bytes moved, size and bytes per second.
        """
        patience_s = self.settings.request_timeout if patience_s is None else patience_s
        seen: object = None
        moved_at, rate = self._now(), Rate()
        while True:
            self._changed.clear()
            row = await self.outbox(queries.get, row_id)
            moved = self.moved(row)
            # What a server offers is learnt before the first byte leaves: that takes a while.
            now_seen = (moved, self.compared(row), self.s3.capabilities)
            if now_seen != seen:
                seen, moved_at = now_seen, self._now()
                speed = rate.take(self._now(), moved)
                if on_progress is not None:
                    on_progress(moved, row.size, speed)
            if row.settled:
                return row
            still_s = self._now() - moved_at
            held_up = not while_blocked and await self._is_held_up(row, still_s)
            if held_up or still_s >= patience_s:
                why, code = await self._why_not(row)
                raise NotNow(why, row_id=row.id, code=code)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(0.5, patience_s))

    async def _is_held_up(self, row: Row, still_s: float) -> bool:
        """Whether nothing at all is sent now, by whoever drains."""
        block = self.drainer.block
        if self.send_blocked_reason() or (block is not None and block.until > self._now()):
            return True
        # What another process said may be over, and it needs a moment to see a new row.
        return row.state == "queued" and still_s >= _HEARD_S and bool(await self._heard())

    async def _heard(self) -> dict[str, Any]:
        """Why another process that drains sends nothing: reason and code; else empty."""
        if self.lock.held or await self.run(self.lock.holder) is None:
            return {}
        said = await self.outbox(drain_status.last)
        return said if said.get("reason") else {}

    async def is_sending(self, row: Row) -> bool:
        """Whether a row only waits its turn, or for another process that sends it."""
        if await self._is_held_up(row, _HEARD_S):
            return False
        going = await self.outbox(queries.rows, "uploading", 2)
        return any(one.id != row.id or not self.lock.held for one in going)

    async def until_changed(self, at_most_s: float) -> None:
        """Wait until a row may have changed, or for so long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        self._changed.clear()

    def moved(self, row: Row) -> int:
        """Bytes of the row that are confirmed or on their way."""
        live = self.uploader.live.get(row.id)
        return max(row.sent_bytes, live.moved) if live is not None else row.sent_bytes

    def compared(self, row: Row) -> int:
        """Bytes of the row that were read again, to be compared with what S3 has confirmed."""
        live = self.uploader.live.get(row.id)
        return live.compared if live is not None else 0

    async def cancel(self, row_id: int, reason: str = "Cancelled on request.") -> Row:
        """Give a row up; what was sent of it is aborted."""
        row = await self.outbox(requests.cancel, row_id, reason)
        await self._on_settled(row)
        self.drainer.pause.wake()
        return row

    async def retry(self, row_id: int) -> Row:
        """Try a row now, or again."""
        row = await self.outbox(requests.retry, row_id)
        await self.drainer.pause.retry_now()
        return row

    async def presign(self, key: str, expires_s: int, *, method: str = "GET") -> dict[str, Any]:
        """A URL for one object as JSON, with the moment until which it really lives."""
        made = await self.objects.presign(key, expires_s, method=method)
        return views.presigned(self.objects.own(key), made, self.ends_at(made))

    def ends_at(self, made: Presigned) -> str:
        """Until when a URL that was made now lives, by S3's clock, as ISO 8601."""
        until = self.s3.clock.utcnow() + timedelta(seconds=made.expires_s)
        return until.isoformat(timespec="seconds")

    async def rows(
        self, *, state: str | None = None, limit: int = 100, token: int | None = None
    ) -> list[dict[str, Any]]:
        """Rows as JSON, the latest first."""
        found = await self.outbox(queries.rows, state, limit, token)
        drained = await self._is_drained()
        return [self._json(row, drained=drained) for row in found]

    async def row(self, row_id: int) -> dict[str, Any]:
        """One row as JSON; raises :class:`S3FileNotFoundError`."""
        row = await self.outbox(queries.get, row_id)
        return self._json(row, drained=await self._is_drained())

    async def _is_drained(self) -> bool:
        return self.lock.held or await self.run(self.lock.holder) is not None

    def _json(self, row: Row, *, drained: bool) -> dict[str, Any]:
        shown = row_json(row, self._now(), moved=self.moved(row))
        return {**shown, "reason": why_not(row, self._reason(), drained=drained)}

    async def status(self) -> dict[str, Any]:
        """The one JSON that says how things are."""
        bucket = bucket_name_of(self.settings)
        if self.lock.held:
            return await self.outbox(summary, self._says(), os.getpid(), bucket)
        said = await self.outbox(drain_status.last)
        found = await self.outbox(summary, said, await self.run(self.lock.holder), bucket)
        if found["drained_by"] is None and self._deferred:
            found["reason"] = self._deferred
        return found

    async def metrics(self) -> str:
        """The figures of ``/metrics``, in Prometheus' text format."""
        status = await self.status()
        measured = {d: await self.run(_free_bytes, d) for d in self.settings.directories}
        free = {str(d): number for d, number in measured.items() if number is not None}
        return exposition(
            Figures(
                rows=status["counts"],
                backlog_bytes=status["backlog_bytes"],
                oldest_unsent_s=status["oldest_unsent_s"] or 0,
                link_up=status["link"] == "up",
                sent_bytes=self.s3.sent.total,
                parts_sent=self.uploader.traffic.parts_sent,
                parts_resent=self.uploader.traffic.parts_resent,
                token_fetches=self.tokens.tries if self.tokens is not None else 0,
                free_bytes=free,
                deletions=await self.outbox(deletions.totals),
            )
        )

    def heartbeat(self, beat: Heartbeat) -> None:
        """Take in a heartbeat; when it lets uploads go on or ends a flight, nobody waits."""
        before = self.send_blocked_reason()
        self.flight.heartbeat(beat, self._now())
        if self.flight.may_be_ending:
            self.watcher.ask_scan()  # the wait for files to settle runs beside the confirmation
        self._may_send_again(before)

    def _may_send_again(self, before: str | None) -> None:
        if before is not None and self.send_blocked_reason() is None:
            self.watcher.ask_scan()
            self.drainer.pause.wake()

    # -- what the rooms ask and tell

    def now(self) -> float:
        """Seconds of the clock that nobody can set."""
        return self._now()

    def send_blocked_reason(self) -> str | None:
        """Why nothing may be sent now; none when it may."""
        if self.settings.upload_while_flying:
            return None
        return self.flight.send_blocked_reason(self._now())

    def bytes_of(self, fd: int, size: int) -> FileBytes:
        """The bytes of an open file, to be compared with an object."""
        return FileBytes(fd, size, self._files)

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run blocking work on files in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)

    def _may_not_delete(self) -> str | None:
        """Why nothing may be deleted now: it flies, or the bucket cannot confirm anything."""
        block = self.drainer.block
        blocked = block is not None and block.until > self._now()
        return self.send_blocked_reason() or (
            block.reason if blocked and block is not None else None
        )

    async def pin(self, row_id: int, *, pinned: bool) -> Row:
        """Keep the file of a row as long as the disk allows, or let it go like any other."""
        return await self.outbox(deletions.pin, row_id, pinned=pinned)

    async def _on_settled(self, row: Row) -> None:
        if row.state == "verified":
            self.retention.wake()
        if row.spooled and row.state in {"verified", "cancelled"}:
            await self.run(spool.discard, self._spool, row.path)
        self._changed.set()

    def _says(self) -> dict[str, Any]:
        rate = self._rate.take(self._now(), self.s3.sent.total)
        return {
            "pid": os.getpid(),
            "machine_id": self.machine_id,
            "link": self.drainer.link,
            "credentials": self._credentials(),
            "clock_offset_s": self.s3.clock.offset_s,
            "flight_state": self.flight.state(self._now()),
            "reason": self._reason(),
            "code": self._code(),
            "rate_bytes_s": rate,
            "settling": self.watcher.settling.paths[:20],
            "trouble": self.watcher.trouble,
            "advice": [*self.orphans.advice, *self.retention.advice],
        }

    def _credentials(self) -> str:
        code = self.drainer.block.code if self.drainer.block is not None else ""
        if code in {"token_service_refused", "credentials_refused"}:
            return "refused"
        if code == "credentials_expired":
            return "expired"
        if self.tokens is None:
            return "none" if code == "no_credentials" else "ok"
        return "ok" if self.tokens.current is not None else "none"

    async def _why_not(self, row: Row) -> tuple[str, str]:
        """Why a row is not sent, in a sentence, and the code of that."""
        heard = await self._heard()
        why = heard.get("reason") or self._reason() or row.reason or "It is not sent yet."
        code = heard.get("code") or self._code() or row.code or "not_now"
        return f"{why} It stays in the outbox and is sent later.", code

    def _reason(self) -> str:
        block = self.drainer.block
        return self.send_blocked_reason() or (block.reason if block is not None else "")

    def _code(self) -> str:
        if self.send_blocked_reason() is not None:
            return "armed" if self.flight.state(self._now()) == "armed" else "listening"
        block = self.drainer.block
        return block.code if block is not None else ""

    async def _say(self) -> None:
        self._changed.set()
        await self.outbox(drain_status.publish, self._says())

    async def _say_while_ours(self) -> None:
        last: dict[str, Any] = {}
        while await self._is_ours():
            try:
                last = await self._say_what_changed(last)
            except Exception:
                log.exception("drain could not say how things are")
            await asyncio.sleep(_SAY_S)

    async def _say_what_changed(self, last: dict[str, Any]) -> dict[str, Any]:
        damaged = self.drainer.block is not None and self.drainer.block.code == DAMAGED
        if damaged or self._rebuilding:
            await self._rebuild(damaged=damaged)
        says = self._says()
        if _differs(says, last):
            with contextlib.suppress(S3IntegrationError):
                await self.outbox(drain_status.publish, says)
        return says


def machine_ids(configured: str | None, host: str | None) -> tuple[str, ...]:
    """The ids whose keys this machine owns, its own first; raises :class:`ConfigError`."""
    ids = [one for one in (configured, host) if one]
    if not ids:
        with contextlib.suppress(OSError):
            ids.append(Path("/etc/machine-id").read_text().strip())
    try:
        return tuple(dict.fromkeys(valid_machine_id(one) for one in ids if one)) or _no_id()
    except ValueError as error:
        raise ConfigError(f"PETAL_S3_MACHINE_ID: the machine id is unusable: {error}.") from error


def _free_bytes(directory: Path) -> int | None:
    with contextlib.suppress(OSError):
        return free_bytes(directory)
    return None


def _no_id() -> tuple[str, ...]:
    raise ConfigError(
        "PETAL_S3_MACHINE_ID is not set, and neither the host nor /etc/machine-id knows an id."
    )


def _differs(says: dict[str, Any], last: dict[str, Any]) -> bool:
    still = {"clock_offset_s"}
    return any(says.get(name) != last.get(name) for name in says.keys() - still)
