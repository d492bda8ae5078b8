"""A server in a process of its own, which ends with the tests however these end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.catalogue import KEY_ID, SECRET, Kind, free_ports

_READY_S = 60.0
# Run between the test process and the server: PR_SET_PDEATHSIG outlives the exec.
TIED = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(parent):
    sys.exit("the tests have ended")
os.execv(command[0], command)
"""


class Running:
    """A started server; to be started from the main thread, whose end is the server's."""

    def __init__(self, kind: Kind, made: Path, data: Path) -> None:
        """Returns before it answers: see :meth:`wait`."""
        data.mkdir()
        (port,) = free_ports(1)
        start = kind.start(made, data, port)
        self.kind = kind
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.output = data.with_suffix(".log")
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", TIED, str(os.getpid()), *start.command],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **start.env},
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.cloud = client(self.url)
        self._buckets = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + _READY_S
        while not self._answers():
            assert self._process.poll() is None, f"it did not start: {self.said()}"
            assert time.monotonic() < deadline, f"it does not answer: {self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        """The last of what it printed."""
        return self.output.read_text(errors="replace")[-3000:]

    def bucket(self) -> str:
        """Make a bucket that no other test has."""
        self._buckets += 1
        name = f"logs-{self._buckets}"
        self.cloud.create_bucket(Bucket=name)
        return name

    def stop(self) -> None:
        self.cloud.close()
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            self.cloud.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


def client(url: str) -> Any:
    """A plain S3 client that asks the server itself: what it really holds."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
