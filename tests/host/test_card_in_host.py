"""A real host: logs of the autopilot's card are fetched over its connection and proven."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aboard import Aboard, aboard, until

from petal_s3.autopilot.mavftp import DATA_BYTES
from petal_s3.autopilot.window import MOST
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from tests.support.autopilot import Autopilot
from tests.support.card_reads import Read, asked_again, read_of

DAY = "fs/microsd/log/2026-11-30"
SIZE = 300_000
READ = 5
MOST_AGAIN = MOST * DATA_BYTES + 64 * 1024
"""Read again after a kill: what was on its way, and what was not proven or written yet."""


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
        petals={
            "downloader": "downloader:Downloader",
            "listener": "tests.support.listener:Listener",
        },
        startup=("petal-s3", "downloader", "listener"),
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


def test_every_heartbeat_is_heard_while_a_log_is_fetched(
    drone: Aboard, autopilot: Autopilot
) -> None:
    write_ulog(autopilot.root / DAY / "13_00_00.ulg", 8 * SIZE, seed=5)
    before = autopilot.asked(READ)
    drone.post("card/scan")
    until(lambda: autopilot.asked(READ) > before + 200, 240)
    drone.get("/petals/listener/beats")
    until(lambda: autopilot.asked(READ) > before + 8 * SIZE / DATA_BYTES, 240)
    beats = drone.get("/petals/listener/beats").json
    assert len(beats) >= 2
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    until(lambda: fetched(drone, "13_00_00.ulg"), 240)


@pytest.mark.parametrize("victim", ["the host", "the autopilot"])
def test_after_a_kill_little_more_than_what_was_on_its_way_is_read_again(
    drone: Aboard, autopilot: Autopilot, victim: str
) -> None:
    reads: list[Read] = []
    autopilot.on_request = lambda payload: reads.extend(filter(None, [read_of(payload)]))
    name = "14_00_00.ulg" if victim == "the host" else "15_00_00.ulg"
    write_ulog(autopilot.root / DAY / name, 8 * SIZE, seed=len(victim))
    drone.post("card/scan")
    until(lambda: any(3 * SIZE < one.offset < 4 * SIZE for one in list(reads)), 240)
    if victim == "the host":
        drone.host.kill()
        killed = len(reads)
        drone.host.start()
        drone.host.wait_ready(240)
    else:
        autopilot.is_silent = True
        autopilot.server.close()
        killed = len(reads)
        until(lambda: drone.get("card").json["heard"] is False, 60)
        autopilot.is_silent = False
    until(lambda: fetched(drone, name), 400)
    autopilot.on_request = None
    assert asked_again(reads[:killed], reads[killed:], 8 * SIZE) <= MOST_AGAIN
    (key,) = [key for key in drone.objects() if key.endswith(name)]
    assert drone.object(key) == (autopilot.root / DAY / name).read_bytes()
