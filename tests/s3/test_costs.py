"""What uploads cost, in figures that no other load on the machine changes: bars to keep below."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from robot import LogStore

from petal_s3.core.settings import MIB
from petal_s3.demo.ledger import Request
from tests.support.authority import Authority
from tests.support.costs import Costs
from tests.support.server import FaultServer

PART = 5 * MIB
LARGE = 4 * PART + 100_000
SMALL = 200_000
MANY = 20


@dataclass(frozen=True)
class Batch:
    """What one batch of logs has cost."""

    enqueued: Costs
    sent: Costs
    requests: list[Request]

    @property
    def ops(self) -> list[str]:
        return [request.op for request in self.requests]


class Uploads:
    """A process of its own that sends batches over TLS to a server that checks checksums."""

    def __init__(self, server: FaultServer, store: LogStore, tmp: Path, authority: Path) -> None:
        self._server, self._store, self._tmp, self._authority = server, store, tmp, authority
        self.started = Costs()
        """What it has cost to open the service, imports included."""

    async def cost(self, *sizes: list[int], **settings: object) -> list[Batch]:
        """What batches of logs of these sizes cost; the first of all sends what is learnt once."""
        batches = [
            [self._log(number, size) for size in batch] for number, batch in enumerate(sizes)
        ]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.costs_child"),
            json.dumps({**self._settings(), **settings}),
            json.dumps(batches),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "AWS_CA_BUNDLE": str(self._authority)},
        )
        self.started = await _line(child)
        found = []
        for _ in batches:
            enqueued, before = await _line(child), len(self._server.ledger.requests())
            sent = await _line(child)
            found.append(Batch(enqueued, sent, self._server.ledger.requests()[before:]))
        assert await asyncio.wait_for(child.wait(), 60) == 0
        return found

    def _log(self, batch: int, size: int) -> str:
        made = len(list((self._tmp / "logs").glob("*"))) if (self._tmp / "logs").exists() else 0
        path = self._tmp / "logs" / f"{batch}-{made}.ulg"
        self._store.copy(path, size, made)
        return str(path)

    def _settings(self) -> dict[str, object]:
        return {
            "bucket_name": "logs",
            "session_token_url": self._server.tokens.url,
            "endpoint_url": self._server.url,
            "machine_id": "drone-001",
            "state_dir": str(self._tmp / "state"),
            "log_dirs": str(self._tmp / "logs"),
            "settle_seconds": 0,
            "part_size": PART,
        }


async def _line(child: asyncio.subprocess.Process) -> Costs:
    assert child.stdin is not None
    assert child.stdout is not None
    line = await asyncio.wait_for(child.stdout.readline(), 120)
    child.stdin.write(b"\n")
    return Costs.of(line.decode())


@pytest.fixture
async def uploads(tmp_path: Path, store: LogStore) -> AsyncIterator[Uploads]:
    """A way to weigh uploads."""
    authority, server = Authority(tmp_path), FaultServer()
    await server.start(tls=authority.server("localhost"))
    async with server.tokens:
        yield Uploads(server, store, tmp_path, authority.file)
    await server.stop()


# -- one large log


async def test_a_large_log_is_hashed_and_read_so_often_and_not_more(uploads: Uploads) -> None:
    _, large = await uploads.cost([SMALL], [LARGE])

    assert large.sent.md5_bytes <= 2.01 * LARGE
    assert large.sent.crc_bytes <= 2.01 * LARGE
    assert large.sent.read_bytes <= 3.01 * LARGE
    assert large.sent.io_bytes <= 3.05 * LARGE
    assert large.sent.sha256_bytes <= 100_000  # what signs requests, and no body


async def test_a_large_log_costs_so_many_requests_commits_and_hops(uploads: Uploads) -> None:
    _, large = await uploads.cost([SMALL], [LARGE])

    parts = ["UploadPart"] * 5
    around = ["CreateMultipartUpload", "CompleteMultipartUpload", "HeadObject"]
    assert sorted(large.ops) == sorted([*around, *parts])
    assert large.sent.commits <= 12
    assert large.sent.hops <= 125
    assert large.sent.wakes <= 125
    assert large.sent.threads <= 2


async def test_a_process_that_sends_has_imported_so_many_modules(uploads: Uploads) -> None:
    first, large = await uploads.cost([SMALL], [LARGE])

    assert uploads.started.modules <= 700
    assert first.sent.modules <= 350  # those of botocore and aiohttp among them
    assert large.sent.modules == 0


# -- many small logs


@pytest.mark.parametrize("alike", [False, True], ids=["of many sizes", "of one size"])
async def test_small_logs_cost_so_much_each(uploads: Uploads, *, alike: bool) -> None:
    sizes = [SMALL if alike else SMALL + n for n in range(MANY)]
    _, small = await uploads.cost([SMALL + MANY], sizes)

    whole, sent = sum(sizes), small.sent
    assert sorted(small.ops) == sorted(["PutObject", "HeadObject"] * MANY)
    assert sent.md5_bytes <= (2.01 if alike else 1.01) * whole
    assert sent.crc_bytes <= (2.01 if alike else 1.01) * whole
    assert sent.read_bytes <= (3.01 if alike else 2.01) * whole
    assert sent.commits <= 4.1 * MANY
    assert sent.hops <= (10.5 if alike else 8.5) * MANY
    assert sent.wakes <= (10.5 if alike else 8.5) * MANY
    assert sent.modules == 0


async def test_to_enqueue_logs_costs_one_commit_and_the_first_bytes_of_each(
    uploads: Uploads,
) -> None:
    _, small = await uploads.cost([SMALL], [SMALL] * MANY)

    assert small.enqueued.commits <= MANY
    assert small.enqueued.read_bytes <= 4096 * MANY
    assert small.enqueued.hops <= 4.5 * MANY
