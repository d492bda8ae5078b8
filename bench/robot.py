"""What every measurement stands on: a cloud and a link on loopback, a directory, a child."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread, start_s3
from petal_s3.demo.tokens import TokenService

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024


@dataclass
class Robot:
    """One cloud with a bucket ``logs`` behind one link."""

    directory: Path
    s3: EmbeddedS3
    link: LinkThread
    tokens: TokenService

    @property
    def logs(self) -> Path:
        """The log directory."""
        return self.directory / "logs"

    def settings(self, **more: str) -> dict[str, str]:
        """The environment of petal-s3 for this robot."""
        return {
            "PETAL_S3_BUCKET_NAME": "logs",
            "PETAL_S3_SESSION_TOKEN_URL": self.tokens.url,
            "PETAL_S3_ENDPOINT_URL": self.link.url,
            "PETAL_S3_STATE_DIR": str(self.directory / "state"),
            "PETAL_S3_LOG_DIRS": str(self.logs),
            "PETAL_S3_MACHINE_ID": "bench",
            **more,
        }

    def child(self, *arguments: str, module: str = "bench.child") -> subprocess.Popen[str]:
        """Start a child process that drains this robot's outbox."""
        env = {**os.environ, **self.settings(), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def robot(*, rate_bytes_s: float = 0) -> Iterator[Robot]:
    """Build the robot, and take it down whatever happens."""
    with (
        tempfile.TemporaryDirectory(prefix="petal-s3-bench-") as directory,
        start_s3() as s3,
        in_thread(TokenService()) as tokens,
        LinkThread(s3.url, rate_bytes_s=rate_bytes_s) as link,
    ):
        s3.create_bucket("logs")
        made = Robot(Path(directory), s3, link, tokens)
        made.logs.mkdir()
        yield made


def until(
    condition: Callable[[], object], *, within_s: float = 60.0, every_s: float = 0.005
) -> float:
    """Wait until ``condition`` holds; return the monotonic time when it did."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(every_s)
    return time.monotonic()


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
