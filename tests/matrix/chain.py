"""What is done in front of each personality, and what must hold after each of it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from petal_s3.admin.verify import verify
from petal_s3.errors import S3IntegrationError
from petal_s3.outbox.rows import Row
from petal_s3.service import signing
from tests.matrix.drone import DEAF, HANG, HOME, Blocked, Drone, NotProven
from tests.support.mind import Part, Thing, Upload
from tests.support.personality import Personality

SMALL = 9_000
_DAY_S = 86_400.0
_ORPHAN = f"{HOME}20250101_000000_lost.ulg"
_TRIES = 60  # single bytes that may be sent to learn something


@dataclass
class Kept:
    """A log that is proven: the row, the file, its bytes."""

    row: Row
    path: Path
    body: bytes


@dataclass
class Chain:
    """The operations on one drone, one after the other; what fails is written down."""

    drone: Drone
    personality: Personality
    failures: list[str] = field(default_factory=list)
    proofs: dict[str, str] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    """Bodies sent over the size of the log, by operation."""
    expected: dict[str, bytes] = field(default_factory=dict)
    """What must stand in the bucket in the end."""
    allowed: set[str] = field(default_factory=set)
    """What may stand there besides."""
    logs: dict[str, Kept] = field(default_factory=dict)

    async def run(self) -> None:
        """All of it, until a log is not proven; raises :class:`Blocked`."""
        await self.drone.start()
        try:
            for operation in OPERATIONS:
                self.drone.begin(operation.__name__)
                try:
                    await operation(self)
                except NotProven as error:
                    self.fail(str(error))
                    return
                except S3IntegrationError as error:
                    self.drone.ears.say(error.message)
                    self.fail(f"{type(error).__name__} {error.code}: {error.message}")
            self.drone.begin("end")
        finally:
            await self.drone.stop()
        self.look()

    def fail(self, what: str) -> None:
        self.failures.append(f"{self.drone.ears.during}: {what}")

    # -- what must hold

    async def prove(self, row: Row, path: Path, body: bytes, *, extra: int = 0) -> Kept:
        """A log must be proven, byte-identical, sent once and at most one part more."""
        name, part = self.drone.ears.during, self.drone.part
        bound = len(body) + part + extra
        try:
            row = await self.drone.proven(row, at_most=3 * bound)
        finally:  # a drain that is blocked has not sent more either
            if self.drone.sent() > bound:
                self.fail(f"{self.drone.sent()} bytes were sent for a log of {len(body)}")
        self.sent[name] = round(self.drone.sent() / len(body), 2)
        self.proofs[name] = row.receipt.proof if row.receipt is not None else "none"
        self.expected[row.key] = body
        thing = self.drone.place.mind.things.get(row.key)
        if thing is None or thing.body != body:
            self.fail(f"{row.key} is not what was on the disk")
        elif self.drone.sse != "none" and not _is_encrypted(thing):
            self.fail(f"{row.key} is proven, and not encrypted")
        kept = self.logs[name] = Kept(row, path, body)
        return kept

    def look(self) -> None:
        """In the end nothing is left open, and nothing but the logs stands in the bucket."""
        mind = self.drone.place.mind
        if mind.uploads:
            self.fail(f"open uploads are left: {[one.key for one in mind.uploads.values()]}")
        for key, body in self.expected.items():
            if key not in mind.things or mind.things[key].body != body:
                self.fail(f"{key} is gone or another in the end")
        more = set(mind.things) - set(self.expected) - self.allowed
        if more and not self.personality.how("deletion"):
            self.fail(f"left behind: {sorted(more)}")
        tries = sum(one.body_bytes == 1 for one in self.drone.place.ledger.requests())
        if tries > _TRIES:
            self.fail(f"{tries} times a single byte was sent to try something")

    def log(self, name: str) -> Kept:
        """The log of an operation before; raises :class:`NotProven` where it was not proven."""
        if name not in self.logs:
            raise NotProven(f"the log of {name!r} was not proven")
        return self.logs[name]

    @property
    def blind_to_parts(self) -> bool:
        """Whether the server does not tell which parts it holds: they may travel again."""
        return self.personality.how("list-parts")[:3] in {"501", "405", "403"}


def _is_encrypted(thing: Thing) -> bool:
    return thing.headers.get("x-amz-server-side-encryption") == "AES256"


# -- the operations


async def small(chain: Chain) -> None:
    """A log of less than a part."""
    path, body = chain.drone.write(SMALL)
    await chain.prove(await chain.drone.service.enqueue(path), path, body)


async def parts(chain: Chain) -> None:
    """A log of three parts."""
    path, body = chain.drone.write(2 * chain.drone.part + SMALL)
    await chain.prove(await chain.drone.service.enqueue(path), path, body)


async def resume(chain: Chain) -> None:
    """The process ends while the second of three parts travels, and is started again."""
    row, path, body = await _stopped(chain)
    extra = chain.drone.confirmed() if chain.blind_to_parts else 0
    await chain.drone.start()
    await chain.prove(row, path, body, extra=extra)


async def gone(chain: Chain) -> None:
    """While the process is down, a rule of the bucket aborts what it had sent of a log."""
    row, path, body = await _stopped(chain)
    extra = chain.drone.confirmed()
    chain.drone.place.mind.uploads.clear()
    await chain.drone.start()
    await chain.prove(row, path, body, extra=extra)


async def _stopped(chain: Chain) -> tuple[Row, Path, bytes]:
    drone = chain.drone
    path, body = drone.write(2 * drone.part + SMALL)
    drone.place.plan("UploadPart", HANG, part=2)
    row = await drone.service.enqueue(path)
    await drone.until_asked("UploadPart", part=2)
    await drone.stop()
    drone.place.heal()
    return row, path, body


async def lost(chain: Chain) -> None:
    """The parts are joined, the answer is lost, and the process ends."""
    drone = chain.drone
    path, body = drone.write(2 * drone.part + SMALL)
    drone.place.plan("CompleteMultipartUpload", DEAF)
    row = await drone.service.enqueue(path)
    await drone.until_asked("CompleteMultipartUpload")
    await drone.stop()
    drone.place.heal()
    extra = drone.confirmed() if chain.blind_to_parts and drone.place.mind.uploads else 0
    await drone.start()
    await chain.prove(row, path, body, extra=extra)


async def taken(chain: Chain) -> None:
    """Another object of the same size stands at the key of a log: it stays what it is."""
    drone, mind = chain.drone, chain.drone.place.mind
    path, body = drone.write(SMALL)
    key, other = drone.key_of(path), body[::-1]
    md5 = hashlib.md5(other, usedforsecurity=False).hexdigest()
    etag, since = chain.personality.etag("put-etag", md5), drone.place.server_s() - _DAY_S
    mind.things[key] = Thing(len(other), etag, 0, False, {}, since, other)
    chain.expected[key] = other
    kept = await chain.prove(await drone.service.enqueue(path), path, body)
    if kept.row.key == key:
        chain.fail("the key of another object was taken")
    chain.expected[key] = other


async def copies(chain: Chain) -> None:
    """Bytes that are proven are wanted under another key, and a copy is made there."""
    for name in ("small", "parts"):
        log = chain.log(name)
        chain.drone.begin(f"copy {name}")
        key = f"{HOME}records/{name}.ulg"
        row = await chain.drone.service.enqueue(log.path, key=key)
        await chain.prove(row, log.path, log.body)


async def move(chain: Chain) -> None:
    """A copy is renamed; where nothing may be deleted, it stays and says so."""
    log = chain.log("copy parts")
    target = f"{HOME}records/moved.ulg"
    chain.allowed.add(target)
    try:
        await chain.drone.service.objects.move(log.row.key, target)
    except S3IntegrationError as error:
        if not chain.personality.how("deletion"):
            raise
        chain.drone.ears.say(error.message)
        return
    chain.expected[target] = chain.expected.pop(log.row.key)


async def download(chain: Chain) -> None:
    """What was proven comes back."""
    for name in ("small", "parts"):
        log, target = chain.log(name), chain.drone.home / f"{name}.back"
        try:
            await chain.drone.service.objects.download(log.row.key, target)
        except S3IntegrationError as error:
            if not chain.personality.how("archive"):
                raise
            chain.drone.ears.say(error.message)
            if "InvalidObjectState" not in error.message and "archive" not in error.message:
                chain.fail(f"nothing tells that it is archived: {error.message}")
            return
        if target.read_bytes() != log.body:
            chain.fail(f"the download of {log.row.key} holds other bytes")


async def presign(chain: Chain) -> None:
    """A URL that was made opens the object, for whoever has it."""
    log = chain.log("parts")
    made = await signing.presign(chain.drone.service, log.row.key, 600)
    status, body = await chain.drone.place.get(made.url)
    if chain.personality.how("archive"):
        return
    if (status, body) != (200, log.body):
        chain.fail(f"the URL was answered {status} and {len(body)} bytes")


async def compare(chain: Chain) -> None:
    """Disk, outbox and bucket agree."""
    compared = [one async for one in verify(chain.drone.service)]
    for one in compared:
        chain.drone.ears.say(one.differs)
        if one.differs:
            chain.fail(f"verify of {one.key}: {one.differs}")
    if len(compared) < len(chain.logs):
        chain.fail(f"verify looked at {len(compared)} of {len(chain.logs)} logs")


async def orphans(chain: Chain) -> None:
    """An upload that no row knows is aborted, where the server lets it be found."""
    mind, since = chain.drone.place.mind, chain.drone.place.server_s() - 3 * _DAY_S
    body = b"p" * chain.drone.part
    part = Part(len(body), hashlib.md5(body, usedforsecurity=False).digest(), 0, body)
    mind.uploads["upload-lost"] = Upload(_ORPHAN, since, {}, False, parts={1: part})
    try:
        await chain.drone.service.orphans.collect()
    finally:
        left = mind.uploads.pop("upload-lost", None)
    hidden = chain.personality.how("list-uploads") not in {"", "404 NoSuchUpload"}
    if left is not None and not hidden and not chain.blind_to_parts:
        chain.fail("an orphan was not aborted")


Operation = Callable[[Chain], Awaitable[None]]
OPERATIONS: tuple[Operation, ...] = (
    small,
    parts,
    resume,
    lost,
    gone,
    taken,
    copies,
    move,
    download,
    presign,
    compare,
    orphans,
)

__all__ = ["OPERATIONS", "Blocked", "Chain"]
