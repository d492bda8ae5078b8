"""Find finished logs and enter them into the outbox, whoever names them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS
from petal_s3.core.settings import Settings
from petal_s3.errors import (
    BadInput,
    LocalStorageError,
    NotAFlightLog,
    NotAllowed,
    NotFinished,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.intake import spool
from petal_s3.intake.flight_state import FlightState
from petal_s3.intake.log_directories import Origin, Origins, find
from petal_s3.intake.proven_before import known_again
from petal_s3.intake.receive import Half, take_in
from petal_s3.intake.settling import File, Settling, locked, open_for_writing
from petal_s3.logs.log_file import FlightLog, Identity, open_log
from petal_s3.logs.sniff import kind_of, named_like, shown_name
from petal_s3.objects.download import to_end
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import entering, facts, identities, queries
from petal_s3.outbox.rows import Entry, Row, printable
from petal_s3.outbox.thread import OutboxThread

log = logging.getLogger("petal_s3")

_SETTLING_S = 0.25
_AGAIN_S = 2.0  # after a failure
_CHUNK = 500
_COMPARING_S = 5.0  # then it is looked for new logs again
PRIORITY_ASKED = 10  # somebody waits for it

T = TypeVar("T")


def _lies_at(path: str, identity: Identity) -> bool:
    """Whether the file has this name too; where that cannot be told, it may."""
    try:
        return Identity.of(os.lstat(path)) == identity
    except FileNotFoundError:
        return False
    except OSError:
        return True


class Intake:
    """What comes in: by a landing, by a scan, or by name."""

    def __init__(  # noqa: PLR0913 - the rooms it stands on
        self,
        settings: Settings,
        ownership: KeyOwnership,
        outbox: OutboxThread,
        flight: FlightState,
        files: Executor,
        *,
        on_landed: Callable[[], None],
        now: Clock = clock.now,
    ) -> None:
        """``on_landed`` hears that a row was entered.

        Raises :class:`ConfigError` for a source of which the keys would not be ours.
        """
        self.settling = Settling(settings.settle_seconds)
        self.origins = Origins(settings, ownership)
        self._elsewhere = Origin(Path(), FLIGHT_KINDS, date_folders=settings.date_folders)
        self._settings = settings
        self._ownership = ownership
        self._outbox = outbox
        self._flight = flight
        self._files = files
        self._on_landed = on_landed
        self._now = now
        self._spool = settings.state_dir / "spool"
        self._scan_asked = asyncio.Event()
        self._landings = 0
        self._entering = asyncio.Lock()
        """A copy comes to its place and gets its row: nobody adopts it in between."""
        self.trouble = ""
        """Why nothing can be found or entered now; empty when all is well."""

    def ask_scan(self) -> None:
        """Something may have landed: scan soon."""
        self._scan_asked.set()

    # -- finding

    async def watch(self) -> None:
        """Scan at start, at every interval and when asked; wait for files to settle."""
        scan_at = self._now()
        while True:
            pause_s, trouble = _SETTLING_S, ""
            try:
                if self._scan_asked.is_set() or self._now() >= scan_at or self._landed():
                    self._scan_asked.clear()
                    scan_at = self._now()  # it is made again when it fails
                    await self.scan()
                    scan_at = self._now() + self._settings.scan_interval
                await self._accept_settled()
            except S3IntegrationError as error:
                pause_s, trouble = _AGAIN_S, error.message
                if trouble != self.trouble:  # said once: the disk may be full of such lines
                    log.warning("scan deferred code=%s reason=%s", error.code, trouble)
            except Exception:
                pause_s = _AGAIN_S
                log.exception("scan crashed")  # the next one may fare better
            self.trouble = trouble
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._scan_asked.wait(), pause_s)

    def _landed(self) -> bool:
        self._flight.state(self._now())
        landings, self._landings = self._landings, self._flight.landings
        return self._flight.landings != landings

    async def scan(self) -> int:
        """Look through the log directories; return how many new files are waited for."""
        files = await self._run(find, self._settings)
        fresh: list[File] = []
        for start in range(0, len(files), _CHUNK):
            fresh += await self._outbox(queries.unknown, files[start : start + _CHUNK])
        fresh = [file for file in fresh if not await self._followed(*file)]
        return self.settling.watch(fresh, self._now())

    async def _followed(self, path: str, identity: Identity) -> bool:
        """Whether it is a known file that was rotated: its rows go with it, nothing lands."""
        if named_like(Path(path).name, FLIGHT_KINDS) or path != printable(path):
            return False
        followed = False
        for row in await self._outbox(queries.named_otherwise, path, identity):
            if not await self._run(_lies_at, row.path, identity):
                followed |= await self._outbox(identities.follow, row, path) is not None
        return followed

    async def landed(self) -> tuple[int, int]:
        """Scan now and take what has settled: how many files were found, how many taken."""
        await self.scan()
        return len(self.settling), await self._accept_settled()

    async def _accept_settled(self) -> int:
        if not self.settling or self._flight.state(self._now()) == "armed":
            return 0
        await self._run(self.settling.look, self._now())
        ready = self.settling.ready(self._now(), not_before=self._flight.ended_at)
        writing = await self._run(open_for_writing, ready)
        accepted = 0
        try:
            known: list[str] = []
            for path in ready:
                if path in writing or await self._run(locked, path):
                    self.settling.busy(path, self._now())
                elif await self._proven_before(path):
                    known.append(path)
                else:
                    accepted += await self._accept(path)
            accepted += await self._compare(known)
        finally:
            if accepted:  # also when the disk was full for the next one
                self._on_landed()
        return accepted

    async def _proven_before(self, path: str) -> bool:
        """Whether a file of its size was proven here: it is read whole, after what is new."""
        watched = self.settling.identity(path)
        if watched is None or path != printable(path):
            return False
        return await self._outbox(identities.proven_at, path, watched.size) is not None

    async def _compare(self, paths: list[str]) -> int:
        """Accept files that may be proven ones with another time, for a while and on the ground."""
        accepted, until = 0, self._now() + _COMPARING_S
        for path in paths:
            accepted += await self._accept(path)
            if self._now() >= until or self._flight.state(self._now()) == "armed":
                break
        return accepted

    async def _accept(self, path: str) -> bool:
        """Whether the file has a new row; it is waited for no longer, unless it is written to."""
        known = False
        origin = await self._run(self.origins.of, Path(path))
        try:
            row = await self._land(Path(path), path, Path(path).name, origin=origin)
            known = row.state == "verified"
        except NotAFlightLog as error:
            await self._refuse(path, error, origin)
        except NotFinished:
            self.settling.busy(path, self._now())
            return False
        except LocalStorageError:
            raise
        except S3IntegrationError as error:
            log.warning("log not accepted path=%s reason=%s", ascii(path), error.message)
            self.settling.done(path)
            return False
        self.settling.done(path)
        return not known

    async def _refuse(self, path: str, error: NotAFlightLog, origin: Origin | None) -> None:
        log.warning("no log of its place path=%s code=%s", ascii(path), error.code)
        with contextlib.suppress(OSError):
            identity = Identity.of(os.lstat(path))
            entry = self._entry(
                printable(path),
                Path(path).name,
                identity,
                "unknown",
                "refused",
                origin=origin or self._elsewhere,
            )
            await self._outbox(entering.enter_refused, entry, error.code, error.message)

    async def _land(  # noqa: PLR0913
        self,
        path: Path,
        original: str,
        name: str,
        *,
        asked_key: str = "",
        origin: Origin | None = None,
        kinds: frozenset[str] = frozenset(),
        facts: Any = None,
        **more: Any,
    ) -> Row:
        origin = origin or self._elsewhere
        real = not more.get("spooled")  # what was found or allowed is what is opened
        found = await self._run(
            lambda: FlightLog.read(
                path,
                max_bytes=self._settings.max_file_size,
                name=name,
                real=real,
                kinds=kinds | origin.kinds,
            )
        )
        entry = self._entry(
            str(path),
            name,
            found.identity,
            found.kind,
            found.verdict,
            original=original,
            facts={**found.facts, **(facts or {})},
            asked_key=asked_key,
            origin=origin,
            **more,
        )
        if real:
            await known_again(self._outbox, self._run, entry.path, found.identity)
        row = await self._outbox(entering.enqueue, entry)
        log.info("landed key=%s size=%d verdict=%s", row.key, row.size, row.verdict)
        return row

    def _entry(  # noqa: PLR0913
        self,
        path: str,
        name: str,
        identity: Identity,
        kind: str,
        verdict: str,
        *,
        origin: Origin,
        original: str = "",
        asked_key: str = "",
        facts: Any = None,
        **more: Any,
    ) -> Entry:
        named = Path(original or path).with_name(name)
        logged_at = origin.logged_at(named, identity.mtime_ns, kind)
        key = asked_key or origin.key(self._ownership, name, logged_at, kind)
        more = {"content_type": origin.content_type, **more}
        return Entry(
            path=path,
            identity=identity,
            key=key,
            name=printable(name),
            kind=kind,
            verdict=verdict,
            facts=facts or {},
            logged_at=int(logged_at.timestamp()),
            landed_at=int(time.time()),
            asked_key=asked_key,
            **more,
        )

    async def adopt_copies(self) -> None:
        """Enter copies in the spool that no row knows: the outbox that knew them was lost."""
        if await self._outbox(facts.noted, "copies adopted"):
            return
        async with self._entering:
            for copy in await self._run(spool.copies, self._spool):
                await self._adopt(copy)
        await self._outbox(facts.note, "copies adopted")

    async def _adopt(self, copy: Path) -> None:
        if await self._outbox(queries.at_path, str(copy)):
            return
        about = await self._run(spool.described, copy)
        key = about.pop("asked_key", "")
        try:
            about["asked_key"] = self._ownership.check_lasting(key) if key else ""
        except S3IntegrationError as error:
            log.warning("asked key not kept name=%s reason=%s", copy.name, error.message)
        known = {"name": copy.name, **about}
        for told in [known, {**known, "name": copy.name}][: 1 + (known["name"] != copy.name)]:
            try:
                await self._land(copy, str(copy), spooled=True, kinds=ALL_KINDS, **told)
            except LocalStorageError:
                raise
            except S3IntegrationError as error:
                log.warning("copy not adopted name=%s reason=%s", copy.name, error.message)
            else:
                return

    # -- entering

    async def enqueue(  # noqa: PLR0913
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        name: str | None = None,
        priority: int = PRIORITY_ASKED,
        inside_only: bool = False,
        session_id: str | None = None,
        kinds: frozenset[str] = FLIGHT_KINDS,
    ) -> Row:
        """Enter a file by name, durably; returns at once.

        A file outside the log directories is spooled first, or refused with ``inside_only``. It
        is one of ``kinds``, or of those of the source that it lies in.
        Raises :class:`NotAFlightLog`, :class:`NotFinished`, :class:`NotAllowed`,
        :class:`BadInput`, :class:`S3FileNotFoundError`, :class:`LocalStorageError`.
        """
        asked_key = self._ownership.check_lasting(key) if key else ""
        real, origin = await self._run(self.located, path, inside_only)
        if await self._run(open_for_writing, [str(real)]):
            raise NotFinished(f"{real.name} is still being written; enqueue it when it is closed.")
        name = Path(name).name if name else Path(os.fspath(path)).name
        if not name:
            raise BadInput("This is not a file name.", code="bad_name")
        more: dict[str, Any] = {
            "asked_key": asked_key,
            "priority": priority,
            "session_id": session_id,
            "kinds": kinds,
        }
        if origin is not None:
            row = await self._land(real, str(real), name, origin=origin, **more)
        else:
            row = await self._spool_in(real, name, more)
        self._on_landed()
        return row

    def located(
        self, path: str | os.PathLike[str], inside_only: bool = False
    ) -> tuple[Path, Origin | None]:
        """The real path of a file, and the directory of ours that it lies in; blocking.

        Raises :class:`BadInput`, :class:`NotAllowed` with ``inside_only`` for a file elsewhere,
        and :class:`S3FileNotFoundError`.
        """
        text = os.fspath(path)
        if not text.strip() or "\0" in text:
            raise BadInput("This is not a path.", code="bad_path")
        real = Path(os.path.realpath(text))
        origin = self.origins.of(real)
        if inside_only and origin is None:
            raise NotAllowed("Only files inside the log directories can be enqueued this way.")
        if not real.exists():
            raise S3FileNotFoundError(f"There is no file {real.name!a}.")
        return real, origin

    async def receive(
        self,
        chunks: AsyncIterable[bytes],
        name: str | Callable[[], str],
        *,
        key: str | None = None,
        idle_s: float = 60.0,
        kinds: frozenset[str] = FLIGHT_KINDS,
        **more: Any,
    ) -> Row:
        """Enter a body that comes in pieces, of whatever size; durable when this returns.

        It goes straight to the spool: memory stays flat. ``name``: of the file, or what tells it
        when all has come. ``more``: ``priority``, ``session_id`` and ``facts`` of the row. Raises
        as :meth:`enqueue`, and :class:`BadInput` when nothing comes for ``idle_s`` seconds. What
        is broken off leaves nothing behind.
        """
        asked_key = self._ownership.check_lasting(key) if key else ""
        known = name if isinstance(name, str) else ""
        if isinstance(name, str):
            kind_of(name, shown_name(name), kinds)  # before a byte of it is taken
        half = Half(self._spool)
        try:
            await take_in(
                chunks,
                half,
                known,
                max_bytes=self._settings.max_file_size,
                idle_s=idle_s,
                run=self._run,
                kinds=kinds,
            )
            final = name if isinstance(name, str) else name()
            about = {"priority": PRIORITY_ASKED, **more, "asked_key": asked_key, "kinds": kinds}
            row = await to_end(self._enter(half, final, about))
        finally:
            await self._run(half.discard)
        self._on_landed()
        return row

    async def _enter(self, half: Half, name: str, more: dict[str, Any]) -> Row:
        row = await self._spool_in(half.path, name, more, take=half.keep)
        half.leave_to(row.path)
        return row

    async def _spool_in(
        self,
        real: Path,
        name: str,
        more: dict[str, Any],
        *,
        take: Callable[[Path], object] | None = None,
    ) -> Row:
        """Keep our own copy: the caller may delete or change its file as soon as we return.

        ``take`` brings the file to its place in the spool; by itself it is linked or copied.
        """
        found = await self._run(
            lambda: FlightLog.read(
                real, max_bytes=self._settings.max_file_size, name=name, kinds=more["kinds"]
            )
        )
        asked_key = str(more["asked_key"])
        for row in await self._outbox(
            queries.copies, printable(name), found.identity.size, asked_key
        ):
            if await self._run(spool.same_bytes, real, Path(row.path)):
                return row  # asked again, under whatever path: a second copy would fill the disk
        target = spool.place(self._spool, str(real.with_name(name)), found.identity, asked_key)
        for row in await self._outbox(queries.at_path, str(target)):
            if row.asked_key == asked_key and row.state not in {"dead", "cancelled"}:
                return row
        about = {"name": name, **{n: more.get(n) for n in ("asked_key", "session_id", "facts")}}
        async with self._entering:
            try:
                await self._run(spool.describe, target, about)
                await self._run(take or (lambda place: self._bring_in(real, place)), target)
                return await self._land(target, str(real), name, spooled=True, **more)
            except BaseException:
                await self._run(spool.forget, target)
                raise

    @staticmethod
    def _bring_in(real: Path, target: Path) -> None:
        fd = open_log(real)
        try:
            spool.bring_in(fd, real, target)
        finally:
            os.close(fd)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)
