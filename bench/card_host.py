"""A log of the autopilot's card through the real host, petal-flight-log beside us, on loopback.

The autopilot is a process of its own: our fake, which serves as PX4 does, or MAVSDK's server. It
says a heartbeat a second. Whatever is asked of the host meanwhile is asked outside of what is
measured: how far a fetch is, the disk tells.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from petal_s3.autopilot.mavftp import DATA_BYTES
from petal_s3.autopilot.window import MOST
from tests.support.card_reads import asked_again

from .card_aboard import SIBLING, CardAboard, card_aboard
from .figures import Figure
from .robot import until

WINDOW_BYTES = MOST * DATA_BYTES
_RECORDS = "config-log-flight_record"
_SYNCED_BYTES = 20_000
_OTHER_DAY = "fs/microsd/log/2026-11-01"


def figures(quick: bool = False) -> Iterator[Figure]:
    """Row 19: the rate, what is heard, how late the loop is, others' syncs, kills."""
    yield from _fetches(quick)
    if not quick:
        yield from _syncs(20)
        yield from _kills(10)


# -- one log after another


def _fetches(quick: bool) -> Iterator[Figure]:
    rounds, size = (1, 1_000_000) if quick else (5, 8_000_000)
    with card_aboard() as on:
        found = [_fetch(on, f"10_{number:02}_00.ulg", size, number) for number in range(rounds)]
    yield Figure(19, "a fake of PX4", tuple(one["rate"] for one in found), "KiB/s")
    yield Figure(19, "heartbeats missed", tuple(float(one["missed"]) for one in found), case=1)
    yield Figure(0, "heartbeats heard while fetching", tuple(float(one["heard"]) for one in found))
    for case, name in enumerate(("busy", "idle")):
        what = "while fetching" if name == "busy" else "of the idle host, before each round"
        late = tuple(one[name]["p99"] for one in found)
        yield Figure(0 if case else 19, f"loop lag {what}, p99", late, "ms", case=2)
        most = tuple(one[name]["max"] for one in found)
        yield Figure(0, f"loop lag {what}, most", most, "ms")
    if quick:
        return
    with card_aboard(mavsdk=True) as on:
        theirs = [_fetch(on, f"11_{number:02}_00.ulg", size, number) for number in range(rounds)]
    yield Figure(19, "MAVSDK's server", tuple(one["rate"] for one in theirs), "KiB/s")


def _fetch(on: CardAboard, name: str, size: int, seed: int) -> dict[str, Any]:
    """One log: its rate, and of the host while it was fetched what it heard and how late it was."""
    _since(on)
    time.sleep(5.0)
    idle = _since(on)
    log = on.record(name, size, seed=seed + 1)
    on.begin(log)
    _since(on)
    seconds = on.end(log)
    busy = _since(on)
    on.wait_proven(log)
    beats = busy["beats"]
    missed = beats[-1] - beats[0] + 1 - len(set(beats)) if beats and beats[-1] else 0
    return {
        "rate": size / 1024 / seconds,
        "heard": len(beats),
        "missed": missed,
        "busy": busy,
        "idle": idle,
    }


def _since(on: CardAboard) -> dict[str, Any]:
    """What the host heard, and how late its loop was, since the last call."""
    return {**on.get("/petals/lag/late"), "beats": on.get("/petals/listener/beats")}


# -- petal-flight-log's own syncs, with its download from the autopilot


def _syncs(count: int) -> Iterator[Figure]:
    for fetch, what in (("off", "while nothing is fetched"), ("all", "while we fetch")):
        with card_aboard(fetch=fetch) as on:
            machine = on.get("/health/detailed")["proxies"]["db"]["machine_info"]["machine_id"]
            if fetch == "all":
                on.begin(on.record("23_00_00.ulg", 150_000_000, seed=99))
            done, took = 0, []
            for number in range(count):
                if fetch == "all":
                    _wait_reading(on)
                began = time.monotonic()
                done += _sync(on, machine, f"record-{number}", number)
                took.append(time.monotonic() - began)
        case = 3 if fetch == "all" else 0
        row = 19 if fetch == "all" else 0
        yield Figure(row, f"syncs of {count} that succeed {what}", (float(done),), case=case)
        yield Figure(0, f"a sync {what}", tuple(took), "s")


def _wait_reading(on: CardAboard) -> None:
    before = len(on.asked)
    until(lambda: len(on.asked) > before + 100, within_s=120, every_s=0.05)


def _sync(on: CardAboard, machine: str, record: str, number: int) -> bool:
    """Whether a record whose log lies on the card ends in the bucket, as petal-flight-log says."""
    log = on.record(f"09_00_{number:02}.ulg", _SYNCED_BYTES, seed=500 + number, day=_OTHER_DAY)
    ulog = {
        "id": f"{record}-ulog",
        "file_name": f"{record}.ulg",
        "file_type": "ulg",
        "sd_card_path": f"/{_OTHER_DAY}/{log.name}",
        "storage_type": "pixhawk",
        "size_bytes": _SYNCED_BYTES,
        "size_kb": _SYNCED_BYTES / 1024,
        "modified_timestamp_unix_s": 1767348672,
        "date_str": "2026-11-01-09-00-00",
    }
    told = {"id": record, "robot_instance_id": machine, "sync_job_status": "pending", "ulog": ulog}
    on.beside.cloud.put(_RECORDS, told)
    on.post(f"/petals/{SIBLING}/sync-flight-record/{record}")

    def status() -> str:
        return str(on.beside.cloud.get(_RECORDS, record)["sync_job_status"])

    until(lambda: status() in {"completed", "error"}, within_s=120, every_s=0.05)
    key = on.beside.cloud.get(_RECORDS, record)["ulog"].get("s3_key")
    return status() == "completed" and bool(key) and on.object(key) == log.read_bytes()


# -- kills


def _kills(count: int) -> Iterator[Figure]:
    luck = random.Random(1)
    again: dict[str, list[float]] = {"the host": [], "the autopilot": []}
    with card_aboard() as on:
        for number in range(count):
            victim = ("the host", "the autopilot")[number % 2]
            name = f"12_{number:02}_00.ulg"
            again[victim].append(_killed(on, victim, name, luck.uniform(0.2, 0.8), number))
    for case, (victim, found) in enumerate(again.items()):
        what = f"asked for again after kill -9 of {victim}, beyond one window"
        yield Figure(19, what, tuple(found), "KiB", case=4 + case)


def _killed(on: CardAboard, victim: str, name: str, at: float, seed: int) -> float:
    """Kill one side when so much of a log is here; KiB beyond one window that is asked for twice.

    What is read again in the end, to compare it, is in it.
    """
    log = on.record(name, 4_000_000, seed=100 + seed)
    size = log.stat().st_size
    before = len(on.asked)
    on.begin(log)
    until(lambda: on.fetched(name) > at * size, within_s=120, every_s=0.002)
    if victim == "the host":
        on.host.kill()
    else:
        on.power_off()
    killed = len(on.asked)
    if victim == "the host":
        on.start()
    else:
        on.power_on()
    on.wait_proven(log)
    asked = on.asked
    return (asked_again(asked[before:killed], asked[killed:], size) - WINDOW_BYTES) / 1024
