"""How much of a paced line a file of the autopilot's card gets: ours, pymavlink's, MAVSDK's client.

The card is served by MAVSDK, which is none of our code, behind a relay of its own for each turn. A
share is the content of the file over what fits: 239 bytes in a frame of 266. Nothing is left out
where a client did not bring the file: it got nothing of the line. pymavlink's client asks for 80
bytes a frame unless it is told otherwise, and is used as it is.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from petal_s3.autopilot.client import MavftpCard
from petal_s3.autopilot.driving import Terms
from petal_s3.autopilot.listing import look_through
from petal_s3.autopilot.mavftp import DATA_BYTES, FRAME_BYTES
from petal_s3.autopilot.own_link import OwnLink
from petal_s3.demo.flight import free_udp_port
from petal_s3.demo.logs import write_ulog
from petal_s3.intake.flight_state import Heartbeat
from tests.servers.environments import environment
from tests.servers.pins import PYTHON
from tests.support.relay import Relay

from .figures import Figure

SCRIPTS = Path(__file__).parents[1] / "tests" / "autopilots"
CLIENTS = {
    "petal-s3": ("pymavlink", "fetch.py", "udpin:127.0.0.1:{}"),
    "pymavlink": ("pymavlink", "pymavlink_client.py", "udpin:127.0.0.1:{}"),
    "MAVSDK": ("mavsdk", "mavsdk_client.py", "udpin://127.0.0.1:{}"),
}
NAME = "log.ulg"
LISTED = 500
_LOGS_A_DAY = 10
_MOST_S = 180.0


@dataclass(frozen=True)
class Line:
    """A line, and how large a file."""

    baud: int
    loss: float
    size: int

    @property
    def fits(self) -> float:
        """Bytes of a file in a second, at best."""
        return self.baud / 10 * DATA_BYTES / FRAME_BYTES

    def __str__(self) -> str:
        loss = f", {self.loss:.0%} loss" if self.loss else ""
        return f"{self.baud} baud{loss}"


LINES = (
    Line(921_600, 0.0, 300_017),
    Line(57_600, 0.0, 40_017),
    Line(921_600, 0.01, 300_017),
    Line(57_600, 0.01, 40_017),
)
"""Those of row 17. No size is a multiple of a block: pymavlink's client would not end."""


def versions() -> dict[str, str]:
    """Of the others that are measured."""
    pins = (one for name in ("pymavlink", "mavsdk") for one in PYTHON[name][:1])
    return dict(pin.split("==") for pin in pins)


def figures(quick: bool = False) -> Iterator[Figure]:
    """Rows 17 and 18: each line once a round, each client in turn; then the listings."""
    rounds = 1 if quick else 3
    for case, line in enumerate(LINES):
        found: dict[str, list[float]] = {name: [] for name in CLIENTS}
        for number in range(rounds):
            for name in _rotated(tuple(CLIENTS), number):
                seconds = _seconds(name, line, number)
                found[name].append(line.size / seconds / line.fits if seconds else 0.0)
        yield from _told(case, line, found)
    listings = tuple(_listing_s(LINES[0]) for _ in range(rounds))
    yield Figure(18, f"a card with {LISTED} logs, {LINES[0]}", listings, "s")


def _told(case: int, line: Line, found: dict[str, list[float]]) -> Iterator[Figure]:
    for name, values in found.items():
        chart = f"a card's log over what fits, {line}"
        yield Figure(0, name, tuple(values), chart=chart)
    yield Figure(17, f"over what fits, {line}", tuple(found["petal-s3"]), case=case)


def _rotated(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    return names[by % len(names) :] + names[: by % len(names)]


def _seconds(client: str, line: Line, seed: int) -> float:
    """How long one fetch takes; 0 where the file did not come whole."""
    with tempfile.TemporaryDirectory(prefix="petal-s3-card-") as made:
        root, target = Path(made) / "root", Path(made) / "target"
        (root / "log").mkdir(parents=True)
        target.mkdir()
        write_ulog(root / "log" / NAME, line.size, seed=seed + 1)
        with _served(root, line) as port:
            name, script, url = CLIENTS[client]
            told = _run(name, script, url.format(port), target, f"/log/{NAME}")
        whole = (target / NAME).exists() and filecmp.cmp(
            root / "log" / NAME, target / NAME, shallow=False
        )
        if not whole or "SUCCESS" not in told:
            print(f"{client}, {line}: it did not come whole: {told[-300:]}", file=sys.stderr)
            return 0.0
        return float(told.split("SUCCESS")[1].split()[0])


def _listing_s(line: Line) -> float:
    """How long our look through a card takes that holds so many logs, ten a day."""
    with tempfile.TemporaryDirectory(prefix="petal-s3-card-") as made:
        for number in range(LISTED):
            day, hour = divmod(number, _LOGS_A_DAY)
            log = Path(made) / f"fs/microsd/log/2026-{day // 28 + 1:02}-{day % 28 + 1:02}"
            log.mkdir(parents=True, exist_ok=True)
            (log / f"{hour:02}_07_09.ulg").write_bytes(b"x" * number)
        with _served(Path(made), line) as port:
            return asyncio.run(_look(port))


async def _look(port: int) -> float:
    link, heard = OwnLink(f"udpin:127.0.0.1:{port}"), asyncio.Event()

    def beat(one: Heartbeat) -> None:
        if one.from_autopilot:
            heard.set()

    link.on_heartbeat = beat
    card = MavftpCard(link, Terms(lambda: None, lambda: None, time.monotonic))
    link.start()
    try:
        await asyncio.wait_for(heard.wait(), 60)
        began = time.monotonic()
        listing = await look_through(card)
        took_s = time.monotonic() - began
    finally:
        await card.close()
        await link.stop()
    assert len(listing.files) == LISTED, len(listing.files)
    return took_s


@contextmanager
def _served(root: Path, line: Line) -> Iterator[int]:
    """The port on which an autopilot behind the line is heard."""
    port = free_udp_port()
    relay = Relay(("127.0.0.1", port), bytes_s=line.baud / 10, loss=line.loss)
    command = _command("mavsdk", "mavsdk_server.py", root, f"udpout://127.0.0.1:{relay.port}")
    with relay.running():
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1.0)
            yield port
        finally:
            server.kill()
            server.wait()


def _command(name: str, script: str, *arguments: object) -> list[str]:
    python = environment(name) / "bin" / "python"
    return [str(python), str(SCRIPTS / script), *(str(one) for one in arguments)]


def _run(name: str, script: str, *arguments: object) -> str:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SCRIPTS.parents[1]), "MAVLINK20": "1"}
    command = _command(name, script, *arguments)
    try:
        ended = subprocess.run(
            command, env=env, check=False, capture_output=True, text=True, timeout=_MOST_S
        )
    except subprocess.TimeoutExpired:
        return f"not within {_MOST_S:.0f} s"
    return ended.stdout + ended.stderr
