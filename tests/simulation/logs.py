"""What befalls the logs themselves: they land, grow, are rewritten, replaced, deleted."""

from __future__ import annotations

import os
import random
import shutil
from datetime import datetime, timezone
from pathlib import Path

from petal_s3.demo.logs import write_ulog
from petal_s3.errors import S3IntegrationError
from petal_s3.objects.key_names import log_key
from petal_s3.service import sessions
from tests.simulation.drone import Drone
from tests.simulation.invariants import Accepted
from tests.simulation.waste import HOME
from tests.simulation.world import PART, World
from tests.support.wire import Ask

_SIZES = (9_000, 12_000, PART, PART + 1, 2 * PART, 40_000, 70_000, 100_000)


class Logs:
    """The files of a drone. ``living``: those that still lie there and must be up in the end."""

    def __init__(self, world: World, drone: Drone, rng: random.Random) -> None:
        self.world = world
        self.drone = drone
        self.rng = rng
        self.living: dict[str, Accepted] = {}
        self._count = 0
        self.events_keep = rng.choice(("inodes", "times"))

    def new_log(self) -> None:
        """A log lands in a log directory."""
        path = self._fresh(self.drone.logs)
        if self.rng.random() < 0.1:
            self._stranger(path)
        if self.drone.up and self.rng.random() < 0.7:
            self.drone.service.watcher.ask_scan()

    def _fresh(self, directory: Path) -> Path:
        self._count += 1
        path = directory / f"log{self._count}x.ulg"
        self._write(path, self.rng.choice(_SIZES), seed=self.rng.randrange(6))
        if directory == self.drone.logs:
            self.living[str(path)] = self._known(path)
        return path

    def _write(self, path: Path, size: int, seed: int) -> None:
        write_ulog(path, size, seed=seed)
        self._stamp(path)

    def _stamp(self, path: Path) -> None:
        """Give a file the time that the device believes, and write down what it holds."""
        self._count += 1  # no two writes at one moment: the clock of a file system is coarse
        moment = int(self.world.wall()) * 10**9 + self._count
        os.utime(path, ns=(moment, moment))
        self._known(path)

    def _known(self, path: Path) -> Accepted:
        status = path.stat()
        log = Accepted(str(path), status.st_size, status.st_mtime_ns)
        self.world.invariants.held_by(log, path.read_bytes())
        return log

    def _stranger(self, path: Path) -> None:
        """Somebody else's object stands at the key that this log would have."""
        moment = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        self.world.stranger(log_key(HOME, path.name, moment))

    async def asked(self) -> None:
        """Somebody asks for one file by name; it may lie elsewhere and be deleted at once."""
        if not self.drone.up:
            return
        elsewhere = self.rng.random() < 0.5
        path = self._fresh(self.drone.outside if elsewhere else self.drone.logs)
        try:
            row = await self.drone.do(self.drone.service.enqueue(path))
        except S3IntegrationError as error:
            self.world.note("not accepted", error.code)
            return
        log = Accepted(row.path, row.size, row.mtime_ns)
        self.world.invariants.held_by(log, path.read_bytes())
        self.world.invariants.accepted.add(log)
        self.living[row.path] = log
        if elsewhere:
            path.unlink()

    async def asked_under(self) -> None:
        """A petal wants a log that lies there under a key of its own."""
        path = self._some() if self.drone.up else None
        if path is None:
            return
        self._count += 1
        key = f"{HOME}records/{self._count}/{path.name}"
        try:
            await self.drone.do(self.drone.service.enqueue(path, key=key))
        except S3IntegrationError as error:
            self.world.note("not accepted", error.code)

    def event(self) -> None:
        """Another program writes an event file into a source."""
        self._count += 1
        path = self.drone.events / f"event{self._count}x.xml"
        path.write_bytes(b"<events>" + self._text() + b"</events>")
        self._stamp(path)
        self.living[str(path)] = self._known(path)

    def _text(self) -> bytes:
        """Some text; now and then the same again."""
        made = random.Random(self.rng.randrange(20))
        return made.randbytes(made.choice(_SIZES) // 2).hex().encode()

    async def told(self) -> None:
        """A session wants a text log that is written to all the time; its file may go at once."""
        if not self.drone.up:
            return
        self._count += 1
        path = self.drone.outside / f"text{self._count}x.log"
        body = self._text()
        path.write_bytes(body)
        self._stamp(path)
        session = f"s{self.rng.randrange(3)}"
        try:
            row = await self.drone.do(
                sessions.enter_log(self.drone.service, path, session, description="what for")
            )
        except S3IntegrationError as error:
            self.world.note("not accepted", error.code)
            return
        finally:
            path.unlink()
        log = Accepted(row.path, row.size, row.mtime_ns)
        self.world.invariants.held_by(log, body)
        self.world.invariants.accepted.add(log)
        self.world.invariants.sessions[row.path] = f"{HOME}sessions/{session}/logs/"
        self.living[row.path] = log

    def _some(self) -> Path | None:
        inside = [p for p in self.living if Path(p).parent == self.drone.logs and Path(p).exists()]
        return Path(self.rng.choice(inside)) if inside else None

    def grow(self) -> None:
        """A recorder writes on."""
        if (path := self._some()) is not None:
            self._grow_file(path)

    def _grow_file(self, path: Path) -> None:
        with path.open("ab") as file:
            file.write(self.rng.randbytes(self.rng.randrange(1, 9_000)))
        self._changed(path)

    def _shrink_file(self, path: Path) -> None:
        os.truncate(path, max(8_000, path.stat().st_size // 2))
        self._changed(path)

    def rewrite(self) -> None:
        """The same file holds another log of the same size."""
        if (path := self._some()) is not None:
            self._rewrite_file(path)

    def _rewrite_file(self, path: Path) -> None:
        self._write(path, path.stat().st_size, seed=self.rng.randrange(6, 60))
        self._changed(path)

    def replace(self) -> None:
        """Another file takes its name."""
        if (path := self._some()) is not None:
            self._replace_file(path)

    def _replace_file(self, path: Path) -> None:
        new = path.with_name("new.tmp")
        self._write(new, self.rng.choice(_SIZES), seed=self.rng.randrange(6, 60))
        new.replace(path)
        self._changed(path)

    def touch(self) -> None:
        """Its time changes, its bytes do not."""
        if (path := self._some()) is not None:
            self._changed(path)

    def remount(self, moved_s: int, *, other_inodes: bool) -> None:
        """All cards are mounted anew: nothing of what they hold has changed.

        Event files keep their inodes, or their times: with neither, nothing tells an unsent one
        from a file that took its name when it was rotated away.
        """
        self.world.note("remounted", moved_s, other_inodes)
        for directory in (self.drone.logs, self.drone.events):
            if directory == self.drone.events:
                moved_s = moved_s if self.events_keep == "inodes" else 0
                other_inodes &= self.events_keep == "times"
            for path in sorted(one for one in directory.iterdir() if one.is_file()):
                status = path.stat()
                if other_inodes:
                    copy = path.with_name("copy.tmp")
                    shutil.copyfile(path, copy)
                    copy.replace(path)
                moment = status.st_mtime_ns + moved_s * 10**9
                os.utime(path, ns=(moment, moment))
                log = self._known(path)
                if str(path) in self.living:
                    self.living[str(path)] = log

    def sneak(self) -> None:
        """Another log of the same size under the same name, inode and time."""
        if (path := self._half_sent()) is None:
            return
        before = path.stat()
        write_ulog(path, before.st_size, seed=self.rng.randrange(6, 60))
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        self.living[str(path)] = self._known(path)
        self.world.invariants.excused.add(path.stem)

    def _half_sent(self) -> Path | None:
        """A file whose upload was interrupted; any other when there is none."""
        rows = self.drone.rows()[0] if self.drone.up else []
        half = [r.path for r in rows if r.upload_id and r.state == "queued" and r.kind == "ulog"]
        busy = {row.path for row in rows if row.state == "uploading"}
        found = self._some() if not half else Path(half[0])
        return found if found is not None and str(found) not in busy and found.exists() else None

    def change_midway(self) -> None:
        """While the parts of some file travel, that file changes."""
        acts = (self._grow_file, self._rewrite_file, self._replace_file, self._shrink_file)
        act, skip = self.rng.choice(acts), self.rng.randrange(4)

        def meet(asked: Ask) -> bool:
            nonlocal skip
            name = asked.key.rsplit("_", 1)[-1]
            found = next((p for p in self.living if Path(p).name.split(".")[0] in name), None)
            if found is None or Path(found).parent != self.drone.logs or not Path(found).exists():
                return False
            skip -= 1
            if skip >= 0:
                return False
            self.world.note("midway", act.__name__, Path(found).name)
            act(Path(found))
            return True

        self.world.midway = meet

    def _changed(self, path: Path) -> None:
        self._stamp(path)
        self.living[str(path)] = self._known(path)
        self.world.invariants.excused.add(path.stem)

    def delete(self) -> None:
        """Somebody deletes a log, proven or not."""
        if (path := self._some()) is not None:
            self.world.invariants.gone.add(str(path))
            self.living.pop(str(path))
            path.unlink()
