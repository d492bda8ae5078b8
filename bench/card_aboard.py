"""The real host with petal-flight-log beside us, and an autopilot whose card is fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from petal_s3.demo.flight import free_udp_port
from petal_s3.demo.host import Host, make_root
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.onboard import StandIns
from tests.servers.environments import environment
from tests.support.card_reads import Read
from tests.support.cloud import onlooker

from .card_autopilot import reads
from .process import ROOT
from .robot import Robot, robot, until

SIBLING = "petal-flight-log"
DAY = "fs/microsd/log/2026-11-30"
_PETALS = {
    "petal-s3": "petal_s3.plugin:PetalS3",
    "lag": "bench.lagpetal:LagPetal",
    "listener": "tests.support.listener:Listener",
    SIBLING: "petal_flight_log.plugin:FlightLogPetal",
}
_PROXIES = ("redis", "db", "cloud", "mqtt", "bucket", "ext_mavlink", "ftp_mavlink")
_MOST_S = 300.0


class CardAboard:
    """A host, what is around it, and the autopilot, as processes that may be killed."""

    def __init__(self, on: Robot, host: Host, beside: StandIns, *, mavsdk: bool) -> None:
        self.on, self.host, self.beside = on, host, beside
        self.card = on.directory / "card"
        (self.card / DAY).mkdir(parents=True)
        self.port = free_udp_port()
        self._mavsdk = mavsdk
        self._notes = on.directory / "notes"
        self._autopilot: subprocess.Popen[bytes] | None = None
        self._began_at = 0.0

    # -- the autopilot

    def power_on(self) -> None:
        """Start the autopilot; it says a heartbeat a second."""
        if self._mavsdk:
            python = environment("mavsdk") / "bin" / "python"
            script = ROOT / "tests" / "autopilots" / "mavsdk_server.py"
            words = [str(script), str(self.card), f"udpout://127.0.0.1:{self.port}"]
        else:
            python = Path(sys.executable)
            words = ["-m", "bench.card_autopilot", str(self.card), str(self.port)]
            words.append(str(self._notes))
        self._autopilot = subprocess.Popen(
            [str(python), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "MAVLINK20": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def power_off(self) -> None:
        """Kill it, whatever it was doing."""
        if self._autopilot is not None:
            self._autopilot.kill()
            self._autopilot.communicate()

    def record(self, name: str, size: int, *, seed: int, day: str = DAY) -> Path:
        """Put a log on the card."""
        path = self.card / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_ulog(path, size, seed=seed)
        return path

    @property
    def asked(self) -> list[Read]:
        """What the fake was asked to read by now."""
        return reads(self._notes)

    # -- the host

    def start(self) -> None:
        """Start the host, and wait until its petals are there."""
        self.host.start()
        self.host.wait_ready(_MOST_S)
        until(lambda: self._there(f"/petals/{SIBLING}/jobs"), within_s=_MOST_S, every_s=0.1)

    def get(self, path: str) -> Any:
        """What the host answers."""
        with urllib.request.urlopen(f"{self.host.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str) -> Any:
        """What the host answers to a request without a body."""
        request = urllib.request.Request(f"{self.host.url}{path}", b"", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _there(self, path: str) -> bool:
        with suppress(OSError):
            self.get(path)
            return True
        return False

    # -- what is fetched

    def scan(self) -> None:
        """Let the card be listed now, once the autopilot is heard."""
        until(self._listed, within_s=_MOST_S, every_s=0.2)

    def _listed(self) -> bool:
        try:
            self.post("/petals/petal-s3/card/scan")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return False
        return True

    def fetched(self, name: str) -> int:
        """How many bytes of a log are on the disk, until it is whole; asked past the host."""
        for path in (self.on.directory / "state" / "fetching").glob(f"*/*/{name}"):
            with suppress(OSError):
                return path.stat().st_size
        return 0

    def proven(self, name: str) -> bool:
        """Whether a log of the card is proven in the bucket."""
        rows = self.get("/petals/petal-s3/outbox")["rows"]
        return any(one["key"].endswith(name) and one["state"] == "verified" for one in rows)

    def begin(self, log: Path) -> None:
        """List the card; returns when the first bytes of this log are being asked for."""
        self.scan()
        folders = self.on.directory / "state" / "fetching"
        until(lambda: list(folders.glob(f"*/*/{log.name}")), within_s=_MOST_S, every_s=0.002)
        self._began_at = time.monotonic()

    def end(self, log: Path) -> float:
        """Returns when all of it is here: after how many seconds."""
        size, name = log.stat().st_size, log.name
        until(lambda: self.fetched(name), within_s=_MOST_S, every_s=0.002)
        ended = until(lambda: self.fetched(name) in {0, size}, within_s=_MOST_S, every_s=0.002)
        return ended - self._began_at

    def object(self, key: str) -> bytes:
        """What the bucket holds there."""
        s3 = onlooker(self.on.s3.url)
        with closing(s3):
            body: bytes = s3.get_object(Bucket="logs", Key=key)["Body"].read()
        return body

    def wait_proven(self, log: Path) -> None:
        """Wait until it is in the bucket."""
        until(lambda: self.proven(log.name), within_s=_MOST_S, every_s=0.25)


@contextmanager
def card_aboard(*, fetch: str = "all", mavsdk: bool = False) -> Iterator[CardAboard]:
    """A host that is started and hears its autopilot; all ends with the block."""
    with robot() as on, StandIns() as beside:
        root = make_root(
            on.directory / "host",
            proxies=_PROXIES,
            petals=_PETALS,
            startup=[name for name in _PETALS if name != SIBLING],
            enabled=[SIBLING],
            dependencies={SIBLING: _PROXIES},
            organization="demo",
        )
        with Host(root, env={}) as host:
            made = CardAboard(on, host, beside, mavsdk=mavsdk)
            host.env.update(
                on.settings(
                    PETAL_S3_SETTLE_SECONDS="1",
                    PETAL_S3_FETCH=fetch,
                    PETAL_MAVLINK_ENDPOINT=f"udp:127.0.0.1:{made.port}",
                    PYTHONPATH=str(ROOT),
                    **beside.env(host.url),
                )
            )
            made.power_on()
            try:
                made.start()
                until(lambda: made.get("/petals/listener/beats"), within_s=60, every_s=0.2)
                time.sleep(2.0)
                yield made
            finally:
                made.power_off()
