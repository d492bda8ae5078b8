"""One drone and one real server, with a link between them that counts, kills and hides."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Row
from petal_s3.service.service import Service
from tests.servers.catalogue import KEY_ID, SECRET
from tests.servers.child import ATTEMPTS, bring
from tests.servers.running import Running
from tests.support.children import CHILDREN, ended, kill

MACHINE = "drone-001"
HOME = f"flight_logs/{MACHINE}/"
PART = 5 * MIB
SMALL = 200_000
THREE_PARTS = 2 * PART + 300_000
DEADLINE_S = 60.0
ENV = {
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
SERVERS = [
    "seaweedfs-4.48",
    "seaweedfs-4.39",
    "juicefs",
    "ministack",
    "nanio",
    "rclone",
    "localbucket",
    "fauxqs",
]
EVERY = pytest.mark.parametrize("server", SERVERS, indirect=True)
READS = frozenset({"GET", "HEAD"})
Act = Callable[[Request], Awaitable["Fault | None"]]


def is_trial(request: Request) -> bool:
    """Whether a request only tries what the server offers."""
    return "/tmp/capabilities" in request.key


class Drone:
    """A service that is stepped, or children that are killed, before one server."""

    def __init__(self, server: Running, link: LinkThread, tmp: Path) -> None:
        self.server = server
        self.cloud = server.cloud
        self.link = link
        self.tmp = tmp
        self.logs = tmp / "logs"
        self.state = tmp / "state"
        self.bucket = ""
        self.given: dict[str, Any] = {"sse": server.kind.sse}
        self.child: Any = None
        self._services: list[Service] = []
        self._round = 0

    def begin(self) -> None:
        """An empty bucket and an empty outbox."""
        self._round += 1
        self.state = self.tmp / f"state-{self._round}"
        self.bucket = self.server.bucket()
        self.logs.mkdir(exist_ok=True)
        self.act(None)
        self.ledger.clear()

    def settings(self, **more: Any) -> dict[str, Any]:
        given = {
            "bucket_name": self.bucket,
            "endpoint_url": self.link.url,
            "machine_id": MACHINE,
            "state_dir": str(self.state),
            "log_dirs": str(self.logs),
            "settle_seconds": 0,
            "part_size": PART,
        }
        return {**given, **self.given, **more}

    def write(self, name: str = "flight.ulg", size: int = SMALL, seed: int = 0) -> Path:
        """Write a log of exactly ``size`` bytes into the log directory."""
        path = self.logs / name
        write_ulog(path, size, seed=seed)
        return path

    # -- a service in this process

    @property
    def service(self) -> Service:
        return self._services[-1]

    async def open(self, **settings: Any) -> Service:
        """A new process, as it were: what the one before had claimed is due."""
        service = Service(load_settings(**self.settings(**settings)))
        service.drainer.timing.spread = lambda: 0.0
        self._services.append(service)
        await service.open()
        await service.outbox(transitions.release_claims)
        return service

    async def restart(self, **settings: Any) -> Service:
        await self.service.stop()
        return await self.open(**settings)

    async def close(self) -> None:
        for service in self._services:
            await service.stop()

    async def bring(self, path: Path, attempts: int = ATTEMPTS) -> Row:
        """Enter a log and make attempts until it is settled, at most so many."""
        row = await self.service.enqueue(path)
        return await self.finish(row, attempts)

    async def finish(self, row: Row, attempts: int = ATTEMPTS) -> Row:
        for _ in range(attempts):
            row = await self.service.outbox(queries.get, row.id)
            if row.settled:
                break
            await self.service.drainer.pause.retry_now()
            await self.service.drainer.step()
        return await self.service.outbox(queries.get, row.id)

    def said(self, row: Row) -> str:
        """Why a row is not up: its own reason and that of the drain."""
        block = self.service.drainer.block
        held_up = f" | {block.code}: {block.reason}" if block is not None else ""
        return f"{row.state}: {row.reason}{held_up}"

    # -- children

    def start(self, path: Path) -> None:
        """Start a process that brings the log into S3."""
        self.child = CHILDREN.Process(target=bring, args=(ENV, self.settings(), str(path)))
        self.child.start()

    def kill(self) -> None:
        """kill -9, now."""
        kill(self.child)

    def killed(self) -> bool:
        """Wait for the end of the child: whether it was killed, or came to its end."""
        code = ended(self.child, DEADLINE_S)
        assert code in {0, -signal.SIGKILL}, f"a child ended with {code}\n{self.story()}"
        return bool(code)

    def act(self, act: Act | None) -> None:
        """Do this at the arrival of each request."""
        self.link.link.on_request = act

    def kill_before(self, number: int) -> None:
        """Kill the child when its n-th request has come, of which S3 never hears."""
        came = 0

        async def act(_: Request) -> Fault | None:
            nonlocal came
            came += 1
            if came != number:
                return None
            self.kill()
            return Fault(drop=True)

        self.act(act)

    def kill_after(self, number: int, op: str = "") -> None:
        """Kill the child when S3 has done its n-th change (of this kind), and is not heard.

        Of a kind, those of a log count: not what is sent to learn what the server offers.
        """
        came = 0
        watching: list[asyncio.Task[None]] = []

        async def watch(request: Request) -> None:
            while request.status is None and request.finished is None:
                await asyncio.sleep(0.001)  # nobody hurries: the child will not hear of it
            self.kill()

        async def act(request: Request) -> Fault | None:
            nonlocal came
            if request.method in READS or op not in {"", request.op}:
                return None
            if op and is_trial(request):
                return None
            came += 1
            if came != number:
                return None
            watching.append(asyncio.create_task(watch(request)))
            return Fault(deaf=True)

        self.act(act)

    # -- what the wire and the server know

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def bodies(self) -> int:
        """Bytes of logs that were sent, finished or not; single bytes are questions."""
        sent = self.ledger.requests("UploadPart") + self.ledger.requests("PutObject")
        return sum(one.body_bytes for one in sent if one.body_bytes > 1)

    def story(self) -> str:
        """Each request with what the server answered, and a refusal in its own words."""
        lines = []
        for one in self.ledger.requests():
            about = f" part {one.part}" if one.part else ""
            said = " ".join(_named(one.refusal)) if one.refusal else ""
            lines.append(
                f"{one.method} {one.op}{about} ?{one.query[:40]} body={one.body_bytes}"
                f" -> {one.status} {said}".rstrip()
            )
        return "\n".join(lines)

    def rows(self) -> list[tuple[Any, ...]]:
        """``(state, key, proof, code, reason)`` of each row, asked of the file itself."""
        query = "SELECT state, key, receipt ->> 'proof', code, reason FROM log ORDER BY id"
        with contextlib.closing(sqlite3.connect(self.state / "outbox.db", timeout=10)) as asked:
            return asked.execute(query).fetchall()

    def body(self, key: str) -> bytes:
        found = self.cloud.get_object(Bucket=self.bucket, Key=key)
        with contextlib.closing(found["Body"]) as body:
            return bytes(body.read())

    def stored(self) -> list[str]:
        """Keys of all objects."""
        found = self.cloud.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [item["Key"] for item in found]

    def open_uploads(self) -> list[str]:
        """Every multipart upload that is neither complete nor aborted, as the server names it."""
        folder = self.server.kind.uploads
        if folder:  # it does not list them
            return [one.name for one in (self.server.data / folder).glob("*")]
        try:
            found = self.cloud.list_multipart_uploads(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload":  # there is none
                return []
            raise
        return [f"{upload['Key']} {upload['UploadId']}" for upload in found.get("Uploads", [])]

    def abort_all(self) -> None:
        """Somebody else aborts every upload."""
        for upload in self.cloud.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []):
            self.cloud.abort_multipart_upload(
                Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    def delete_bucket(self) -> None:
        """Somebody else deletes the bucket with all that is in it."""
        for key in self.stored():
            self.cloud.delete_object(Bucket=self.bucket, Key=key)
        self.abort_all()
        self.cloud.delete_bucket(Bucket=self.bucket)

    def assert_arrived(self, path: Path, *, most: int) -> tuple[Any, ...]:
        """The one log is proven and equal, ``most`` bytes of bodies travelled, nothing is open."""
        (row,) = self.rows()
        assert row[0] == "verified", f"{row}\n{self.story()}"
        assert self.body(row[1]) == path.read_bytes()
        assert self.bodies() <= most, f"{self.bodies()} bytes were sent\n{self.story()}"
        assert self.stored() == [row[1]]
        assert self.open_uploads() == [], self.story()
        return row


def _named(refusal: bytes) -> list[str]:
    """Code and message of an error in XML, else how the answer begins."""
    text = refusal.decode(errors="replace")
    return re.findall(r"<(?:Code|Message)>([^<]*)", text) or [text[:120]]


async def until(true: Callable[[], object], within_s: float = DEADLINE_S) -> None:
    """Wait until it is true; polls, with a deadline that no healthy run comes near."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)
