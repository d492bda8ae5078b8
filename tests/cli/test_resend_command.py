"""``petal-s3 resend`` and ``verify --repair``: what vanished from the bucket goes up once more."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from console import HOME, Answer, Console, Sea

from petal_s3.core.settings import MIB

SIZES = {"small.ulg": 20_000, "large.ulg": 5 * MIB + 100_000}


def proven(console: Console, name: str = "small.ulg", size: int = 20_000) -> tuple[Path, int, str]:
    """A log that is up: its file, its row and its key."""
    path = console.write(name, size)
    assert console.type("drain").code == 0
    row = next(row for row in console.rows() if row.path == str(path))
    return path, row.id, row.key


def lose(sea: Sea, key: str) -> None:
    """Somebody deletes the object, past this machine."""
    sea.cloud.delete_object(Bucket="logs", Key=key)


def row(console: Console, row_id: int) -> Any:
    return next(row for row in console.rows() if row.id == row_id)


@pytest.mark.parametrize("name", SIZES)
def test_an_object_that_vanished_is_sent_again(console: Console, sea: Sea, name: str) -> None:
    path, row_id, key = proven(console, name, SIZES[name])
    lose(sea, key)

    answer = console.type("resend", str(row_id))

    assert (answer.code, answer.out) == (0, f"{row_id}  queued  {key}\n")
    assert row(console, row_id).receipt is None
    assert console.type("drain").code == 0
    assert sea.body(key) == path.read_bytes()
    assert row(console, row_id).state == "verified"
    assert console.type("verify", "--all").code == 0


def test_an_object_that_holds_is_not_sent_again(console: Console, sea: Sea) -> None:
    _, row_id, _ = proven(console)
    before = row(console, row_id)

    answer = console.type("resend", str(row_id))

    assert (answer.code, answer.out) == (1, "")
    assert "its object still holds: nothing is sent again. [object_holds]" in answer.err
    assert row(console, row_id) == before


def test_another_object_is_not_replaced_and_the_log_stands_beside_it(
    console: Console, sea: Sea
) -> None:
    path, row_id, key = proven(console)
    sea.cloud.put_object(Bucket="logs", Key=key, Body=b"other bytes")

    assert console.type("resend", str(row_id)).code == 0
    assert console.type("drain").code == 0

    now = row(console, row_id)
    assert sea.body(key) == b"other bytes"
    assert now.key != key
    assert sea.body(now.key) == path.read_bytes()


def test_the_same_bytes_with_another_etag_still_hold(console: Console, sea: Sea) -> None:
    path, row_id, key = proven(console, "large.ulg", SIZES["large.ulg"])
    sea.cloud.put_object(Bucket="logs", Key=key, Body=path.read_bytes())
    assert console.type("verify", "--all").code == 1
    sent = sea.ledger.count("UploadPart")

    answer = console.type("resend", str(row_id))

    assert (answer.code, row(console, row_id).state) == (1, "verified")
    assert "still holds" in answer.err
    assert sea.ledger.count("UploadPart") == sent
    assert console.type("verify", "--all").code == 0


def test_without_its_file_nothing_can_be_sent(console: Console, sea: Sea) -> None:
    path, row_id, key = proven(console)
    lose(sea, key)
    path.unlink()

    answer = console.type("resend", str(row_id))

    assert answer.code == 1
    assert answer.err == (
        "The file small.ulg is not on this disk any more: there is nothing that could be sent"
        " again. [source_gone]\n"
    )
    assert row(console, row_id).state == "verified"


def test_a_file_that_holds_other_bytes_is_not_sent_in_its_place(console: Console, sea: Sea) -> None:
    path, row_id, key = proven(console)
    before = path.stat()
    lose(sea, key)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))

    for _ in range(2):  # with a new time, then with that of before
        answer = console.type("resend", str(row_id))
        assert answer.code == 1
        assert "holds other bytes now than those that were proven" in answer.err
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert row(console, row_id).state == "verified"


def test_a_file_that_was_only_touched_is_sent_again(console: Console, sea: Sea) -> None:
    path, row_id, key = proven(console)
    lose(sea, key)
    os.utime(path, ns=(1, 1))

    assert console.type("resend", str(row_id)).code == 0
    assert console.type("drain").code == 0
    assert sea.body(key) == path.read_bytes()


def test_what_was_sent_from_a_copy_has_to_be_enqueued_again(console: Console, sea: Sea) -> None:
    path = console.write(str(console.directory / "elsewhere.ulg"))
    console.type("enqueue", path)
    assert console.type("drain").code == 0
    (before,) = console.rows()
    lose(sea, before.key)

    answer = console.type("resend", str(before.id))

    assert answer.code == 1
    assert "enqueue the file itself again" in answer.err
    assert console.type("enqueue", path).code == 0
    assert console.type("drain").code == 0
    assert sea.body(before.key) == path.read_bytes()


@pytest.mark.parametrize("state", ["queued", "cancelled", "dead"])
def test_a_row_that_is_not_proven_is_not_resent(console: Console, sea: Sea, state: str) -> None:
    if state == "dead":
        (console.logs / "no.ulg").write_text("no log")
        assert console.type("drain").code == 1
    else:
        console.type("enqueue", console.write("a.ulg"))
    if state == "cancelled":
        console.type("cancel", "1")

    answer = console.type("resend", "1", "--json")

    assert answer.code == 1
    assert [one["code"] for one in answer.json["refused"]] == ["not_proven"]
    assert row(console, 1).state == state


def test_what_this_machine_deleted_on_purpose_stays_cancelled(console: Console, sea: Sea) -> None:
    _, row_id, key = proven(console)
    assert console.type("rm", key, "--yes").code == 0

    answer = console.type("resend", str(row_id))

    assert (answer.code, row(console, row_id).state) == (1, "cancelled")
    assert f"`petal-s3 retry {row_id}` sends its file again" in answer.err


def test_offline_is_not_now_and_changes_nothing(console: Console, sea: Sea) -> None:
    _, row_id, key = proven(console)
    lose(sea, key)
    sea.link.cut()

    assert console.type("resend", str(row_id)).code == 3
    assert row(console, row_id).state == "verified"


# -- logs that are proven by one object


def twins(console: Console, sea: Sea) -> tuple[Path, Path, str]:
    """Two files of the same bytes: one object."""
    first, _, key = proven(console)
    second = console.logs / "twin.ulg"
    second.write_bytes(first.read_bytes())
    assert console.type("drain").code == 0
    assert [one.same_as for one in console.rows()] == [1, None]
    return first, second, key


@pytest.mark.parametrize("asked", ["1", "2"])
def test_the_other_rows_of_an_object_are_proven_by_the_new_one(
    console: Console, sea: Sea, asked: str
) -> None:
    first, second, key = twins(console, sea)
    lose(sea, key)
    (second if asked == "1" else first).unlink()

    assert console.type("resend", asked).code == 0
    assert console.type("drain").code == 0

    assert sea.body(key) == (first if asked == "1" else second).read_bytes()
    assert [one.state for one in console.rows()] == ["verified", "verified"]
    assert console.type("verify", "--all").code == 0


@pytest.mark.guarantee(
    "answers",
    "a log is queued to be sent again, and other rows stand for the same object",
    "until it is proven they are not called up: they say which row brings the object again",
)
def test_the_other_rows_of_an_object_are_not_up_until_it_is_proven_again(
    console: Console, sea: Sea
) -> None:
    _, _, key = twins(console, sea)
    lose(sea, key)
    assert console.type("resend", "1").code == 0

    told = console.type("status", "--json").json

    shown = {one["id"]: one for one in told["rows"]}
    assert shown[2]["code"] == "object_gone"
    assert "row 1, of the same bytes, was queued to send it again" in shown[2]["reason"]
    assert (told["gone"], told["headline"].startswith("0 of 2 logs proven")) == (1, True)
    assert console.type("drain").code == 0
    told = console.type("status", "--json").json
    assert ({one["reason"] for one in told["rows"]}, told["gone"]) == ({""}, 0)
    assert sea.body(key)


def test_what_is_seen_of_an_object_holds_for_all_its_rows(console: Console, sea: Sea) -> None:
    first, second, key = twins(console, sea)
    lose(sea, key)
    first.unlink()
    second.unlink()
    assert console.type("resend", "1").code == 1
    assert console.type("status", "--json").json["gone"] == 2


def test_every_row_of_a_lost_object_is_repaired_and_it_is_sent_once(
    console: Console, sea: Sea
) -> None:
    _, _, key = twins(console, sea)
    lose(sea, key)
    sent = len(sea.about_logs("PutObject"))

    assert console.type("verify", "--all", "--repair").code == 1
    assert [one.state for one in console.rows()] == ["queued", "queued"]
    assert console.type("drain").code == 0

    assert len(sea.about_logs("PutObject")) == sent + 1
    assert console.type("verify", "--all").code == 0


def test_bytes_that_stand_elsewhere_are_not_sent_again(console: Console, sea: Sea) -> None:
    path, row_id, key = proven(console)
    other = f"{HOME}mine.ulg"
    console.type("enqueue", path, "--key", other)
    assert console.type("drain").code == 0
    lose(sea, key)
    sent = len(sea.about_logs("PutObject"))

    assert console.type("resend", str(row_id)).code == 0
    assert console.type("drain").code == 0

    assert len(sea.about_logs("PutObject")) == sent
    assert row(console, row_id).state == "verified"
    assert console.type("verify", "--all").code == 0


# -- verify --repair


def repair(console: Console) -> Answer:
    return console.type("verify", "--all", "--repair", "--json")


def test_repair_queues_what_is_gone_and_leaves_what_holds(console: Console, sea: Sea) -> None:
    _, lost_id, lost = proven(console, "lost.ulg")
    proven(console, "kept.ulg", 30_000)
    lose(sea, lost)

    answer = repair(console)

    assert (answer.code, answer.json["different"], answer.json["queued"]) == (1, 1, 1)
    assert row(console, lost_id).state == "queued"
    assert console.type("drain").code == 0
    again = repair(console)
    assert (again.code, again.json["queued"]) == (0, 0)


def test_repair_says_what_it_cannot_do_and_goes_on(console: Console, sea: Sea) -> None:
    gone, _, gone_key = proven(console, "gone.ulg")
    _, lost_id, lost = proven(console, "lost.ulg", 30_000)
    for key in (gone_key, lost):
        lose(sea, key)
    gone.unlink()

    answer = console.type("verify", "--all", "--repair")

    assert answer.code == 1
    assert (
        "not in the bucket any more. The file gone.ulg is not on this disk any more" in answer.out
    )
    assert f"not in the bucket any more. Queued again as row {lost_id}." in answer.out
    assert "No process is uploading." in answer.err


# -- what was seen of the bucket is kept


@pytest.mark.guarantee(
    "answers",
    "a verify or resend has seen that the object of a proven log is gone, its file too",
    "status, health and drain no longer call it up, until its object is seen again",
)
@pytest.mark.parametrize("verb", ["verify", "resend"])
def test_what_is_gone_from_the_bucket_is_not_called_up(
    console: Console, sea: Sea, verb: str
) -> None:
    path, row_id, key = proven(console)
    proven(console, "other.ulg", 30_000)
    body = path.read_bytes()
    path.unlink()
    lose(sea, key)
    told = ("verify", "--all", "--repair") if verb == "verify" else ("resend", str(row_id))
    assert console.type(*told).code == 1

    said = json.loads(console.type("status", "--json").out)
    assert said["headline"] == "1 log is up; 1 was proven and is gone from the bucket."
    assert (said["code"], said["gone"], said["counts"]["verified"]) == ("object_gone", 1, 2)
    drained = console.type("drain")
    assert drained.code == 1
    assert "gone from the bucket" in drained.out + drained.err

    sea.cloud.put_object(Bucket="logs", Key=key, Body=body)
    console.type("verify", "--all")
    said = json.loads(console.type("status", "--json").out)
    assert (said["headline"], said["gone"]) == ("All 2 logs are up.", 0)
    assert console.type("drain").code == 0


def test_what_is_sent_again_is_up_again(console: Console, sea: Sea) -> None:
    _, _, key = proven(console)
    lose(sea, key)
    assert console.type("verify", "--all").code == 1
    assert "gone from the bucket" in console.type("status").out
    assert console.type("verify", "--all", "--repair").code == 1
    assert console.type("drain").code == 0
    assert "The log is up." in console.type("status").out
