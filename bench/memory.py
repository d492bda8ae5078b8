"""How much memory does an upload of a large file take, and how fast is it, beside boto3's own?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from petal_s3.demo.logs import write_bag, write_ulog

from .figures import Figure
from .peers import PETAL
from .robot import MIB, Robot, robot, rss_mib, until
from .rounds import once
from .sink import sink

_BOTO3 = """
import sys, boto3
from boto3.s3.transfer import TransferConfig
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1",
    aws_access_key_id="x", aws_secret_access_key="y")
s3.list_buckets()
print("ready", flush=True)
sys.stdin.readline()
alike = TransferConfig(multipart_chunksize=5 << 20, multipart_threshold=5 << 20, max_concurrency=2)
s3.upload_file(sys.argv[2], "logs", "boto3/large.bag", Config=alike)
print("done", flush=True)
sys.stdin.readline()
"""


def figures(quick: bool) -> Iterator[Figure]:
    """Row 8: the peak of a process that drains one large log, over that of a small one."""
    rounds = 1 if quick else 3
    sizes = ((0, 128),) if quick else ((0, 512), (1, 1024), (2, 4096))
    with sink() as server, tempfile.TemporaryDirectory(prefix="petal-bench-") as folder:
        url = server.https or server.http
        little, large = Path(folder) / "little.ulg", Path(folder) / "large.bag"
        write_ulog(little, 300_000)
        for case, mib in sizes:
            write_bag(large, mib * MIB)
            os.sync()
            more = []
            for _ in range(rounds):
                small, whole = (
                    int(once(server, url, PETAL, [str(log)]).said.split()[0])
                    for log in (little, large)
                )
                more.append((whole - small) / 1024)
            yield Figure(8, f"peak memory over a small log, {mib} MiB", tuple(more), "MiB", case)


def run(size: int = 1024 * MIB) -> list[str]:
    """Upload one file with petal-s3 and with boto3's ``upload_file``; sample resident memory.

    Both send parts of 5 MiB, two at a time.
    """
    with robot() as on:
        log = on.logs / "large.bag"
        write_bag(log, size)
        os.sync()  # else the first of the two pays for writing the log to the disk
        ours_mib, ours_s = _ours(on, str(log))
        theirs_mib, theirs_s = _boto3(on, str(log))
        rates = size / MIB / ours_s, size / MIB / theirs_s
        return [
            f"extra memory over idle, {size // MIB} MiB file: {ours_mib:.1f} MiB (bar: 40),"
            f" boto3 {theirs_mib:.1f} MiB, ratio {ours_mib / max(theirs_mib, 0.1):.2f}",
            f"throughput: {rates[0]:.0f} MiB/s, boto3 {rates[1]:.0f} MiB/s,"
            f" ratio {rates[0] / rates[1]:.2f}",
        ]


def _ours(on: Robot, path: str) -> tuple[float, float]:
    child = on.child("--idle")
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(1.0)  # idle is what it is after start-up
    idle = rss_mib(child.pid)
    started = time.monotonic()
    enqueue = on.child("--enqueue", path)
    enqueue.wait()
    peak = peak_of(child.pid, lambda: _finished(on))
    took = time.monotonic() - started
    child.kill()
    child.wait()
    return peak - idle, took


def _boto3(on: Robot, path: str) -> tuple[float, float]:
    child = subprocess.Popen(
        [sys.executable, "-c", _BOTO3, on.link.url, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    idle = rss_mib(child.pid)
    started = time.monotonic()
    child.stdin.write("\n")
    child.stdin.flush()
    peak = peak_of(child.pid, lambda: _joined(on) == 2)
    took = time.monotonic() - started
    child.kill()
    child.wait()
    return peak - idle, took


def _joined(on: Robot) -> int:
    """How many uploads S3 has answered to be complete."""
    joined = on.link.ledger.requests("CompleteMultipartUpload")
    return sum(request.finished is not None for request in joined)


def _finished(on: Robot) -> bool:
    """The proof is read back by HEAD after the parts were joined."""
    joined = on.link.ledger.requests("CompleteMultipartUpload")
    if not joined or joined[0].finished is None:
        return False
    heads = on.link.ledger.requests("HeadObject")
    return any(head.started > joined[0].started and head.finished for head in heads)


def peak_of(pid: int, finished: Callable[[], bool]) -> float:
    peak = [0.0]

    def sample() -> bool:
        peak[0] = max(peak[0], rss_mib(pid))
        return finished()

    until(sample, within_s=300, every_s=0.01)
    return peak[0]
