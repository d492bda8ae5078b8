"""What lies on the autopilot's card is fetched once, whole, and entered; the rest is said plainly.

The card is one in memory; nothing is uploaded here.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest

from petal_s3.autopilot import fetch as fetching
from petal_s3.demo.logs import write_ulog
from petal_s3.errors import Conflict, LocalStorageError
from petal_s3.outbox import card as card_files
from petal_s3.outbox import proven_objects, queries, remote_objects
from petal_s3.service import card_verbs
from tests.support.card_model import (
    ARMED,
    BLOCK_BYTES,
    MISSIONS,
    ROOT,
    CardModel,
    held,
    refused,
)
from tests.support.card_robot import SETTLE_S, Killed
from tests.support.card_robot import CardRobot as Robot

SIZE = 300_000
OLD, NEW, NEWER = (
    "2026-11-29/08_00_00.ulg",
    "2026-11-30/14_25_00.ulg",
    "2026-11-30/15_00_00.ulg",
)
SESSION = "sess012/log001.ulg"


@pytest.fixture(scope="session")
def ulogs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Logs of some flights, of different sizes."""
    folder, found = tmp_path_factory.mktemp("ulogs"), []
    for seed in range(4):
        write_ulog(folder / "one.ulg", SIZE + 1000 * seed, seed=seed)
        found.append((folder / "one.ulg").read_bytes())
    return found


@pytest.fixture
async def robot(tmp_path: Path) -> AsyncIterator[Robot]:
    """A robot that has seen its card empty before the first flight."""
    made = await Robot(tmp_path, CardModel()).start()
    await made.rest()
    yield made
    await made.stop()


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Robot]:
    """A robot that has not looked at its card yet."""
    made = await Robot(tmp_path, CardModel()).start()
    yield made
    await made.stop()


def blocks(card: CardModel) -> list[tuple[str, int, int]]:
    return [(one.path, one.start, one.end) for one in card.asked if one.what == "block"]


# -- fetching


async def test_a_log_of_a_flight_is_in_the_outbox_after_the_landing(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    assert await robot.states() == {NEW: "fetched"}
    assert await robot.entered(NEW) == ulogs[0]
    row = await robot.row(NEW)
    assert row.key == "flight_logs/drone-001/20261130_142500_14_25_00.ulg"
    assert row.name == "14_25_00.ulg"
    assert row.facts["flight"] == "2026-11-30/20261130T142500Z"
    assert not list((robot.state / "fetching").iterdir())


async def test_mission_logs_come_first_then_the_newest(robot: Robot, ulogs: list[bytes]) -> None:
    for path, log in zip((OLD, NEW, NEWER), ulogs, strict=False):
        robot.card.put(path, log)
    robot.card.put(OLD, ulogs[3], MISSIONS)
    robot.fly()
    await robot.rest()
    order = list(dict.fromkeys(path for path, _, _ in blocks(robot.card)))
    assert order == [f"{MISSIONS}/{OLD}", f"{ROOT}/{NEWER}", f"{ROOT}/{NEW}", f"{ROOT}/{OLD}"]
    rows = await robot.service.outbox(queries.rows)
    mission = next(row for row in rows if row.size == len(ulogs[3]))
    assert mission.priority > max(row.priority for row in rows if row.id != mission.id)


async def test_of_logs_without_a_clock_the_highest_number_is_the_newest(
    robot: Robot, ulogs: list[bytes]
) -> None:
    for path, log in zip(
        ("sess9/log2.ulg", "sess10/log1.ulg", "sess9/log10.ulg"), ulogs, strict=False
    ):
        robot.card.put(path, log)
    robot.fly()
    await robot.rest()
    order = list(dict.fromkeys(path.removeprefix(f"{ROOT}/") for path, _, _ in blocks(robot.card)))
    assert order == ["sess10/log1.ulg", "sess9/log10.ulg", "sess9/log2.ulg"]


async def test_a_log_without_a_clock_is_of_the_time_that_the_autopilot_tells(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.times[robot.card.put(SESSION, ulogs[0])] = 1_780_000_000.0
    robot.fly()
    await robot.rest()
    row = await robot.row(SESSION)
    assert row.name == "log001.ulg"
    assert row.logged_at in {1_780_000_000, int(row.facts.get("start-utc", 0))}


@pytest.mark.guarantee(
    "card",
    "a log on the autopilot's card is still being written",
    "it is fetched when two listings agree on its size",
)
async def test_a_log_is_fetched_only_when_two_listings_agree_on_its_size(
    robot: Robot, ulogs: list[bytes]
) -> None:
    grown = ulogs[0]
    robot.card.put(NEW, grown[: len(grown) // 3])
    robot.fly()
    await robot.step()
    robot.card.put(NEW, grown[: len(grown) // 2])
    robot.time += SETTLE_S
    await robot.step()
    assert await robot.states() == {NEW: "seen"}
    robot.card.put(NEW, grown)
    await robot.rest()
    assert await robot.entered(NEW) == grown


@pytest.mark.guarantee(
    "card",
    "a log grows while it is fetched",
    "it begins anew; bytes of two states are never mixed",
)
async def test_a_log_that_grows_while_it_is_fetched_begins_anew_and_is_never_mixed(
    robot: Robot, ulogs: list[bytes]
) -> None:
    path = robot.card.put(NEW, ulogs[0])

    def grows(_: str, offset: int) -> None:
        if offset > SIZE // 2:
            robot.card.put(NEW, ulogs[1])

    robot.card.before_block = grows
    robot.fly()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[1]
    assert robot.card.bytes_read(path) > SIZE + SIZE // 2


async def test_a_log_that_shrinks_while_it_is_fetched_begins_anew(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[3])

    def shrinks(_: str, offset: int) -> None:
        if offset > SIZE - 1000:
            robot.card.put(NEW, ulogs[0])

    robot.card.before_block = shrinks
    robot.fly()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


@pytest.mark.guarantee(
    "card",
    "another log of the same path and size lies there when fetching goes on",
    "the last KiB differs: it begins anew",
)
async def test_another_log_of_the_same_path_and_size_is_never_mixed_with_the_first(
    robot: Robot, ulogs: list[bytes]
) -> None:
    other = bytes(reversed(ulogs[0][:SIZE]))
    other = ulogs[0][:100] + other[100:]
    robot.card.put(NEW, ulogs[0])

    def away(_: str, offset: int) -> None:
        if offset > SIZE // 2:
            robot.card.put(NEW, other)
            raise held("silent")

    robot.card.before_block = away
    robot.fly()
    for _ in range(20):
        robot.time += await robot.step()
        if robot.card.files[f"{ROOT}/{NEW}"] == other:
            break
    robot.card.before_block = lambda path, offset: None
    await robot.rest()
    assert await robot.entered(NEW) == other


@pytest.mark.guarantee(
    "card",
    "the autopilot's server gives wrong bytes without an error",
    "they do not agree with what is read again at random: fetched anew",
)
async def test_bytes_that_agree_with_no_window_of_the_card_are_fetched_anew(
    robot: Robot, ulogs: list[bytes]
) -> None:
    """A broken server may give wrong bytes under the right offset."""
    right, wrong = ulogs[0], bytearray(ulogs[0])
    wrong[1000:SIZE] = bytes(SIZE - 1000)
    path = robot.card.put(NEW, bytes(wrong))

    def mends(what: str, _: str) -> None:
        if what == "open" and robot.card.bytes_read(path) >= SIZE:
            robot.card.put(NEW, right)

    robot.card.before_request = mends
    robot.fly()
    await robot.rest()
    assert await robot.entered(NEW) == right


@pytest.mark.guarantee(
    "card",
    "the checksum that the autopilot computes is another one",
    "the log does not enter the outbox; it is fetched anew",
)
async def test_bytes_of_which_the_autopilot_tells_another_checksum_are_fetched_anew(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.wrong_crc = True
    path = robot.card.put(NEW, ulogs[0])
    robot.fly()
    for _ in range(12):
        robot.time += await robot.step()
        if (await robot.files())[NEW].code:
            break
    found = (await robot.files())[NEW]
    assert (found.row_id, found.code) == (None, "card_changed")
    assert "checksum" in found.reason
    robot.card.wrong_crc = False
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]
    assert robot.card.bytes_read(path) >= 2 * SIZE


async def test_an_autopilot_that_computes_no_checksum_is_asked_once(
    robot: Robot, ulogs: list[bytes]
) -> None:
    def refuses(what: str, _: str) -> None:
        if what == "crc32":
            robot.card.asked.append(replace(robot.card.asked[-1], what="hash"))
            raise refused(7)

    robot.card.before_request = refuses
    robot.card.put(NEW, ulogs[0])
    robot.card.put(OLD, ulogs[1])
    robot.fly()
    await robot.rest()
    assert set((await robot.states()).values()) == {"fetched"}
    assert [one.what for one in robot.card.asked].count("hash") == 1


# -- broken off


async def killed_at(robot: Robot, path: str, offset: int) -> None:
    """Let the process end when the block at this offset is asked for; nothing is tidied up."""

    def kills(asked: str, at: int) -> None:
        if asked == path and at >= offset:
            raise Killed

    robot.card.before_block = kills
    robot.fetcher._interrupts = False
    with pytest.raises(Killed):
        await robot.rest()
    robot.card.before_block = lambda path, offset: None


@pytest.mark.guarantee(
    "card",
    "the process is killed while a log is fetched",
    "it goes on where it was; at most 64 KiB and a window are read again",
)
@pytest.mark.parametrize("at", [0, BLOCK_BYTES, 40_000, SIZE // 2, SIZE - BLOCK_BYTES])
async def test_after_the_death_of_the_process_it_goes_on_where_it_was(
    robot: Robot, ulogs: list[bytes], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = robot.card.put(NEW, ulogs[0])
    robot.fly()
    # What a killed process does not do: bring what it still has in memory to the disk.
    monkeypatch.setattr(fetching, "to_end", _never)
    await killed_at(robot, path, at)
    monkeypatch.undo()
    await robot.start()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]
    again = robot.card.bytes_read(path) - SIZE
    windows = fetching.WINDOWS * fetching.WINDOW_BYTES + fetching.TAIL_BYTES
    assert again <= windows + 64 * 1024 + BLOCK_BYTES


@pytest.mark.guarantee(
    "card",
    "the process is killed, and another, longer log lies there afterwards",
    "nothing that lies on the disk counts for it, whatever its end is like",
)
async def test_what_is_on_the_disk_of_a_log_does_not_count_for_the_one_that_took_its_place(
    robot: Robot, ulogs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.card.hashes = False
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    monkeypatch.setattr(fetching, "to_end", _never)
    await killed_at(robot, f"{ROOT}/{NEW}", SIZE // 2)
    monkeypatch.undo()
    part = next((robot.state / "fetching").rglob("*.ulg"))
    assert (await robot.files())[NEW].fetched_bytes < part.stat().st_size
    other = bytearray(ulogs[0] + b"x" * 1000)
    other[20_000] ^= 1
    robot.card.put(NEW, bytes(other))
    await robot.start()
    await robot.rest()
    assert await robot.entered(NEW) == other


async def _never(work: Coroutine[object, object, None]) -> None:
    work.close()


@pytest.mark.guarantee(
    "card",
    "the power is cut while a log is fetched, and the end of the file is torn",
    "what was durable counts, the rest is read again",
)
async def test_after_a_power_cut_only_what_was_on_the_disk_counts(
    robot: Robot, ulogs: list[bytes]
) -> None:
    path = robot.card.put(NEW, ulogs[0])
    robot.fly()
    await killed_at(robot, path, SIZE // 2)
    found = (await robot.files())[NEW]
    part = next((robot.state / "fetching").rglob("*.ulg"))
    with part.open("r+b") as torn:  # what was written last never reached the disk
        torn.seek(found.fetched_bytes)
        torn.write(bytes(50_000))
    await robot.start()
    await robot.service.outbox(
        lambda outbox: outbox.sql.change("UPDATE card SET kept_boot = 'another boot'")
    )
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


@pytest.mark.guarantee(
    "card",
    "the disk loses or spoils what was fetched of a log",
    "its checksum shows it: it begins anew",
)
@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
async def test_bytes_that_the_disk_has_lost_are_fetched_again(
    robot: Robot, ulogs: list[bytes], damage: str
) -> None:
    path = robot.card.put(NEW, ulogs[0])
    robot.fly()
    await killed_at(robot, path, SIZE // 2)
    part = next((robot.state / "fetching").rglob("*.ulg"))
    if damage == "gone":
        shutil.rmtree(robot.state / "fetching")
    elif damage == "shorter":
        part.write_bytes(part.read_bytes()[:1000])
    else:
        part.write_bytes(b"\0" + part.read_bytes()[1:])
    await robot.start()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


@pytest.mark.guarantee(
    "card",
    "the process is killed between the last byte and the row",
    "one row; nothing is read again",
)
async def test_killed_between_the_last_byte_and_its_row_it_is_entered_once(
    robot: Robot, ulogs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = robot.card.put(NEW, ulogs[0])
    robot.fly()

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(card_files, "entered", killed)
    with pytest.raises(Killed):
        await robot.rest()
    monkeypatch.undo()
    read = robot.card.bytes_read(path)
    await robot.start()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]
    assert len(await robot.service.outbox(queries.rows)) == 1
    assert robot.card.bytes_read(path) == read


async def test_a_link_that_breaks_again_and_again_brings_all_of_it_in_the_end(
    robot: Robot, ulogs: list[bytes]
) -> None:
    path = robot.card.put(NEW, ulogs[0])
    broken = set()

    def breaks(_: str, offset: int) -> None:
        if offset // 60_000 not in broken:
            broken.add(offset // 60_000)
            raise held("silent")

    robot.card.before_block = breaks
    robot.fly()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]
    assert robot.card.bytes_read(path) <= SIZE + 6 * fetching.TAIL_BYTES + 4 * 1024


# -- when


@pytest.mark.guarantee(
    "card",
    "the vehicle is armed while a log is fetched",
    "nothing more is asked; it goes on after the landing where it was",
)
async def test_nothing_is_asked_while_the_vehicle_is_armed_and_the_offset_stays(
    robot: Robot, ulogs: list[bytes]
) -> None:
    path = robot.card.put(NEW, ulogs[0])

    def arms(_: str, offset: int) -> None:
        if offset > SIZE // 2:
            robot.hear(ARMED)
            raise held()

    robot.card.before_block = arms
    robot.fly()
    while robot.service.flight.state(robot.time) != "armed":
        robot.time += await robot.step()
    robot.card.before_block = lambda path, offset: None
    asked = len(robot.card.asked)
    for _ in range(20):
        robot.time += 1.0
        robot.hear(ARMED)
        assert await robot.fetcher.step() <= 1.0
    assert len(robot.card.asked) == asked
    assert (await robot.files())[NEW].fetched_bytes > SIZE // 3
    assert (await robot.figures()).code == "armed"
    robot.hear(times=3)
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]
    assert robot.card.bytes_read(path) < 1.1 * SIZE


async def test_an_autopilot_that_is_not_heard_for_3_s_is_not_asked(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    asked = len(robot.card.asked)
    robot.time += 3.5
    await robot.fetcher.step()
    assert len(robot.card.asked) == asked
    assert (await robot.figures()).code == "silent"
    assert (await robot.figures()).heard is False
    robot.hear()
    await robot.fetcher.step()
    assert len(robot.card.asked) > asked


async def test_an_autopilot_that_was_never_heard_is_not_asked(tmp_path: Path) -> None:
    robot = await Robot(tmp_path, CardModel()).start()
    await robot.fetcher.step()
    assert robot.card.asked == []
    await robot.stop()


async def test_switched_off_nothing_is_asked_and_no_card_is_known(
    tmp_path: Path, ulogs: list[bytes]
) -> None:
    robot = await Robot(tmp_path, CardModel()).start(fetch="off")
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    assert await robot.step() > 60
    assert robot.card.asked == []
    assert (await robot.service.status()).card is None
    assert "card" not in (await robot.service.status()).model_dump()
    with pytest.raises(Conflict):
        robot.service.lock.take()
        await card_verbs.scan(robot.service)
    await robot.stop()


async def test_a_file_that_the_autopilot_refuses_waits_and_the_others_do_not(
    robot: Robot, ulogs: list[bytes]
) -> None:
    bad = robot.card.put(NEWER, ulogs[0])
    robot.card.put(NEW, ulogs[1])

    def refuses(what: str, path: str) -> None:
        if what == "open" and path == bad:
            raise refused(2)

    robot.card.before_request = refuses
    robot.fly()
    await robot.rest()
    states = await robot.states()
    assert states == {NEWER: "settled", NEW: "fetched"}
    found = (await robot.files())[NEWER]
    assert (found.code, found.reason) == ("card_refused", "The autopilot refused.")
    assert sum(one.path == bad for one in robot.card.asked) == 0
    robot.card.before_request = lambda what, path: None
    robot.time += 1000
    await robot.rest()
    assert (await robot.states())[NEWER] == "fetched"


@pytest.mark.guarantee(
    "card",
    "the card is out, or cannot be read",
    "that is said, and no log counts as vanished",
)
async def test_a_card_that_is_not_there_is_said_and_nothing_counts_as_vanished(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.step()
    kept, robot.card.folders = robot.card.folders, {"/fs"}
    robot.time += SETTLE_S
    await robot.step()
    figures = await robot.figures()
    assert (figures.code, figures.gone, figures.on_card) == ("no_card", 0, 1)
    robot.card.folders = kept
    robot.time += 60
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


# -- what is new


async def test_what_lay_there_before_any_flight_was_seen_is_only_shown(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    fresh.card.put(OLD, ulogs[0])
    await fresh.rest()
    assert await fresh.states() == {OLD: "skipped"}
    fresh.card.put(NEW, ulogs[1])
    fresh.fly()
    await fresh.rest()
    assert await fresh.states() == {OLD: "skipped", NEW: "fetched"}
    status = await fresh.service.status()
    assert status.card is not None
    assert (status.card.left_out, status.card.unproven, status.card.to_fetch) == (1, 2, 0)
    assert "card" not in status.headline


async def test_what_was_left_out_is_fetched_when_asked_for(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    fresh.card.put(OLD, ulogs[0])
    fresh.card.put(NEW, ulogs[1])
    await fresh.rest()
    asked = (await fresh.files())[OLD].id
    assert (await card_verbs.fetch(fresh.service, asked)).state == "seen"
    await fresh.rest()
    assert await fresh.states() == {OLD: "fetched", NEW: "skipped"}


async def test_a_log_whose_row_was_cancelled_is_sent_again_when_asked_for(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    row = await robot.row(NEW)
    await robot.service.cancel(row.id)
    assert (await robot.figures()).unproven == 1
    await card_verbs.fetch(robot.service, (await robot.files())[NEW].id)
    assert await robot.entered(NEW) == ulogs[0]


async def test_a_log_whose_object_and_copy_are_gone_comes_from_the_card_again(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    await robot.prove(NEW)
    row = await robot.row(NEW)
    await robot.service.outbox(proven_objects.note_object, row, "It is gone.")
    assert (await robot.figures()).safe_to_erase is False
    await card_verbs.fetch(robot.service, (await robot.files())[NEW].id)
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


async def test_all_are_fetched_where_the_settings_say_so(fresh: Robot, ulogs: list[bytes]) -> None:
    fresh.card.put(OLD, ulogs[0])
    await fresh.rest()
    assert await fresh.states() == {OLD: "skipped"}
    await fresh.start(fetch="all")
    await fresh.rest()
    assert await fresh.states() == {OLD: "fetched"}


async def test_where_a_flight_was_seen_before_the_first_listing_all_is_new(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    fresh.card.put(OLD, ulogs[0])
    fresh.hear(ARMED)
    await fresh.fetcher.step()
    await fresh.start()  # another process does not remember it, the outbox does
    await fresh.rest()
    assert await fresh.states() == {OLD: "fetched"}


@pytest.mark.guarantee(
    "card",
    "the outbox is lost",
    "what is newer on the card than the newest log in the bucket is fetched",
)
async def test_after_the_loss_of_the_outbox_what_is_newer_than_the_newest_in_the_bucket_is_new(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    def lists(outbox: object) -> None:
        held_before = [
            ("flight_logs/drone-001/20261130_142500_14_25_00.ulg", 5, "e"),
            ("flight_logs/drone-001/20261129_080000_08_00_00.ulg", 5, "e"),
            ("flight_logs/drone-001/sessions/1/logs/20270101_000000_a.txt", 5, "e"),
        ]
        remote_objects.complete_listing(outbox, held_before)  # type: ignore[arg-type]

    await fresh.service.outbox(lists)
    for path, log in zip((OLD, NEW, NEWER, SESSION), ulogs, strict=True):
        fresh.card.put(path, log)
    await fresh.rest()
    assert await fresh.states() == {
        OLD: "skipped",
        NEW: "skipped",
        NEWER: "fetched",
        SESSION: "fetched",
    }


async def test_a_robot_without_logs_in_the_bucket_leaves_out_all_that_lay_there(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    await fresh.service.outbox(remote_objects.complete_listing)
    fresh.card.put(SESSION, ulogs[0])
    await fresh.rest()
    assert await fresh.states() == {SESSION: "skipped"}


# -- gone, changed, none


@pytest.mark.guarantee(
    "card",
    "PX4 deletes a log, or the card is formatted, before it was fetched",
    "it is named; no other log waits for it",
)
async def test_a_log_that_vanished_before_it_was_fetched_is_said_plainly(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.step()
    robot.card.erase()
    await robot.rest()
    figures = await robot.figures()
    assert (figures.on_card, figures.gone) == (0, 1)
    shown = await card_verbs.show(robot.service)
    assert [(one.state, one.path) for one in shown.files] == [("gone", f"{ROOT}/{NEW}")]
    assert "before it was fetched" in shown.files[0].reason
    status = await robot.service.status()
    assert f"vanished from the autopilot's card before they were fetched: {ROOT}/{NEW}" in " ".join(
        status.advice
    )
    with pytest.raises(Conflict):
        await card_verbs.fetch(robot.service, shown.files[0].id)


@pytest.mark.guarantee(
    "card",
    "a log vanishes while it is fetched",
    "what came of it is sent, as a truncated log",
)
async def test_what_was_fetched_of_a_log_that_vanished_is_sent_all_the_same(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])

    def vanishes(_: str, offset: int) -> None:
        if offset > SIZE // 2:
            robot.card.erase()

    robot.card.before_block = vanishes
    robot.fly()
    await robot.rest()
    [row] = await robot.service.outbox(queries.rows)
    sent = Path(row.path).read_bytes()
    assert len(sent) > SIZE // 3
    assert ulogs[0].startswith(sent)
    [gone] = await robot.service.outbox(card_files.vanished)
    assert (gone.state, gone.row_id) == ("gone", row.id)
    assert not list((robot.state / "fetching").iterdir())


@pytest.mark.guarantee(
    "card",
    "a log vanishes when all of it is here, before it was compared with the card",
    "it is sent all the same",
)
async def test_a_log_that_vanished_before_it_was_compared_with_the_card_is_sent(
    robot: Robot, ulogs: list[bytes]
) -> None:
    path = robot.card.put(NEW, ulogs[0])

    def vanish(what: str, _: str) -> None:
        if what == "open" and robot.card.bytes_read(path) >= len(ulogs[0]):
            robot.card.files.pop(path, None)

    robot.card.before_request = vanish
    robot.fly()
    await robot.rest()
    assert await robot.files() == {}
    rows = await robot.service.outbox(queries.rows, None, 10)
    assert [Path(row.path).read_bytes() for row in rows] == [ulogs[0]]
    figures = await robot.figures()
    assert figures.gone == 0
    robot.card.before_request = lambda what, path: None
    robot.card.put(NEW, ulogs[0])  # the card was away: now it can be compared
    read = robot.card.bytes_read(path)
    robot.fly()
    await robot.rest()
    assert robot.card.bytes_read(path) > read + len(ulogs[0])
    assert await robot.states() == {NEW: "fetched"}


async def test_a_proven_log_that_px4_deletes_is_no_loss(robot: Robot, ulogs: list[bytes]) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    await robot.prove(NEW)
    robot.card.erase()
    robot.fly()
    await robot.rest()
    figures = await robot.figures()
    assert (figures.gone, figures.unproven, figures.safe_to_erase) == (0, 0, True)


async def test_a_log_that_grew_after_it_was_fetched_is_another_one(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    first = await robot.row(NEW)
    robot.card.put(NEW, ulogs[1])
    robot.fly()
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[1]
    assert (await robot.row(NEW)).id != first.id
    assert Path(first.path).read_bytes() == ulogs[0]


async def test_a_card_that_was_away_is_known_again_without_a_byte(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    kept = dict(robot.card.files)
    robot.card.files.clear()
    robot.fly()
    await robot.rest()
    assert await robot.states() == {}
    robot.card.files = kept
    read = robot.card.bytes_read(f"{ROOT}/{NEW}")
    robot.fly()
    await robot.rest()
    assert await robot.states() == {NEW: "fetched"}
    assert robot.card.bytes_read(f"{ROOT}/{NEW}") == read


async def test_after_formatting_a_name_without_a_date_is_another_log(
    robot: Robot, ulogs: list[bytes]
) -> None:
    other = ulogs[0][:200] + bytes(reversed(ulogs[0][200:]))
    robot.card.put(SESSION, ulogs[0])
    robot.fly()
    await robot.rest()
    robot.card.files.clear()
    robot.fly()
    await robot.rest()
    robot.card.put(SESSION, other)
    robot.fly()
    await robot.rest()
    assert await robot.entered(SESSION) == other


async def test_an_empty_file_is_passed_over_and_is_no_loss(robot: Robot) -> None:
    robot.card.put(NEW, b"")
    robot.fly()
    await robot.rest()
    assert await robot.states() == {NEW: "skipped"}
    assert (await robot.figures()).safe_to_erase is True


async def test_a_file_beyond_the_limit_is_passed_over_until_the_limit_is_raised(
    robot: Robot, ulogs: list[bytes]
) -> None:
    await robot.start(max_file_size=1000)
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.rest()
    found = (await robot.files())[NEW]
    assert (found.state, found.code) == ("skipped", "too_large")
    assert (await robot.figures()).safe_to_erase is False
    with pytest.raises(Conflict):
        await card_verbs.fetch(robot.service, found.id)
    await robot.start(max_file_size=2**30)
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


async def test_what_is_no_log_is_kept_for_a_person_to_look_at(robot: Robot) -> None:
    robot.card.put(NEW, bytes(5000))
    robot.fly()
    await robot.rest()
    row = await robot.row(NEW)
    assert (row.state, row.code) == ("dead", "zero_filled")
    assert Path(row.path).read_bytes() == bytes(5000)
    assert (await robot.figures()).safe_to_erase is False


@pytest.mark.guarantee(
    "card",
    "a name on the card leads out of its folder, or steers a terminal",
    "it is never asked for, and the card is not safe to erase",
)
@pytest.mark.parametrize("name", ["..", "a/../../b.ulg", "x\ny.ulg", "\x1b[2J.ulg", "nul\0.ulg"])
async def test_a_name_that_could_lead_elsewhere_is_never_asked_for(
    robot: Robot, ulogs: list[bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = robot.card.list_directory

    async def lists(path: str) -> list[object]:
        found = await real(path)
        if path == ROOT:
            found.append(fetching_entry(name))
        return list(found)

    monkeypatch.setattr(robot.card, "list_directory", lists)
    robot.fly()
    await robot.rest()
    assert all(name not in one.path for one in robot.card.asked)
    assert await robot.states() == {}
    assert (await robot.figures()).safe_to_erase is (name == "..")


def fetching_entry(name: str) -> object:
    from petal_s3.autopilot.ftp_client import Entry

    return Entry(name, False, 1000, None)


# -- told


@pytest.mark.guarantee(
    "card",
    "a person wants to erase the card",
    "yes only where the last two listings agree and every log on it is proven",
)
async def test_the_card_is_safe_to_erase_only_when_two_listings_agree_and_all_is_proven(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.step()
    assert "listed twice" in (await robot.figures()).not_safe
    await robot.rest()
    figures = await robot.figures()
    assert figures.not_safe == f"1 log is not proven in the bucket: {ROOT}/{NEW}."
    await robot.prove(NEW)
    assert (await robot.figures()).safe_to_erase is True
    robot.hear(ARMED)
    await robot.fetcher.step()
    assert "listed twice" in (await robot.figures()).not_safe
    robot.hear(times=3)
    await robot.rest()
    assert (await robot.figures()).safe_to_erase is True
    robot.time += 4
    assert "not heard" in (await robot.figures()).not_safe


async def test_the_status_is_not_all_up_while_a_log_is_on_the_card(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.step()
    robot.service.lock.take()
    status = await robot.service.status()
    assert status.headline.startswith("0 of 1 log proven, 1 is on the autopilot's card yet")
    assert status.card is not None
    assert (status.card.to_fetch, status.card.to_fetch_bytes) == (1, SIZE)


async def test_what_px4_would_delete_next_is_the_oldest(robot: Robot, ulogs: list[bytes]) -> None:
    for path, log in zip((NEW, OLD, NEWER), ulogs, strict=False):
        robot.card.put(path, log)
    robot.fly()
    await robot.rest()
    assert (await robot.figures()).deletes_next == f"{ROOT}/{OLD}"


async def test_the_disk_keeps_its_reserve(robot: Robot, ulogs: list[bytes]) -> None:
    from petal_s3.intake.reserve import Space

    robot.service.intake.reserve.space = lambda _: Space(1000, 10**9)
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    await robot.step()
    robot.time += SETTLE_S
    await robot.step()
    await robot.step()
    figures = await robot.figures()
    assert figures.code == LocalStorageError.code
    assert "No room" in figures.reason
    robot.service.intake.reserve.space = lambda _: Space(10**9, 10**9)
    await robot.rest()
    assert await robot.entered(NEW) == ulogs[0]


async def test_what_is_asked_for_interrupts_what_is_fetched(
    fresh: Robot, ulogs: list[bytes]
) -> None:
    fresh.card.put(OLD, ulogs[0])
    await fresh.rest()
    fresh.card.put(NEW, ulogs[1])
    old, asked = (await fresh.files())[OLD].id, []

    def asks(path: str, offset: int) -> None:
        if path.endswith(NEW) and offset > 1000 and not asked:
            asked.append(asyncio.ensure_future(card_verbs.fetch(fresh.service, old)))
        elif asked and not asked[0].done():
            time.sleep(0.001)  # a card is not read in an instant, as this one is

    fresh.card.before_block = asks
    fresh.fly()
    await fresh.rest()
    await asked[0]
    whole = [path for path, start, _ in blocks(fresh.card) if start > SIZE - 1000]
    assert whole[0].endswith(OLD)
    assert await fresh.entered(NEW) == ulogs[1]


async def test_a_card_with_500_logs_is_listed_with_one_question_for_each_folder(
    fresh: Robot,
) -> None:
    for day in range(1, 26):
        for hour in range(20):
            fresh.card.put(f"2026-10-{day:02}/{hour:02}_00_00.ulg", b"x" * 100)
    await fresh.step()
    assert len(await fresh.files()) == 500
    assert len(fresh.card.asked) == 27


async def test_the_loop_runs_by_itself_and_ends_when_cancelled(
    robot: Robot, ulogs: list[bytes]
) -> None:
    robot.card.put(NEW, ulogs[0])
    robot.fly()
    running = asyncio.create_task(robot.fetcher.run())

    async def entered() -> bool:
        robot.time += 1.0
        robot.hear()
        robot.fetcher.wake()
        await asyncio.sleep(0.01)
        return any(one.row_id is not None for one in (await robot.files()).values())

    for _ in range(3000):
        if await entered():
            break
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await robot.entered(NEW) == ulogs[0]
