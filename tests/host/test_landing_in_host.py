"""Inside the real host a landed log goes up by itself, and nothing is sent in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aboard import Aboard, aboard, stays, until

from petal_s3.demo.flight import Flight
from petal_s3.demo.logs import recorder, write_ulog
from petal_s3.demo.services import EmbeddedS3

MIB = 1024 * 1024
WITH_AUTOPILOT = ("bucket", "ext_mavlink")
SETTLE_S = 2.5  # long enough to arm again meanwhile


@pytest.fixture(scope="module")
def _drone(cloud: EmbeddedS3, ashore: Path, flight: Flight) -> Iterator[Aboard]:
    often = {"PETAL_S3_SCAN_INTERVAL": "1", "PETAL_S3_SETTLE_SECONDS": str(SETTLE_S)}
    with aboard(cloud, ashore / "drone", flight=flight, proxies=WITH_AUTOPILOT, env=often) as made:
        made.start()
        yield made


@pytest.fixture
def drone(_drone: Aboard, flight: Flight) -> Iterator[Aboard]:
    """A host that hears an autopilot, scans every second, and is disarmed."""
    flight.disarm()
    until(lambda: _drone.status["flight_state"] == "disarmed")
    yield _drone
    _drone.link.link.rate_bytes_s = 0


def take_off(drone: Aboard, flight: Flight) -> None:
    flight.arm()
    until(lambda: drone.status["flight_state"] == "armed")
    flight.take_off()


def test_nothing_is_sent_in_flight_and_everything_after_landing(
    drone: Aboard, flight: Flight
) -> None:
    before = drone.written()
    found, asked = drone.logs / "found.ulg", drone.logs / "asked.ulg"
    take_off(drone, flight)
    for path in (found, asked):
        log = recorder(path, "ulog", 2 * MIB, seed=len(path.name))
        while log.write(MIB // 4):
            pass
        log.close()
    drone.post("outbox", {"path": str(asked)})

    flight.land()
    stays(lambda: drone.written() == before and drone.row(found) is None, SETTLE_S + 1.5)
    assert "armed" in drone.status["reason"]
    assert drone.row(asked)["state"] == "queued"  # type: ignore[index]

    flight.disarm()
    for path in (found, asked):
        assert drone.object(drone.verified(path)["key"]) == path.read_bytes()


def test_arming_pauses_an_upload_and_disarming_resumes_it_without_resending(
    drone: Aboard, flight: Flight
) -> None:
    path, row = drone.half_sent("paused.ulg")
    armed_at = time.monotonic()
    flight.arm()
    until(lambda: drone.row(path)["state"] == "queued")  # type: ignore[index]
    assert drone.row(path)["code"] == "armed"  # type: ignore[index]
    begun = drone.begun()
    stays(lambda: len(drone.ledger.requests()) == begun, 2)
    # Within a second on a free machine; this one may be busy.
    assert max(request.started for request in drone.ledger.requests()) < armed_at + 2

    drone.link.link.rate_bytes_s = 0
    flight.disarm()
    assert drone.verified(path)["parts_resent"] == 0
    parts = drone.ledger.parts(str(row["key"]))
    assert (parts.confirmed, parts.resent) == (6, 0)
    assert drone.object(str(row["key"])) == path.read_bytes()


def test_arming_again_while_a_log_settles_leaves_it_alone(drone: Aboard, flight: Flight) -> None:
    path = drone.logs / "between.ulg"
    take_off(drone, flight)
    write_ulog(path, MIB)
    until(lambda: str(path) in drone.status["settling"])
    stays(lambda: drone.row(path) is None, SETTLE_S)  # its rest in flight does not count
    flight.disarm()
    until(lambda: drone.status["flight_state"] == "disarmed")
    flight.arm()
    until(lambda: drone.status["flight_state"] == "armed")

    stays(lambda: drone.row(path) is None, SETTLE_S + 1.5)
    flight.disarm()
    assert drone.verified(path)["attempts"] == 1


@pytest.mark.guarantee(
    "device",
    "the whole host is killed in the middle of an upload",
    "started again it resumes without resending",
)
def test_a_killed_host_resumes_without_resending(drone: Aboard) -> None:
    path, row = drone.half_sent("killed.ulg")
    drone.host.kill()
    kept = drone.kept_row(int(str(row["id"])))
    assert (kept["state"], bool(kept["upload_id"])) == ("uploading", True)

    drone.link.link.rate_bytes_s = 0
    drone.start()
    assert drone.verified(path)["parts_resent"] == 0
    parts = drone.ledger.parts(str(row["key"]))
    assert (parts.confirmed, parts.resent) == (6, 0)
    assert len(drone.ledger.requests("CreateMultipartUpload", str(row["key"]))) == 1
    assert drone.object(str(row["key"])) == path.read_bytes()
