"""What befalls the drone from outside and inside: the link, S3, tokens, clocks, power, people."""

from __future__ import annotations

import random
from collections.abc import Callable

from petal_s3.demo.faults import Answer, Fault, refusal
from petal_s3.errors import S3IntegrationError
from tests.simulation.drone import Drone
from tests.simulation.logs import Logs
from tests.simulation.world import RATE, World
from tests.support.wire import PORTAL, TROUBLE, TWISTS

_OPS = (
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "ListParts",
    "CompleteMultipartUpload",
    "HeadObject",
    "ListObjectsV2",
    "AbortMultipartUpload",
    "*",
    "*",
)


class Troubles:
    """Each verb is one misfortune; most of them pass by themselves after a while."""

    def __init__(self, world: World, drone: Drone, logs: Logs, rng: random.Random) -> None:
        self.world = world
        self.drone = drone
        self.logs = logs
        self.rng = rng
        self.spoil = False
        """The database is damaged when the process is down."""
        self.reboot = False
        """The next start is that of a machine that lost its power."""
        self.remount: tuple[int, bool] | None = None
        """At the next start the cards are mounted anew: by how many seconds the times of their
        files have moved, and whether their inodes are others."""

    def heal(self) -> None:
        """Everything outside is well from now on."""
        world = self.world
        world.up, world.rate, world.latency_s = True, 1e6, 0.02
        world.planned.clear()
        world.racing, world.losing, world.midway = False, False, lambda _: False
        world.kill_at, self.drone.kill_at_statement = None, 0
        world.mind.exists, world.mind.quota_bytes = True, None
        world.mind.forbidden.clear()
        world.tokens.heal()
        world.tokens.revoked = False
        world.options.heal()
        self.drone.fill(False)
        self.disarm()

    # -- what befalls: the link and S3

    def _for_a_while(self, most_s: float, undo: Callable[[], object]) -> None:
        self.world.loop.call_later(self.rng.uniform(0.5, most_s), undo)

    def cut(self) -> None:
        self.world.cut()
        self._for_a_while(90, lambda: setattr(self.world, "up", True))

    def flap(self) -> None:
        self.world.cuts += 1

    def slow(self) -> None:
        self.world.rate = self.rng.choice((3_000.0, 8_000.0, 50_000.0))
        self.world.latency_s = self.rng.choice((0.02, 0.3, 2.0))
        self._for_a_while(60, self._fast)

    def _fast(self) -> None:
        self.world.rate, self.world.latency_s = RATE, 0.02

    def fault(self) -> None:
        """The next few requests meet something."""
        kinds = (
            *PORTAL,
            *TWISTS,
            *TROUBLE,
            Fault("drop", drop=True),
            Fault("deaf", deaf=True),
            Fault("hang", hang=True),
            Fault("late", delay_s=20.0),
            *(Fault(f"cut-{n}", cut_at=n) for n in (0, 1, 5_000, 12_000)),
            Fault("garbage-text", say=Answer(200, b"<Hello/>")),
            Fault("gone-409", say=refusal(409, "ConditionalRequestConflict")),
        )
        for _ in range(self.rng.randrange(1, 4)):
            self.world.planned.append((self.rng.choice(_OPS), self.rng.choice(kinds)))

    def portal(self) -> None:
        """For a while every request meets the same portal."""
        fault = self.rng.choice(PORTAL)
        many = self.rng.randrange(2, 12)
        self.world.planned += [("*", fault)] * many

    def collect(self) -> None:
        """The lifecycle rule aborts what is open."""
        self.world.mind.collect(0)

    def raced(self) -> None:
        """Somebody else takes the next key at the very moment at which it is written."""
        self.world.racing = True

    def lose_part(self) -> None:
        """S3 loses a part that it has confirmed, and says so when the whole is to be joined."""
        self.world.losing = True

    def bucket_gone(self) -> None:
        self.world.mind.exists = False
        self._for_a_while(120, lambda: setattr(self.world.mind, "exists", True))

    def quota(self) -> None:
        self.world.mind.quota_bytes = 0
        self._for_a_while(120, lambda: setattr(self.world.mind, "quota_bytes", None))

    def forbid(self) -> None:
        self.world.mind.forbidden.add(self.rng.choice(_OPS[:-1]))
        self._for_a_while(120, self.world.mind.forbidden.clear)

    # -- what befalls: tokens, clocks, flight

    def expire(self) -> None:
        self.world.tokens.expire()

    def short_tokens(self) -> None:
        self.world.tokens.life_s = 60.0
        self._for_a_while(200, lambda: setattr(self.world.tokens, "life_s", 3600.0))

    def token_trouble(self) -> None:
        tokens = self.world.tokens
        ill = (
            Answer(500, b"no"),
            Answer(200, b"<html>", {"content-type": "text/html"}),
            Answer(200, b"{}"),
            Answer(403, b""),
            Answer(302, b"", {"location": "http://x.test"}),
        )
        if self.rng.random() < 0.4:
            tokens.drop = True
        elif self.rng.random() < 0.5:
            tokens.says = self.rng.choice(ill)
        else:
            tokens.revoked = True
        self._for_a_while(120, self._tokens_well)

    def _tokens_well(self) -> None:
        tokens = self.world.tokens
        tokens.heal()
        tokens.revoked = False

    def clock_jump(self) -> None:
        self.world.wall_offset_s = self.rng.choice((0.0, -1.7e9, 1.5e8, 86_400.0, -7_200.0))

    def fly(self) -> None:
        self.drone.armed = True
        if self.world.invariants.armed_since is None:
            self.world.invariants.armed_since = self.world.loop.time() + 1.0
        self._for_a_while(60, self.disarm)

    def disarm(self) -> None:
        self.drone.armed = False
        self.world.invariants.armed_since = None

    # -- what befalls: the machine and people

    def kill(self) -> None:
        self.drone.kill("now")

    def kill_at_request(self) -> None:
        ops = (
            "PutObject",
            "CreateMultipartUpload",
            "UploadPart",
            "CompleteMultipartUpload",
            "HeadObject",
            "AbortMultipartUpload",
            "ListParts",
        )
        self.world.kill_at = (self.rng.choice(ops), self.rng.choice(("before", "after")))

    def kill_at_statement(self) -> None:
        self.drone.kill_at_statement = self.rng.randrange(1, 30)

    def power_cut(self) -> None:
        self.reboot = True
        self.drone.kill("power cut")

    def remounted(self) -> None:
        """A power cut, after which a card shows its files with another time, or other inodes."""
        moved_s = self.rng.choice((0, 3600, -3600))
        self.remount = moved_s, moved_s == 0 or self.rng.random() < 0.5
        self.power_cut()

    def damage(self) -> None:
        self.spoil = True
        self.drone.kill("disk error")

    def full_disk(self) -> None:
        self.drone.fill(True)
        self._for_a_while(60, lambda: self.drone.fill(False))

    def short_disk(self) -> None:
        """The disk of the log directory runs short: what is proven may go, nothing else."""
        self.world.free_bytes = 0
        self._for_a_while(300, lambda: setattr(self.world, "free_bytes", 1 << 40))

    async def cancel(self) -> None:
        """A person gives a log up."""
        row_id = self._row_of_some()
        if row_id is not None:
            await self._quietly(self.drone.service.cancel(row_id))

    async def retry(self) -> None:
        """A person asks for another try."""
        row_id = self._row_of_some()
        if row_id is not None:
            await self._quietly(self.drone.service.retry(row_id))

    async def landed(self) -> None:
        if self.drone.up:
            await self._quietly(self.drone.service.landed())

    def _row_of_some(self) -> int | None:
        if not self.drone.up:
            return None
        rows, _ = self.drone.rows()
        if not rows:
            return None
        row = self.rng.choice(sorted(rows, key=lambda r: r.id))
        self.world.invariants.excused.add(row.name.split(".")[0])
        if row.spooled:
            self.world.invariants.gone.add(row.path)  # a copy goes when its row is given up
            self.logs.living.pop(row.path, None)
        return row.id

    async def _quietly(self, work: object) -> None:
        try:
            await self.drone.do(work)  # type: ignore[arg-type]
        except S3IntegrationError as error:
            self.world.note("refused", error.code)
