"""A drone that looks at its objects: fault server, bad link, a whole service and its proxy."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot import BUCKET, HOME, MACHINE

from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.ledger import Request
from petal_s3.demo.link import Link
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.objects.objects import Objects
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.s3.checksums import multipart_etag
from petal_s3.service.service import Service
from tests.support.known import KNOWN
from tests.support.mind import Thing
from tests.support.server import FaultServer

KEY = f"{HOME}20250727_143022_flight.ulg"
OTHER = f"{HOME}new.ulg"
PART = 5 * MIB


@functools.lru_cache(8)
def noise(size: int, seed: int = 0) -> bytes:
    """Bytes of which no two stretches are alike."""
    return random.Random(seed).randbytes(size)


@dataclass
class Wired:
    """The world of one test."""

    server: FaultServer
    link: Link
    service: Service
    proxy: S3BucketProxy
    tmp: Path

    @property
    def objects(self) -> Objects:
        return self.service.objects

    @property
    def things(self) -> dict[str, Thing]:
        return self.server.mind.things

    def put(
        self,
        key: str = KEY,
        body: bytes = b"",
        *,
        part_size: int = 0,
        told: bool = True,
        etag: str = "",
        **headers: str,
    ) -> bytes:
        """An object that is there; ``part_size``: made of parts of so many bytes."""
        if not etag and part_size:
            parts = [body[at : at + part_size] for at in range(0, len(body), part_size)]
            etag = multipart_etag([_md5(part).digest() for part in parts])
            headers["x_amz_meta_part_size"] = str(part_size)
        about = {name.replace("_", "-"): value for name, value in headers.items()}
        self.things[key] = Thing(
            len(body),
            etag or _md5(body).hexdigest(),
            zlib.crc32(body),
            told,
            {"content-type": "application/x-ulog", **about},
            time.time(),
            body,
        )
        return body

    def asked(self, op: str) -> list[Request]:
        """The requests of one operation, in their order."""
        return self.server.ledger.requests(op)

    def ops(self) -> list[str]:
        return [one.op for one in self.server.ledger.requests()]

    async def land(self, key: str, body: bytes, name: str = "flight.ulg") -> Row:
        """A proven row, and its object at ``key``, sent by the service itself."""
        path = self.tmp / "logs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        row = await self.service.enqueue(path, key=key)
        return await self.bring(row.id)

    async def bring(self, row_id: int) -> Row:
        """Make attempts until the row is settled, at most so many."""
        for _ in range(10):
            row = await self.service.outbox(queries.get, row_id)
            if row.settled:
                return row
            await self.service.drainer.pause.retry_now()
            await self.service.drainer.step()
        raise AssertionError(row.reason)

    async def row(self, row_id: int) -> Row:
        return await self.service.outbox(queries.get, row_id)


def _md5(body: bytes) -> Any:
    return hashlib.md5(body, usedforsecurity=False)


def settings(server: FaultServer, url: str, tmp: Path, **more: Any) -> dict[str, Any]:
    return {
        "bucket_name": BUCKET,
        "session_token_url": server.token_url,
        "endpoint_url": url,
        "machine_id": MACHINE,
        "state_dir": str(tmp / "state"),
        "log_dirs": str(tmp / "logs"),
        "settle_seconds": 0,
        "request_timeout": 10,
        **more,
    }


@contextlib.asynccontextmanager
async def wired_up(tmp: Path, **more: Any) -> AsyncIterator[Wired]:
    """Everything open; nothing drains by itself."""
    async with FaultServer(keep=True) as server, Link(server.url) as link:
        loaded = load_settings(**settings(server, link.url, tmp, **more))
        service = Service(loaded, capabilities=KNOWN)
        service.drainer.timing.spread = service.objects.spread = lambda: 0.0
        await service.open()
        await service.outbox(transitions.release_claims)
        proxy = S3BucketProxy(service=service)
        try:
            yield Wired(server, link, service, proxy, tmp)
        finally:
            await proxy.stop()
