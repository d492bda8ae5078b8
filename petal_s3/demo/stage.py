"""Set the stage on loopback: cloud, link, vehicle and host; leave nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petal_s3.core.settings import MIB
from petal_s3.demo.flight import Flight, free_udp_port
from petal_s3.demo.flight_card import FlightCard
from petal_s3.demo.host import Host, make_root
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread, start_s3
from petal_s3.demo.tokens import TokenService

BUCKET = "demo-logs"
MACHINE = "demo-drone"
SETTLE_S = 3
PART_BYTES = 5 * MIB
CARD_BYTES_S = 300_000
"""What the line to the autopilot carries: three times that of a telemetry port at 921600 baud."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Whatever proxy the machine uses, it does not lead to loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Stage:
    """Everything that takes part; all of it runs except the host, which waits to be started."""

    directory: Path
    s3: EmbeddedS3
    tokens: TokenService
    link: LinkThread
    flight: Flight
    card: FlightCard
    host: Host
    rate_bytes_s: float
    """What the link to S3 carries."""

    @property
    def log_dir(self) -> Path:
        """Where the recorders write."""
        return self.directory / "flight_logs"

    @property
    def settings_file(self) -> Path:
        """What the petal reads; the command line can read it too."""
        return self.directory / "petal-s3.yaml"

    @property
    def petal_url(self) -> str:
        return f"{self.host.url}/petals/petal-s3"

    def fetched_bytes(self) -> int:
        """How much of a log that comes from the card, and has not all come, is on the disk."""
        found = 0
        for place in (self.directory / "state" / "fetching").rglob("*.ulg"):
            with contextlib.suppress(FileNotFoundError):  # it is whole, and in the spool
                found += place.stat().st_size
        return found

    def slow_down(self, *, link: float, card: float) -> None:
        """Let the link to S3 and the line to the autopilot carry such a share of their rates."""
        self.link.link.rate_bytes_s = link * self.rate_bytes_s
        self.card.bytes_s = card * CARD_BYTES_S

    def ask(self, path: str, body: dict[str, str] | None = None) -> Any:
        """What the petal answers to a GET, or to a POST of ``body``; else ``ConnectionError``."""
        request = urllib.request.Request(self.petal_url + path)  # noqa: S310 - our own loopback
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _DIRECT.open(request, timeout=10) as answer:
                return json.load(answer)
        except OSError as error:
            raise ConnectionError(f"the petal does not answer to {path}: {error}") from error


@contextlib.contextmanager
def set_up(*, room_bytes: int, rate_bytes_s: float) -> Iterator[Stage]:
    """Make a stage with space for so many bytes of logs; at the end everything of it is deleted.

    The vehicle is armed from its first word. Raises ``RuntimeError`` when the disk is too full,
    and ``KeyboardInterrupt`` not only on Ctrl-C but whenever the process is asked to end.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        stack.enter_context(_loopback_is_near())
        directory = Path(stack.enter_context(_directory(room_bytes))).resolve()
        s3 = stack.enter_context(start_s3())
        s3.create_bucket(BUCKET)
        tokens = stack.enter_context(in_thread(TokenService()))
        link = stack.enter_context(LinkThread(s3.url, rate_bytes_s=rate_bytes_s))
        card = FlightCard(directory / "card", CARD_BYTES_S)
        flight = Flight(free_udp_port(), card=card)
        flight.arm()
        stack.enter_context(flight)
        root = make_root(
            directory / "host",
            proxies=("bucket", "ext_mavlink"),
            petals={"petal-s3": "petal_s3.plugin:PetalS3"},
            startup=["petal-s3"],
            organization="demo",
        )
        host = stack.enter_context(Host(root, env={"PETAL_MAVLINK_ENDPOINT": flight.endpoint}))
        stage = Stage(directory, s3, tokens, link, flight, card, host, rate_bytes_s)
        _write_settings(stage)
        try:
            yield stage
        finally:
            _hear_no_signal()


def _write_settings(stage: Stage) -> None:
    stage.log_dir.mkdir()
    stage.card.log_dir.mkdir(parents=True)
    settings = {
        "bucket_name": BUCKET,
        "session_token_url": stage.tokens.url,
        "endpoint_url": stage.link.url,
        "machine_id": MACHINE,
        "state_dir": str(stage.directory / "state"),
        "log_dirs": str(stage.log_dir),
        "settle_seconds": SETTLE_S,
        "part_size": PART_BYTES,
    }
    # JSON is YAML too.
    stage.settings_file.write_text(json.dumps(settings, indent=2))
    stage.host.env["PETAL_S3_CONFIG"] = str(stage.settings_file)


@contextlib.contextmanager
def _directory(room_bytes: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="petal-s3-demo-", ignore_cleanup_errors=True) as made:
        # The logs themselves, and what the S3 server keeps of them in files of its own.
        if shutil.disk_usage(made).free < 2 * room_bytes:
            msg = f"{made} needs {2 * room_bytes >> 20} MiB; name a roomier place with TMPDIR"
            raise RuntimeError(msg)
        yield made


@contextlib.contextmanager
def _loopback_is_near() -> Iterator[None]:
    """Keep a proxy of the machine's out of the way of everything in this process."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = ",".join(filter(None, (before, "127.0.0.1")))
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        if before is not None:
            os.environ["no_proxy"] = before


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP clean up as Ctrl-C does, and put everything back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING[1:]:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _hear_no_signal() -> None:
    """A second signal must not stop the cleaning, which takes a second at most."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
