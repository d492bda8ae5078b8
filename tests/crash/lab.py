"""A drone that loses its processes and its power, beside an S3 that does not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from crash_child import bring

from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3
from petal_s3.demo.tokens import TokenService
from petal_s3.service.service import Service
from tests.support.children import CHILDREN, ended, kill
from tests.support.known import KNOWN

BUCKET = "logs"
PART = 5 * MIB
SMALL = 200_000
TWO_PARTS = PART + 100_000
THREE_PARTS = 2 * PART + 300_000
DEADLINE_S = 60.0


class Lab:
    """One log at a time, its outbox, and the children that come and go."""

    def __init__(
        self, server: EmbeddedS3, cloud: Any, link: LinkThread, tokens: TokenService, tmp: Path
    ) -> None:
        self.server = server
        self.cloud = cloud
        self.link = link
        self.tokens = tokens
        self.logs = tmp / "logs"
        self.logs.mkdir()
        self.path = self.logs / "flight.ulg"
        self.state = tmp / "state"
        self.child: Any = None
        self.given: dict[str, Any] = {}
        self._tmp = tmp
        self._round = 0

    def begin(self, size: int) -> None:
        """An empty bucket, an empty outbox, one log."""
        self._round += 1
        self.state = self._tmp / f"state-{self._round}"
        self.server.reset()
        self.server.create_bucket(BUCKET)
        self.ledger.clear()
        self.link.link.on_request = None
        if not self.path.exists() or self.path.stat().st_size != size:
            write_ulog(self.path, size)

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def settings(self, state: Path | None = None) -> dict[str, Any]:
        return {
            "bucket_name": BUCKET,
            "session_token_url": self.tokens.url,
            "endpoint_url": self.link.url,
            "machine_id": "drone-001",
            "state_dir": str(state or self.state),
            "log_dirs": str(self.logs),
            "settle_seconds": 0,
            **self.given,
        }

    # -- children

    def start(self, *, dies_after: int = 0, target: Callable[..., None] = bring) -> None:
        """Start a child that brings the log into S3."""
        self.child = CHILDREN.Process(
            target=target, args=(self.settings(), str(self.path), dies_after)
        )
        self.child.start()

    def ended(self) -> int:
        """Wait for the child; 0 when it finished, -9 when it was killed."""
        code = ended(self.child, DEADLINE_S)
        assert code in {0, -signal.SIGKILL}, f"a child ended with {code}"
        return code

    def kill(self) -> None:
        """kill -9, now."""
        kill(self.child)

    def finish(self) -> None:
        """A fresh child that nobody kills brings it to its end."""
        self.link.link.on_request = None
        self.start()
        assert self.ended() == 0

    def on_request(self, number: int, act: Callable[[Request], Awaitable[Fault | None]]) -> None:
        """Do this at the arrival of one request, counted from now."""
        arrived = 0

        async def count(request: Request) -> Fault | None:
            nonlocal arrived
            arrived += 1
            return await act(request) if arrived == number else None

        self.link.link.on_request = count

    # -- what must be true in the end

    def service(self, state: Path) -> Service:
        """A service in this process."""
        service = Service(load_settings(**self.settings(state)), capabilities=KNOWN)
        service.drainer.timing.spread = lambda: 0.0
        return service

    def assert_arrived_once(self, state: Path | None = None) -> None:
        """Proven, equal, no confirmed part sent again, nothing half-done left."""
        with contextlib.closing(sqlite3.connect((state or self.state) / "outbox.db")) as outbox:
            rows = outbox.execute("SELECT state, key, upload_id, lease FROM log").fetchall()
            checked = outbox.execute("PRAGMA integrity_check").fetchall()
        assert checked == [("ok",)]
        assert len(rows) == 1
        (reached, key, upload_id, lease) = rows[0]
        assert (reached, upload_id, lease) == ("verified", None, None)
        with contextlib.closing(self.cloud.get_object(Bucket=BUCKET, Key=key)["Body"]) as body:
            assert body.read() == self.path.read_bytes()
        assert len(self.cloud.list_objects_v2(Bucket=BUCKET)["Contents"]) == 1
        assert self.ledger.resent_confirmed_parts == 0
        assert "Uploads" not in self.cloud.list_multipart_uploads(Bucket=BUCKET)


async def soon(true: Callable[[], object]) -> None:
    """Wait in the loop of the link."""
    while not true():
        await asyncio.sleep(0.001)
