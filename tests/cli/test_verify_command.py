"""``petal-s3 verify``: disk, outbox and bucket, compared once more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from desk import HOME, MACHINE, Answer, Desk, Sea

from petal_s3.core.settings import MIB

SIZES = {"small.ulg": 20_000, "large.ulg": 5 * MIB + 100_000}


@pytest.fixture
def logs(desk: Desk, sea: Sea) -> dict[str, Path]:
    """A small log and one of two parts, both proven."""
    made = {name: desk.write(name, size) for name, size in SIZES.items()}
    assert desk.type("drain").code == 0
    return made


def verify(desk: Desk, *words: str) -> Answer:
    return desk.type("verify", *(words or ("--all",)), "--json")


def key_of(desk: Desk, name: str) -> str:
    keys = [row["key"] for row in desk.type("status", "--json").json["rows"]]
    return next(key for key in keys if key.endswith(name))


def differing(answer: Answer) -> dict[str, str]:
    """What is said of each log that differs, by its name."""
    told = [one for one in answer.json["logs"] if not one["same"]]
    return {one["key"].rpartition("_")[2]: one["differs"] for one in told}


def test_what_is_proven_is_the_same_everywhere(desk: Desk, logs: dict[str, Path]) -> None:
    answer = verify(desk)

    assert (answer.code, answer.json["different"]) == (0, 0)
    assert [one["disk"] for one in answer.json["logs"]] == [True, True]
    said = desk.type("verify", "--all")
    assert said.out.count("same      ") == said.out.count("disk, outbox, bucket") == 2


def test_a_file_that_is_gone_leaves_outbox_and_bucket_to_compare(
    desk: Desk, logs: dict[str, Path]
) -> None:
    logs["small.ulg"].unlink()

    answer = verify(desk)

    assert answer.code == 0
    assert sorted(one["disk"] for one in answer.json["logs"]) == [False, True]


def test_an_object_that_was_deleted_is_a_difference(
    desk: Desk, sea: Sea, logs: dict[str, Path]
) -> None:
    sea.cloud.delete_object(Bucket="logs", Key=key_of(desk, "large.ulg"))

    answer = verify(desk)

    assert answer.code == 1
    assert differing(answer) == {"large.ulg": "It is not in the bucket any more."}


@pytest.mark.parametrize("name", SIZES)
def test_an_object_that_was_replaced_is_a_difference(
    desk: Desk, sea: Sea, logs: dict[str, Path], name: str
) -> None:
    sea.cloud.put_object(Bucket="logs", Key=key_of(desk, name), Body=bytes(SIZES[name]))

    answer = verify(desk)

    assert answer.code == 1
    assert [*differing(answer)] == [name]
    assert "checksum is another" in differing(answer)[name]


def test_an_object_of_another_size_is_a_difference(
    desk: Desk, sea: Sea, logs: dict[str, Path]
) -> None:
    sea.cloud.put_object(Bucket="logs", Key=key_of(desk, "small.ulg"), Body=b"short")

    assert "has 5 bytes, and 20000" in differing(verify(desk))["small.ulg"]


@pytest.mark.parametrize("name", SIZES)
def test_other_bytes_behind_the_same_size_and_time_are_found(
    desk: Desk, logs: dict[str, Path], name: str
) -> None:
    path = logs[name]
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    answer = verify(desk)

    assert answer.code == 1
    assert differing(answer) == {name: f"{name} on this disk holds other bytes than the object."}


def test_a_file_that_was_written_on_is_a_difference(desk: Desk, logs: dict[str, Path]) -> None:
    with logs["small.ulg"].open("ab") as file:
        file.write(b"more")

    assert differing(verify(desk)) == {"small.ulg": "small.ulg on this disk is another file now."}


def test_one_key_is_compared_alone(desk: Desk, logs: dict[str, Path]) -> None:
    key = key_of(desk, "small.ulg")

    for spelling in (key, f"s3://logs/{key}"):
        answer = verify(desk, spelling)
        assert (answer.code, [one["key"] for one in answer.json["logs"]]) == (0, [key])


def test_a_moved_log_is_compared_where_it_stands(desk: Desk, logs: dict[str, Path]) -> None:
    key, new = key_of(desk, "large.ulg"), f"{HOME}records/1/large.ulg"
    assert desk.type("mv", key, new).code == 0

    assert verify(desk).code == 0
    assert verify(desk, new).json["logs"][0]["disk"] is True
    assert verify(desk, key).code == 1


def test_what_only_one_side_knows_is_a_difference(
    desk: Desk, sea: Sea, logs: dict[str, Path]
) -> None:
    stranger, nowhere = f"{HOME}stranger.ulg", f"{HOME}nowhere.ulg"
    sea.cloud.put_object(Bucket="logs", Key=stranger, Body=b"x")
    waiting = desk.write("waiting.ulg", 1000)
    assert desk.type("enqueue", waiting).code == 0
    key = key_of(desk, "waiting.ulg")

    answer = verify(desk, stranger, nowhere, key)

    assert answer.code == 1
    assert [one["differs"] for one in answer.json["logs"]] == [
        "It is in the bucket, but this outbox does not know it.",
        "Neither the bucket nor this outbox knows it.",
        "It is not up: its row 3 is queued.",
    ]


def test_it_changes_nothing(desk: Desk, sea: Sea, logs: dict[str, Path]) -> None:
    before = len(sea.ledger.requests())
    verify(desk)

    asked = sea.ledger.requests()[before:]
    assert {one.method for one in asked} <= {"HEAD", "GET"}
    assert desk.type("status", "--json").json["counts"]["verified"] == 2


@pytest.mark.parametrize("words", [(), ("--all", f"{HOME}a.ulg")])
def test_it_wants_keys_or_all(desk: Desk, sea: Sea, words: tuple[str, ...]) -> None:
    assert desk.type("verify", *words).code == 2


def test_nothing_proven_is_no_difference(desk: Desk, sea: Sea) -> None:
    assert verify(desk).json == {"logs": [], "different": 0}


def test_keys_of_others_are_not_compared(desk: Desk, sea: Sea) -> None:
    answer = verify(desk, "flight_logs/drone-002/a.ulg")

    assert answer.code == 1
    assert "does not belong to this machine" in answer.err
    assert MACHINE not in answer.err


def test_offline_is_not_now(desk: Desk, sea: Sea, logs: dict[str, Path]) -> None:
    sea.link.cut()

    assert desk.type("verify", "--all").code == 3
