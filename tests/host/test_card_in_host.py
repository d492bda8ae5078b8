"""A real host: logs of the autopilot's card are fetched over its connection and proven."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aboard import Aboard, aboard, until

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from tests.support.autopilot import Autopilot

DAY = "fs/microsd/log/2026-11-30"
SIZE = 300_000
READ = 5


@pytest.fixture(scope="module")
def autopilot(ashore: Path) -> Iterator[Autopilot]:
    root = ashore / "card"
    (root / DAY).mkdir(parents=True)
    with Autopilot(root).flying() as flying:
        yield flying


@pytest.fixture(scope="module")
def drone(cloud: EmbeddedS3, ashore: Path, autopilot: Autopilot) -> Iterator[Aboard]:
    with aboard(
        cloud,
        ashore / "carrying",
        flight=autopilot,
        proxies=("bucket", "ext_mavlink", "ftp_mavlink"),
        petals={"downloader": "downloader:Downloader"},
        startup=("petal-s3", "downloader"),
        env={"PETAL_S3_FETCH": "all", "PYTHONPATH": str(Path(__file__).parent)},
    ) as made:
        made.host.start()
        made.host.wait_ready(240)
        yield made


def fetched(drone: Aboard, name: str) -> bool:
    rows = [row for row in drone.rows() if row["key"].endswith(name)]
    return any(row["state"] == "verified" for row in rows)


def test_a_log_of_the_card_comes_into_the_bucket_by_itself(
    drone: Aboard, autopilot: Autopilot
) -> None:
    write_ulog(autopilot.root / DAY / "10_00_00.ulg", SIZE, seed=1)
    until(lambda: fetched(drone, "10_00_00.ulg"), 240)
    (key,) = [key for key in drone.objects() if key.endswith("10_00_00.ulg")]
    assert drone.object(key) == (autopilot.root / DAY / "10_00_00.ulg").read_bytes()
    assert autopilot.server.resets == 0


def test_nothing_is_asked_a_second_after_the_vehicle_has_armed(
    drone: Aboard, autopilot: Autopilot
) -> None:
    write_ulog(autopilot.root / DAY / "11_00_00.ulg", 4 * SIZE, seed=2)
    before = autopilot.asked(READ)
    drone.post("card/scan")
    until(lambda: autopilot.asked(READ) > before + 200, 240)
    autopilot.is_armed, armed_at = True, time.monotonic()
    until(lambda: drone.status["flight_state"] == "armed", 60)
    heard_at = time.monotonic()
    time.sleep(3)
    late = [at - heard_at for at, _ in autopilot.requests if at > heard_at + 1]
    assert late == [], armed_at
    autopilot.is_armed = False
    until(lambda: fetched(drone, "11_00_00.ulg"), 240)
    assert "Traceback" not in drone.log_files()


def test_the_host_downloads_itself_while_logs_are_fetched(
    drone: Aboard, autopilot: Autopilot, tmp_path: Path
) -> None:
    """PX4 has one session: ours is given back, or ended by the host's client."""
    write_ulog(autopilot.root / DAY / "12_00_00.ulg", 4 * SIZE, seed=3)
    theirs = autopilot.root / DAY / "09_00_00.ulg"
    write_ulog(theirs, 20_000, seed=4)
    before = autopilot.asked(READ)
    drone.post("card/scan")
    until(lambda: autopilot.asked(READ) > before + 200, 240)
    for number in range(3):
        target = tmp_path / f"{number}.ulg"
        url = "/petals/downloader/download"
        answer = drone.post(url, remote=f"/{DAY}/{theirs.name}", target=str(target)).json
        assert answer.get("done"), answer
        assert target.read_bytes() == theirs.read_bytes()
    until(lambda: fetched(drone, "12_00_00.ulg"), 400)
    (key,) = [key for key in drone.objects() if key.endswith("12_00_00.ulg")]
    assert drone.object(key) == (autopilot.root / DAY / "12_00_00.ulg").read_bytes()
