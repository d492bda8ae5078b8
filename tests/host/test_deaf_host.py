"""While a download holds the host's MAVLink lock, a vehicle that arms is not heard: nothing is
sent until it can be."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aboard import Aboard, aboard, stays, until

from petal_s3.demo.flight import Flight
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from petal_s3.host import hearing
from petal_s3.intake import flight_holds
from petal_s3.intake.flight_state import SILENT_S

MIB = 1024 * 1024
HOLDER = "/petals/lock-holder"


@pytest.fixture(scope="module")
def _drone(cloud: EmbeddedS3, ashore: Path, flight: Flight) -> Iterator[Aboard]:
    with aboard(
        cloud,
        ashore / "deaf",
        flight=flight,
        proxies=("bucket", "ext_mavlink"),
        petals={"lock-holder": "lock_holder:LockHolder"},
        startup=("petal-s3", "lock-holder"),
        env={"PYTHONPATH": str(Path(__file__).parent)},
    ) as made:
        made.start()
        yield made


@pytest.fixture
def drone(_drone: Aboard, flight: Flight) -> Iterator[Aboard]:
    """A host that hears a disarmed autopilot."""
    flight.disarm()
    until(lambda: _drone.status["flight_state"] == "disarmed")
    yield _drone
    _drone.post(f"{HOLDER}/let-go")
    _drone.link.link.rate_bytes_s = 0


@pytest.mark.guarantee(
    "device",
    "the vehicle arms while a download holds the host's MAVLink lock",
    "nothing is sent from the moment the host hears nothing until the autopilot is heard disarmed",
)
@pytest.mark.parametrize("lock", ["mavlink", "download"])
def test_a_vehicle_that_arms_while_the_host_is_deaf_is_noticed(
    drone: Aboard, flight: Flight, lock: str
) -> None:
    path, row = drone.half_sent(f"{lock}.ulg")
    key = row["key"]

    assert drone.post(f"{HOLDER}/hold/{lock}").json == {"held": True}
    until(lambda: drone.status["reason"] == flight_holds.DEAF.sentence)
    until(lambda: drone.row(path)["state"] == "queued")  # type: ignore[index]
    assert drone.row(path)["code"] == "deaf"  # type: ignore[index]
    begun, held_at = drone.begun(), time.monotonic()
    flight.arm()
    stays(lambda: drone.ledger.requests()[begun:] == [], SILENT_S + 3)
    assert drone.status["reason"] == flight_holds.DEAF.sentence
    assert drone.status["flight_state"] == "unknown"

    drone.post(f"{HOLDER}/let-go")
    until(lambda: drone.status["flight_state"] == "armed")
    assert drone.status["reason"] == flight_holds.ARMED.sentence
    stays(lambda: len(drone.ledger.requests()) == begun, 2)
    assert time.monotonic() - held_at > SILENT_S

    drone.link.link.rate_bytes_s = 0
    flight.disarm()
    assert drone.verified(path)["parts_resent"] == 0
    parts = drone.ledger.parts(key)
    assert (parts.confirmed, parts.resent) == (6, 0)


def test_an_autopilot_that_falls_silent_holds_up_the_uploads(drone: Aboard, flight: Flight) -> None:
    flight.silence()
    until(lambda: drone.status["flight_state"] == "unknown")
    path = drone.logs / "silent.ulg"
    write_ulog(path, MIB)
    before = drone.written()
    drone.post("outbox", {"path": str(path)})

    # The host gives its connection up after 10 to 15 s; its locks then are really free.
    stays(lambda: drone.written() == before, 8)
    assert drone.status["reason"] == flight_holds.SILENT.sentence

    flight.resume()
    assert drone.verified(path)["attempts"] == 1


def test_the_host_has_what_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private attributes of petal-app-manager: here it shows when it renames them."""
    external = pytest.importorskip("petal_app_manager.proxies.external")
    monkeypatch.setattr(external.Config, "PETAL_LOG_DIR", str(tmp_path))
    proxy = external.MavLinkExternalProxy("udp:127.0.0.1:1", 115200, 2, 140, 10)
    host = hearing.Hearing(proxy)

    for name in (hearing.DOWNLOAD_LOCK, hearing.MAVLINK_LOCK):
        assert getattr(proxy, name).locked() is False
    assert getattr(proxy, hearing.SEND_QUEUES) == {}
    assert proxy.connected is False
    assert host.is_possible(0.0)
    with getattr(proxy, hearing.DOWNLOAD_LOCK):
        assert not host.is_possible(1.0)
    assert host.is_possible(2.0)
    with getattr(proxy, hearing.MAVLINK_LOCK):
        assert host.is_possible(3.0)
        assert not host.is_possible(3.0 + hearing.STUCK_S)
    assert host.is_possible(6.0)
    for handler in logging.getLogger("MavLinkExternalProxyMsgs").handlers:
        handler.close()
