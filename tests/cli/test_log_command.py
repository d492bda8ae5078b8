"""``petal-s3 log``: what became of one log, from found to proven."""

from __future__ import annotations

import re

from console import Console, Sea, entry

from petal_s3.core import clock
from petal_s3.outbox import entering, journal, queries, requests, transitions
from petal_s3.outbox.journal_triggers import FIRST, LAST


def test_a_log_that_went_up_after_a_cut_tells_each_step(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    sea.link.cut()
    assert console.type("drain", "--patience", "8").code == 3
    sea.link.forward()
    assert console.type("drain").code == 0

    found = console.type("log", "1", "--json").json

    events = [one["event"] for one in found["events"]]
    assert (events[0], events[-1], found["state"]) == ("found", "proven", "verified")
    waits = next(one for one in found["events"] if one["event"] == "waits")
    assert waits["reason"]
    assert waits["code"]
    attempts = [one for one in found["events"] if one["event"].startswith("attempt")]
    assert len(attempts) > 1
    assert {(one["code"], one["reason"]) for one in attempts} == {("", "")}
    assert found["events"][-1]["s3_time"] is not None
    told = console.type("log", "1").out.splitlines()
    assert told[0] == f"1  verified  {found['key']}"
    assert len(told) == len(events) + 1


def test_it_says_at_its_end_for_what_the_log_waits_now(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("a.ulg"))
    told = console.type("log", "1")
    assert told.out.splitlines()[-1].startswith("now                  waits        No process is")
    assert console.type("log", "1", "--json").json["code"] == "no_drain"

    armed = "The vehicle is armed; uploads wait until it has landed."
    with console.host(boot_id=clock.boot_id(), reason=armed, code="armed"):
        told, shown = console.type("log", "1"), console.type("log", "1", "--json").json
    assert told.out.splitlines()[-1] == f"now                  waits        {armed}"
    assert (shown["code"], shown["reason"]) == ("armed", armed)
    assert [one["event"] for one in shown["events"]] == ["found"]


def test_a_proven_log_whose_object_is_gone_says_so(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    assert console.type("drain").code == 0
    [row] = console.rows()
    assert not [line for line in console.type("log", "1").out.splitlines() if "now" in line]
    sea.cloud.delete_object(Bucket="logs", Key=row.key)
    assert console.type("verify", "--all").code == 1
    last = console.type("log", "1").out.splitlines()[-1]
    assert last.startswith("now                  verified     Its object is gone from the bucket")


def test_of_many_attempts_the_first_and_the_last_are_kept(console: Console) -> None:
    with console.outbox() as outbox:
        outbox.server_s = lambda: 1_700_000_000
        row = entering.enqueue(outbox, entry("a.ulg"))
        for number in range(200):
            claimed = transitions.claim(outbox, 0, 900)
            assert claimed is not None
            transitions.defer(outbox, claimed, 0, "offline", f"No link, the {number}th time.")
        events = journal.of(outbox, row.id)
    assert len(events) == FIRST + LAST
    assert (events[0].state, events[0].s3_at) == ("queued", 1_700_000_000)
    assert events[-1].reason == "No link, the 199th time."


def test_a_refused_file_and_a_dismissal_are_told(console: Console) -> None:
    with console.outbox() as outbox:
        row = entering.enter_refused(outbox, entry("a.ulg"), "bad_magic", "It is no ULog.")
        requests.dismiss(outbox, [row.id])
        assert queries.get(outbox, row.id).dismissed
    told = console.type("log", "1").out
    assert "refused" in told
    assert "It is no ULog." in told


def test_a_row_that_is_not_there_has_no_journal(console: Console) -> None:
    answer = console.type("log", "7")
    assert (answer.code, answer.err) == (1, "There is no row 7 in the outbox. [not_found]\n")


def test_status_and_log_tell_how_a_log_came_in(console: Console, sea: Sea) -> None:
    console.type("enqueue", console.write("asked.ulg"))
    console.write("found.ulg", seed=1)
    assert console.type("drain").code == 0

    rows = {
        one["path"].rpartition("/")[2]: one for one in console.type("status", "--json").json["rows"]
    }
    assert {name: row["received_by"] for name, row in rows.items()} == {
        "asked.ulg": "cli",
        "found.ulg": "scan",
    }
    shown = console.type("status").out
    assert re.search(r"asked.ulg .* cli ", shown)
    assert re.search(r"found.ulg .* scan ", shown)
    told = console.type("log", str(rows["asked.ulg"]["id"])).out.splitlines()
    assert told[1].endswith("found        received by cli")
