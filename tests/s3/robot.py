"""A whole petal-s3 on a real wire: service, token service, S3 server, and the link between."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo import faults
from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.recorded_link import RecordedLink
from petal_s3.demo.services import EmbeddedS3
from petal_s3.demo.tokens import TokenService
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.s3.capabilities import Capabilities
from petal_s3.service.service import Service
from petal_s3.upload.receipt import BLIND_S
from tests.support.known import KNOWN

T = TypeVar("T")
Act = Callable[[Request], Awaitable["Fault | None"]]

BUCKET = "logs"
MACHINE = "drone-001"
HOME = f"flight_logs/{MACHINE}/"
PART = 5 * MIB
SMALL = 200_000
TWO_PARTS = PART + 100_000
THREE_PARTS = 2 * PART + 300_000
DEADLINE_S = 60.0
OPS = (
    "ListObjectsV2",
    "HeadObject",
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "ListParts",
    "CompleteMultipartUpload",
)
"""What is asked of S3 to send logs, small and large ones."""


class LogStore:
    """Logs made once and copied: a test may spoil its copy."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def copy(self, target: Path, size: int, seed: int) -> None:
        """Put a log of exactly ``size`` bytes at ``target``; the name decides the kind."""
        made = self._directory / f"{size}-{seed}{target.suffix}"
        if not made.exists():
            (write_bag if target.suffix == ".bag" else write_ulog)(made, size, seed=seed)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, target)


@dataclass
class _Planned:
    op: str
    act: Fault | Act
    part: int
    left: int
    must: bool = True

    def meets(self, request: Request) -> bool:
        return self.left > 0 and request.op == self.op and self.part in (0, request.part)


class Robot:
    """One drone: its service drains step by step, over a link on which a test plans faults."""

    def __init__(
        self, server: EmbeddedS3, cloud: Any, link: RecordedLink, tokens: TokenService, tmp: Path
    ) -> None:
        self.server = server
        self.cloud = cloud
        self.link = link
        self.tokens = tokens
        self.tmp = tmp
        self.logs = tmp / "logs"
        self.state = tmp / "state"
        self.store = LogStore(tmp)
        self.given: dict[str, Any] = {}
        self.known: Capabilities | None = KNOWN
        """What services know of the server from the beginning; none: they learn it."""
        self._planned: list[_Planned] = []
        self._services: list[Service] = []
        self._watching: list[asyncio.Task[None]] = []
        link.on_request = self._arrived

    # -- the drone

    @property
    def service(self) -> Service:
        """The service that lives now."""
        return self._services[-1]

    @property
    def database(self) -> Path:
        return self.state / "outbox.db"

    def build(self, **settings: Any) -> Service:
        """A service on this outbox and this link; nothing is opened yet."""
        self.logs.mkdir(exist_ok=True)
        given = {
            "bucket_name": BUCKET,
            "session_token_url": self.tokens.url,
            "endpoint_url": self.link.url,
            "machine_id": MACHINE,
            "state_dir": self.state,
            "log_dirs": str(self.logs),
            "settle_seconds": 0,
        }
        loaded = load_settings(**{**given, **self.given, **settings})
        service = Service(loaded, capabilities=self.known)
        # No jitter: what failed is due again at once, so that a test steps on without waiting.
        service.drainer.timing.spread = lambda: 0.0
        self._services.append(service)
        return service

    async def open(self, **settings: Any) -> Service:
        """A new process, as it were: what the one before had claimed is due."""
        service = self.build(**settings)
        await service.open()
        await service.outbox(transitions.release_claims)
        return service

    async def restart(self, **settings: Any) -> Service:
        await self.service.stop()
        return await self.open(**settings)

    async def run(self, *, spread: float = 0.1, **settings: Any) -> Service:
        """Let the service drain by itself from now on, in place of the steps.

        ``spread``: how much of each backoff it really waits, 0..1.
        """
        await self.service.stop()
        service = self.build(**settings)
        service.drainer.timing.spread = lambda: spread
        await service.start(watch=False)
        return service

    async def until_state(self, row: Row, state: str) -> Row:
        """Wait until the running service has brought the row there."""
        query = f"SELECT state FROM log WHERE id = {row.id}"
        await until(lambda: self.sql(query) == [(state,)])
        return await self.row(row)

    def flying(self, *, part: int | None = None) -> list[Request]:
        """Parts and objects that are on the wire now; only that part where one is asked for."""
        sent = self.ledger.requests("UploadPart") + self.ledger.requests("PutObject")
        flying = [request for request in sent if request.finished is None]
        return [request for request in flying if part in (None, request.part)]

    async def first_part_confirmed(self, row: Row) -> None:
        """Wait until the outbox knows that S3 has the first part."""
        query = f"SELECT sent_bytes FROM log WHERE id = {row.id}"
        await until(lambda: self.sql(query)[0][0] >= PART)

    async def close(self) -> None:
        for service in self._services:
            await service.stop()
        left = [planned for planned in self._planned if planned.left and planned.must]
        assert not left, f"planned, but never met on the wire: {left}"

    # -- logs and rows

    def write(self, name: str = "flight.ulg", size: int = SMALL, seed: int = 0) -> Path:
        """Write a log of exactly ``size`` bytes into the log directory."""
        path = self.logs / name
        self.store.copy(path, size, seed)
        return path

    async def land(
        self, name: str = "flight.ulg", size: int = SMALL, seed: int = 0, **more: Any
    ) -> Row:
        """Write a log and enter it into the outbox."""
        return await self.service.enqueue(self.write(name, size, seed), **more)

    async def row(self, row: Row | int) -> Row:
        """The row as it is now."""
        row_id = row if isinstance(row, int) else row.id
        return await self.service.outbox(queries.get, row_id)

    async def step(self) -> None:
        """Make one attempt."""
        assert await self.service.drainer.step(), "no row was due"

    async def attempt(self, row: Row) -> Row:
        """Make one attempt and look at the row."""
        await self.step()
        return await self.row(row)

    async def finish(self, row: Row, *, attempts: int = 10) -> Row:
        """Make attempts until the row is settled, at most so many."""
        for _ in range(attempts):
            now = await self.row(row)
            if now.settled:
                return now
            await self.service.drainer.pause.retry_now()
            await self.step()
        return await self.row(row)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database file itself, as another process would."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as asked:
            found = asked.execute(query).fetchall()
            asked.commit()
            return found

    def late_reads_are_over(self) -> None:
        """As if the minutes had passed in which S3 may show late what it has stored."""
        self.sql(f"UPDATE log SET stored_at = stored_at - {BLIND_S}")

    # -- what goes wrong

    def fault(self, op: str, act: Fault | Act, *, part: int = 0, times: int = 1) -> None:
        """Plan what happens to the next ``times`` requests of this kind."""
        self._planned.append(_Planned(op, act, part, times))

    def always(self, op: str, act: Fault | Act) -> None:
        """From now on every request of this kind meets it, if any comes."""
        self._planned.append(_Planned(op, act, part=0, left=1 << 30, must=False))

    def heal(self) -> None:
        """Forget what was planned and not met yet."""
        for planned in self._planned:
            planned.left = 0

    async def _arrived(self, request: Request) -> Fault | None:
        for planned in self._planned:
            if planned.meets(request):
                planned.left -= 1
                return planned.act if isinstance(planned.act, Fault) else await planned.act(request)
        return None

    def when_sent(
        self, body_bytes: int, do: Callable[[], object], op: str = "UploadPart", part: int = 0
    ) -> None:
        """Do it when so many bytes of the next such body have passed."""

        async def watch(request: Request) -> None:
            await until(lambda: request.body_bytes >= body_bytes)
            do()

        async def act(request: Request) -> None:
            self._watching.append(asyncio.create_task(watch(request)))

        self.fault(op, act, part=part)

    def cut_after(self, body_bytes: int, op: str = "UploadPart", part: int = 0) -> None:
        """Cut the link when so many bytes of the next such body have passed."""
        self.when_sent(body_bytes, self.link.cut, op, part)

    # -- what the wire saw

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def count(self, op: str) -> int:
        return len(self.ledger.requests(op))

    def ops(self) -> list[str]:
        return [request.op for request in self.ledger.requests()]

    # -- what S3 holds, asked behind the link

    def stored(self) -> list[str]:
        """Keys of all objects."""
        found = self.cloud.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [item["Key"] for item in found]

    def head(self, key: str) -> dict[str, Any]:
        return dict(self.cloud.head_object(Bucket=BUCKET, Key=key))

    def body(self, key: str) -> bytes:
        with contextlib.closing(self.cloud.get_object(Bucket=BUCKET, Key=key)["Body"]) as body:
            return bytes(body.read())

    def put(self, key: str, body: bytes) -> None:
        """Somebody else puts an object there."""
        self.cloud.put_object(Bucket=BUCKET, Key=key, Body=body)

    def open_uploads(self) -> list[tuple[str, str]]:
        """``(key, upload id)`` of every multipart upload that is neither complete nor aborted."""
        found = self.cloud.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [(upload["Key"], upload["UploadId"]) for upload in found]

    def parts(self, key: str, upload_id: str) -> list[int]:
        """Numbers of the parts that S3 holds."""
        held = self.cloud.list_parts(Bucket=BUCKET, Key=key, UploadId=upload_id)
        return [part["PartNumber"] for part in held.get("Parts", [])]

    def assert_sent_once(self, row: Row, path: Path) -> None:
        """Proven, equal, nothing confirmed was sent again, nothing half-done is left."""
        assert (row.state, row.reason) == ("verified", "")
        assert self.body(row.key) == path.read_bytes()
        assert self.ledger.resent_confirmed_parts == row.parts_resent == 0
        assert self.open_uploads() == []


async def until(true: Callable[[], T], within_s: float = DEADLINE_S) -> T:
    """Wait until it is true; polls, with a deadline that no healthy run comes near."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)
    return found


def refusal(status: int, code: str, **headers: str) -> Fault:
    """S3 says no."""
    return Fault(say=faults.refusal(status, code, **headers))


def dated(fault: Fault, moment: datetime) -> Fault:
    """The same answer with another ``Date``."""
    assert fault.say is not None
    return Fault(say=fault.say.but(Date=format_datetime(moment, usegmt=True)))


DROP = Fault(drop=True)
LOSE_ANSWER = Fault(deaf=True)
UNWELL = refusal(500, "InternalError")
PORTAL_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Log in</body></html>"


@contextlib.asynccontextmanager
async def opened(
    server: EmbeddedS3, cloud: Any, tmp: Path, store: LogStore, **settings: Any
) -> AsyncIterator[Robot]:
    """A robot with an open service."""
    async with TokenService() as tokens:
        link = RecordedLink(server.url)
        await link.start()
        robot = Robot(server, cloud, link, tokens, tmp)
        robot.store = store
        robot.given = settings
        try:
            await robot.open()
            yield robot
            await robot.close()
        finally:
            for service in robot._services:
                await service.stop()
            await link.stop()
