"""A process that has no file descriptor left, then one, then two, and gets them back in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import LocalStorageError
from petal_s3.intake.writers import open_for_writing
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service.reporting import import_all
from petal_s3.service.service import Service
from tests.support.known import KNOWN

LIMIT = 256


@contextlib.contextmanager
def only(left: int) -> Iterator[None]:
    """All descriptors are in use but so many."""
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(left):
            os.close(held.pop())
        yield
    finally:
        for fd in held:
            os.close(fd)


class Drone:
    """A service, and logs that are moved into its log directory: that takes no descriptor."""

    def __init__(self, settings: dict[str, Any], staged: Path, logs: Path) -> None:
        self.service = Service(load_settings(**settings), capabilities=KNOWN)
        self.service.drainer.timing.spread = lambda: 0.0
        self._staged = sorted(staged.iterdir())
        self.logs = logs

    def put(self) -> str:
        path = self._staged.pop()
        path.rename(self.logs / path.name)
        return path.name

    async def rows(self, name: str) -> list[Row]:
        return [row for row in await self.service.outbox(queries.rows) if row.name == name]

    async def unconnected(self) -> None:
        """No connection is open, and no token at hand."""
        await self.service.s3.close()
        tokens = self.service.tokens
        assert tokens is not None
        await tokens.close()
        if tokens.current is not None:
            tokens.invalidate(tokens.current.generation)

    async def attempt(self, *works: Callable[[], Awaitable[Any]]) -> list[str]:
        """Land and send with what there is; the codes of what failed."""
        codes: list[str] = []
        for work in works:
            try:
                await work()
            except LocalStorageError as error:
                codes.append(error.code)
        block = self.service.drainer.block
        return [*codes, block.code] if block is not None else codes

    async def starved(
        self, left: int, before: Callable[[], Awaitable[Any]], *works: Callable[[], Awaitable[Any]]
    ) -> dict[str, Any]:
        """One log that meets the lack of descriptors after ``before``, and what became of it."""
        await self.unconnected()
        name = self.put()
        await before()
        with only(left):
            codes = await self.attempt(*works)
            met = [(row.state, row.code) for row in await self.rows(name)]
            link = self.service.drainer.link
        await self.service.drainer.pause.retry_now()
        for _ in range(3):
            await self.attempt(self.service.landed, self.service.drainer.step)
        [row] = await self.rows(name)
        return {"codes": codes, "met": met, "link": link, "state": row.state}

    async def by_itself(self, begin: Callable[[], Awaitable[Any]]) -> str:
        """The service as it runs: nobody asks it again; what it says meanwhile."""
        await self.unconnected()
        with only(0):
            await begin()
            name = self.put()
            self.service.watcher.ask_scan()
            while not self.service.watcher.trouble:  # the parent does not wait for ever
                await asyncio.sleep(0.01)
            said = (await self.service.status()).reason
        while not [row for row in await self.rows(name) if row.state == "verified"]:
            await asyncio.sleep(0.01)
        return str(said)


async def nothing() -> None:
    """All of it without descriptors."""


async def writers(path: Path) -> None:
    """Who writes to it? Without descriptors nobody knows."""
    open_for_writing([str(path)])


async def main(drone: Drone) -> None:
    service = drone.service
    await service.open()
    import_all()  # as a process does when its drain begins
    rounds = {
        "scan": await drone.starved(0, nothing, service.landed),
        "/proc": await drone.starved(0, service.scan, service.watcher.accept_settled),
        "source": await drone.starved(0, service.landed, service.drainer.step),
    }
    for left in range(1, 20):
        found = await drone.starved(left, nothing, service.landed, service.drainer.step)
        rounds[f"{left} left"] = found
        if not found["codes"]:
            break
    with only(0):
        asked = await drone.attempt(lambda: writers(drone.logs / "busy.ulg"))
    said = [await drone.by_itself(service.start), await drone.by_itself(nothing)]
    rows = [(row.name, row.state) for row in await service.outbox(queries.rows)]
    await service.stop()
    sys.stdout.write(json.dumps({"rounds": rounds, "asked": asked, "rows": rows, "said": said}))


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    asyncio.run(main(Drone(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))))
