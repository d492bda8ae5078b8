"""What one large log costs, in figures that no other load on the machine changes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest
from wired import PART, settings

from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.logs import write_bag
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.s3 import checksums, request_body
from petal_s3.s3.capabilities import Capabilities
from petal_s3.service.service import Service
from tests.support.known import CHECKING, CONDITIONAL
from tests.support.server import FaultServer

PARTS = 4
SIZE = PARTS * PART - 1000


class Counted:
    """Bytes by what was done with them, and how often a thread was asked."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.hops = 0

    @property
    def per_byte(self) -> dict[str, float]:
        """For each byte of the log."""
        return {name: round(count / SIZE, 2) for name, count in sorted(self.bytes.items())}


class Hashes:
    """``hashlib``, whose md5 is counted."""

    def __init__(self, found: Counted) -> None:
        self._found = found

    def __getattr__(self, name: str) -> Any:
        return getattr(hashlib, name)

    def md5(self, data: bytes = b"", **named: Any) -> Any:
        return Md5(self._found, hashlib.md5(data, **named))


class Md5:
    def __init__(self, found: Counted, real: Any) -> None:
        self._found, self._real = found, real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def update(self, block: Any) -> None:
        self._found.bytes["md5"] += len(block)
        self._real.update(block)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    found = Counted()
    crc32, preadv, sendfile = checksums.crc32_of, os.preadv, os.sendfile
    run = asyncio.BaseEventLoop.run_in_executor

    def read(*given: Any) -> int:
        count = preadv(*given)
        found.bytes["read"] += count
        return count

    def send(*given: Any) -> int:
        count = sendfile(*given)
        found.bytes["read"] += count
        return count

    def crc(block: Any, so_far: int = 0) -> int:
        found.bytes["crc32"] += len(block)
        return crc32(block, so_far)

    def hop(self: Any, executor: Executor | None, *given: Any) -> Any:
        found.hops += 1
        return run(self, executor, *given)

    class Os:
        RWF_NOWAIT = os.RWF_NOWAIT

        def __getattr__(self, name: str) -> Any:
            return {"preadv": read, "sendfile": send}.get(name) or getattr(os, name)

    for module in (checksums, request_body):
        monkeypatch.setattr(module, "os", Os())
    monkeypatch.setattr(checksums, "hashlib", Hashes(found))
    monkeypatch.setattr(checksums, "crc32_of", crc)
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", hop)
    yield found


class Drone:
    """One service at one server, of which so much is known."""

    def __init__(self, server: FaultServer, tmp: Path) -> None:
        self.server, self.tmp = server, tmp
        self.log = tmp / "logs" / "flight.bag"
        self.log.parent.mkdir()
        write_bag(self.log, SIZE)

    async def bring(self, known: Capabilities) -> Row:
        given = settings(self.server, self.server.url, self.tmp, part_size=PART, concurrency=2)
        service = Service(load_settings(**given), capabilities=known)
        await service.open()
        try:
            await service.outbox(transitions.release_claims)
            row = await service.enqueue(self.log)
            await service.drainer.step()
            return await service.outbox(queries.get, row.id)
        finally:
            await service.stop()


@pytest.fixture
async def drone(tmp_path: Path) -> AsyncIterator[Drone]:
    async with FaultServer() as server:
        yield Drone(server, tmp_path)


async def test_where_the_crc32_proves_it_no_md5_is_computed(drone: Drone, counted: Counted) -> None:
    row = await drone.bring(CHECKING)

    assert row.receipt is not None
    assert row.receipt.proof == "crc32"
    # Once for the header of each part, once in the last reading; between them it is sent.
    assert counted.per_byte == {"crc32": 2.0, "read": 3.0}
    assert drone.server.ledger.parts(row.key).resent == 0


async def test_where_it_does_not_md5_is_computed_once(drone: Drone, counted: Counted) -> None:
    row = await drone.bring(CONDITIONAL)

    assert row.receipt is not None
    assert row.receipt.proof == "crc32+etag"
    assert counted.per_byte == {"crc32": 2.0, "md5": 1.0, "read": 3.0}


async def test_a_large_log_asks_few_threads_and_sends_few_requests(
    drone: Drone, counted: Counted
) -> None:
    await drone.bring(CHECKING)

    asked = Counter(request.op for request in drone.server.ledger.requests())
    assert asked.pop("UploadPart") == PARTS
    asked.pop("ListObjectsV2")  # once a day
    assert sum(asked.values()) == 3, asked  # begin, join, prove
    # Hashed, written down and hashed again: no hop for a block of 512 KiB, or a MiB.
    assert counted.hops <= 4 * PARTS + 40, counted.hops
