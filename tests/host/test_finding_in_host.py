"""Without an autopilot the host's logs are found by looking, once they are finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aboard import Aboard, aboard, stays, until

from petal_s3.demo.flight import free_udp_port
from petal_s3.demo.logs import recorder, write_bag, write_ulog
from petal_s3.demo.services import EmbeddedS3

MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def deaf(cloud: EmbeddedS3, ashore: Path) -> Iterator[tuple[Aboard, float]]:
    """A host that listens for an autopilot and never hears one, with the time of its start.

    It takes half a minute to make up its mind, so it is started first and asked last.
    """
    nobody = {"PETAL_MAVLINK_ENDPOINT": f"udp:127.0.0.1:{free_udp_port()}"}
    proxies = ("bucket", "ext_mavlink")
    with aboard(cloud, ashore / "deaf", proxies=proxies, env=nobody) as made:
        write_ulog(made.logs / "held.ulg", MIB)
        made.host.start()
        yield made, time.monotonic()


@pytest.fixture(scope="module")
def bench(cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    """A host without an autopilot that scans every second."""
    with aboard(cloud, ashore / "bench", env={"PETAL_S3_SCAN_INTERVAL": "1"}) as made:
        made.start()
        yield made


def test_logs_are_found_at_start_on_request_and_when_they_come(
    cloud: EmbeddedS3, tmp_path: Path
) -> None:
    seldom = {"PETAL_S3_SCAN_INTERVAL": "300"}
    with aboard(cloud, tmp_path / "seldom", env=seldom) as host:
        before, later = host.logs / "before.ulg", host.logs / "2026-01-02" / "later.ulg"
        write_ulog(before, MIB)
        host.start()
        assert host.object(host.verified(before)["key"]) == before.read_bytes()

        later.parent.mkdir()
        write_ulog(later, MIB, seed=1)
        landed = host.post("landed").json
        assert (landed["found"] + landed["enqueued"], landed["trouble"]) == (1, "")
        assert host.object(host.verified(later)["key"]) == later.read_bytes()

        unasked = host.logs / "unasked.ulg"
        write_ulog(unasked, MIB, seed=2)
        assert host.object(host.verified(unasked)["key"]) == unasked.read_bytes()


def test_logs_are_found_at_each_interval(bench: Aboard) -> None:
    path = bench.logs / "new.bag"
    write_bag(path, 2 * MIB)
    assert bench.object(bench.verified(path)["key"]) == path.read_bytes()


def test_a_log_that_is_held_open_waits_until_it_is_closed(bench: Aboard) -> None:
    path = bench.logs / "open.ulg"
    log = recorder(path, "ulog", 2 * MIB)
    log.write(MIB)
    until(lambda: str(path) in bench.status["settling"])
    stays(lambda: bench.row(path) is None, 2.5)
    log.close()
    assert bench.object(bench.verified(path)["key"]) == path.read_bytes()


def test_a_bag_is_taken_when_it_has_got_its_name(bench: Aboard) -> None:
    path = bench.logs / "flight.bag"
    active = path.with_name("flight.bag.active")
    log = recorder(path, "rosbag", 2 * MIB)
    while log.write(MIB):
        pass
    log.lose_power()
    stays(lambda: not any("flight.bag" in row["path"] for row in bench.rows()), 2.5)
    assert str(active) not in bench.status["settling"]
    active.rename(path)
    assert bench.verified(path)["verdict"] == "unindexed"


def test_an_autopilot_that_is_never_heard_holds_logs_for_half_a_minute(
    deaf: tuple[Aboard, float],
) -> None:
    host, began = deaf
    path = host.logs / "held.ulg"
    until(lambda: host.row(path), 10)
    reason = host.status["reason"]
    if time.monotonic() - began < 25:
        assert "Listening for up to 30 s" in reason
    key = host.verified(path, within_s=45)["key"]
    assert host.ledger.requests("PutObject", key)[0].started - began > 28
