"""How late is the host's event loop while a log is uploaded?"""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from petal_s3.demo.host import Host, make_root
from petal_s3.demo.logs import write_bag

from .robot import MIB, robot, until

_PETALS = {"petal-s3": "petal_s3.plugin:PetalS3", "lag": "bench.lagpetal:LagPetal"}


def run(size: int = 300 * MIB) -> list[str]:
    """Measure an idle host, then the same host while it uploads as fast as loopback goes."""
    with robot() as on:
        root = make_root(on.directory / "host", petals=_PETALS, startup=list(_PETALS))
        env = on.settings(PETAL_S3_SETTLE_SECONDS="1", PETAL_S3_SCAN_INTERVAL="1")
        with Host(root, env=env) as host:
            host.start()
            host.wait_ready()
            time.sleep(2.0)
            _late(host)
            time.sleep(5.0)
            idle = _late(host)
            write_bag(on.directory / "large.bag", size)
            (on.directory / "large.bag").rename(on.logs / "large.bag")
            until(lambda: on.link.ledger.requests("UploadPart"))
            _late(host)
            until(lambda: on.link.ledger.requests("CompleteMultipartUpload"), within_s=120)
            busy = _late(host)
    return [
        f"host loop lag idle: p50 {idle['p50']} ms, p99 {idle['p99']} ms, max {idle['max']} ms",
        f"host loop lag uploading: p50 {busy['p50']} ms, p99 {busy['p99']} ms (bar: 20),"
        f" max {busy['max']} ms, {busy['n']} samples",
    ]


def _late(host: Host) -> dict[str, Any]:
    with urllib.request.urlopen(f"{host.url}/petals/lag/late") as answer:
        found: dict[str, Any] = json.load(answer)
        return found
