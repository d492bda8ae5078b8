"""``petal-s3 verify``: disk, outbox and bucket, compared once more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from console import HOME, MACHINE, Answer, Console, Sea

from petal_s3.core.settings import MIB

SIZES = {"small.ulg": 20_000, "large.ulg": 5 * MIB + 100_000}


@pytest.fixture
def logs(console: Console, sea: Sea) -> dict[str, Path]:
    """A small log and one of two parts, both proven."""
    made = {name: console.write(name, size) for name, size in SIZES.items()}
    assert console.type("drain").code == 0
    return made


def verify(console: Console, *words: str) -> Answer:
    return console.type("verify", *(words or ("--all",)), "--json")


def key_of(console: Console, name: str) -> str:
    keys = [row["key"] for row in console.type("status", "--json").json["rows"]]
    return next(key for key in keys if key.endswith(name))


def differing(answer: Answer) -> dict[str, str]:
    """What is said of each log that differs, by its name."""
    told = [one for one in answer.json["logs"] if not one["same"]]
    return {one["key"].rpartition("_")[2]: one["differs"] for one in told}


def test_what_is_proven_is_the_same_everywhere(console: Console, logs: dict[str, Path]) -> None:
    answer = verify(console)

    assert (answer.code, answer.json["different"]) == (0, 0)
    assert [one["disk"] for one in answer.json["logs"]] == [True, True]
    said = console.type("verify", "--all")
    assert said.out.count("same      ") == said.out.count("disk, outbox, bucket") == 2


def test_a_file_that_is_gone_leaves_outbox_and_bucket_to_compare(
    console: Console, logs: dict[str, Path]
) -> None:
    logs["small.ulg"].unlink()

    answer = verify(console)

    assert answer.code == 0
    assert sorted(one["disk"] for one in answer.json["logs"]) == [False, True]


def test_an_object_that_was_deleted_is_a_difference(
    console: Console, sea: Sea, logs: dict[str, Path]
) -> None:
    sea.cloud.delete_object(Bucket="logs", Key=key_of(console, "large.ulg"))

    answer = verify(console)

    assert answer.code == 1
    assert differing(answer) == {"large.ulg": "It is not in the bucket any more."}


@pytest.mark.parametrize("name", SIZES)
def test_an_object_that_was_replaced_is_a_difference(
    console: Console, sea: Sea, logs: dict[str, Path], name: str
) -> None:
    sea.cloud.put_object(Bucket="logs", Key=key_of(console, name), Body=bytes(SIZES[name]))

    answer = verify(console)

    assert answer.code == 1
    assert [*differing(answer)] == [name]
    assert "checksum is another" in differing(answer)[name]


def test_an_object_of_another_size_is_a_difference(
    console: Console, sea: Sea, logs: dict[str, Path]
) -> None:
    sea.cloud.put_object(Bucket="logs", Key=key_of(console, "small.ulg"), Body=b"short")

    assert "has 5 bytes, and 20000" in differing(verify(console))["small.ulg"]


@pytest.mark.parametrize("name", SIZES)
def test_other_bytes_behind_the_same_size_and_time_are_found(
    console: Console, logs: dict[str, Path], name: str
) -> None:
    path = logs[name]
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    answer = verify(console)

    assert answer.code == 1
    assert differing(answer) == {name: f"{name} on this disk holds other bytes than the object."}


def test_a_file_that_was_written_on_is_a_difference(
    console: Console, logs: dict[str, Path]
) -> None:
    with logs["small.ulg"].open("ab") as file:
        file.write(b"more")

    assert differing(verify(console)) == {
        "small.ulg": "small.ulg on this disk is another file now."
    }


def test_one_key_is_compared_alone(console: Console, logs: dict[str, Path]) -> None:
    key = key_of(console, "small.ulg")

    for spelling in (key, f"s3://logs/{key}"):
        answer = verify(console, spelling)
        assert (answer.code, [one["key"] for one in answer.json["logs"]]) == (0, [key])


def test_a_moved_log_is_compared_where_it_stands(console: Console, logs: dict[str, Path]) -> None:
    key, new = key_of(console, "large.ulg"), f"{HOME}records/1/large.ulg"
    assert console.type("mv", key, new).code == 0

    assert verify(console).code == 0
    assert verify(console, new).json["logs"][0]["disk"] is True
    assert verify(console, key).code == 1


def test_what_only_one_side_knows_is_a_difference(
    console: Console, sea: Sea, logs: dict[str, Path]
) -> None:
    stranger, nowhere = f"{HOME}stranger.ulg", f"{HOME}nowhere.ulg"
    sea.cloud.put_object(Bucket="logs", Key=stranger, Body=b"x")
    waiting = console.write("waiting.ulg", 1000)
    assert console.type("enqueue", waiting).code == 0
    key = key_of(console, "waiting.ulg")

    answer = verify(console, stranger, nowhere, key)

    assert answer.code == 1
    assert [one["differs"] for one in answer.json["logs"]] == [
        "It is in the bucket, but this outbox does not know it.",
        "Neither the bucket nor this outbox knows it.",
        "It is not up: its row 3 is queued.",
    ]


def test_it_changes_nothing(console: Console, sea: Sea, logs: dict[str, Path]) -> None:
    before = len(sea.ledger.requests())
    verify(console)

    asked = sea.ledger.requests()[before:]
    assert {one.method for one in asked} <= {"HEAD", "GET"}
    assert console.type("status", "--json").json["counts"]["verified"] == 2


@pytest.mark.parametrize("words", [(), ("--all", f"{HOME}a.ulg")])
def test_it_wants_keys_or_all(console: Console, sea: Sea, words: tuple[str, ...]) -> None:
    assert console.type("verify", *words).code == 2


def test_nothing_proven_is_no_difference(console: Console, sea: Sea) -> None:
    assert verify(console).json == {"schema": 1, "logs": [], "different": 0, "queued": 0}


def test_keys_of_others_are_not_compared(console: Console, sea: Sea) -> None:
    answer = verify(console, "flight_logs/drone-002/a.ulg")

    assert answer.code == 1
    assert "does not belong to this machine" in answer.err
    assert MACHINE not in answer.err


def test_offline_is_not_now(console: Console, sea: Sea, logs: dict[str, Path]) -> None:
    sea.link.cut()

    assert console.type("verify", "--all").code == 3
