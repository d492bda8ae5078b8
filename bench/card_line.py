"""How much of a paced line a file of the autopilot's card gets: ours, pymavlink's, MAVSDK's client.

The card is served by MAVSDK, which is neither's code, behind a relay of its own for each turn. A
share is the content of the file over what fits: 239 bytes in a frame of 266.
"""

from __future__ import annotations

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

from petal_s3.autopilot.mavftp import DATA_BYTES, FRAME_BYTES
from petal_s3.demo.flight import free_udp_port
from petal_s3.demo.logs import write_ulog
from tests.servers.environments import environment
from tests.support.relay import Relay

from .figures import Figure

SCRIPTS = Path(__file__).parents[1] / "tests" / "autopilots"
CLIENTS = {
    "petal-s3": ("pymavlink", "fetch.py", "udpin:127.0.0.1:{}"),
    "pymavlink": ("pymavlink", "pymavlink_client.py", "udpin:127.0.0.1:{}"),
    "MAVSDK": ("mavsdk", "mavsdk_client.py", "udpin://127.0.0.1:{}"),
}
NAME = "log.ulg"
_MOST_S = 600.0


@dataclass(frozen=True)
class Line:
    """A line, and how large a file; 0 baud: not paced."""

    baud: int
    loss: float
    size: int

    @property
    def fits(self) -> float:
        """Bytes of a file in a second, at best."""
        return self.baud / 10 * DATA_BYTES / FRAME_BYTES

    def __str__(self) -> str:
        loss = f", {self.loss:.0%} loss" if self.loss else ""
        return f"{self.baud} baud{loss}" if self.baud else "loopback"


LINES = (
    Line(921_600, 0.0, 1_000_000),
    Line(57_600, 0.0, 100_000),
    Line(921_600, 0.01, 1_000_000),
    Line(0, 0.0, 2_000_000),
)


def figures(quick: bool = False) -> Iterator[Figure]:
    """Each line once a round, each client in turn; of loopback the figures are KiB/s."""
    rounds = 1 if quick else 3
    for case, line in enumerate(LINES):
        found: dict[str, list[float]] = {name: [] for name in CLIENTS}
        for number in range(rounds):
            for name in _rotated(tuple(CLIENTS), number):
                seconds = _seconds(name, line, number)
                rate = line.size / seconds if seconds else 0.0
                found[name].append(rate / line.fits if line.baud else rate / 1024)
        for name, values in found.items():
            what = "share of what fits" if line.baud else "KiB/s"
            yield Figure(0, f"{name}, {line}: {what}", tuple(values), case=case)


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
        if not whole:
            print(f"{client} did not fetch it whole: {told[-300:]}", file=sys.stderr)
            return 0.0
        return float(told.split("SUCCESS")[1].split()[0])


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
    ended = subprocess.run(
        _command(name, script, *arguments),
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=_MOST_S,
    )
    return ended.stdout + ended.stderr
