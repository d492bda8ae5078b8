"""``petal-s3 drain``: until everything is proven in a real S3, beside others or alone."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from console import Console, Running, Sea, everything_on, until

from petal_s3.core.settings import MIB
from petal_s3.demo.ledger import Request

BIG = 12 * MIB + 12_345


def under_way(console: Console, sea: Sea) -> Running:
    """A drain that has brought a part of a big log and cannot end: at the last part the link
    begins to crawl."""
    console.write("big.bag", BIG)

    async def crawl(request: Request) -> None:
        if request.part == 3:
            sea.slow(MIB // 16)

    sea.link.link.on_request = crawl
    drain = console.start("drain")
    until(lambda: any(request.part == 3 for request in sea.ledger.requests()) or not drain.runs)
    assert drain.runs, drain.said
    sea.link.link.on_request = None
    return drain


def runs_on(drain: Running) -> bool:
    """Whether it still runs after many looks at the outbox."""
    enough = time.monotonic() + 2
    until(lambda: not drain.runs or time.monotonic() > enough)
    return drain.runs


def test_a_landing_is_found_and_proven(console: Console, sea: Sea) -> None:
    paths = {path.name: path for path in (console.write("a.ulg"), console.write("b.bag", BIG))}
    answer = console.type("drain")
    assert answer.code == 0, answer
    assert answer.out.endswith("All 2 logs are up.\n")
    for row in console.rows():
        assert f"up        {row.key}  {row.size} bytes" in answer.out
        assert sea.body(row.key) == paths[row.name].read_bytes()


def test_what_was_enqueued_is_sent(console: Console, sea: Sea) -> None:
    path = console.write(str(console.directory / "elsewhere.ulg"))
    console.type("enqueue", path)
    assert console.type("drain").code == 0
    assert sea.body(console.rows()[0].key) == path.read_bytes()


def test_an_empty_outbox_is_done_at_once(console: Console, sea: Sea) -> None:
    answer = console.type("drain")
    assert (answer.code, answer.out) == (0, "No log has been found yet.\n")
    assert sea.ledger.requests("PutObject") == []


def test_a_dead_row_is_a_failure_now_and_later_until_it_is_dismissed(
    console: Console, sea: Sea
) -> None:
    (console.logs / "notes.ulg").write_text("no log, however it is named")
    console.write("good.ulg")
    first, second = console.type("drain"), console.type("drain")
    assert (first.code, second.code) == (1, 1)
    assert "dead      'notes.ulg' is not a ULog but text" in first.out
    assert "cannot be sent" in second.out
    assert console.type("dismiss", "--dead").code == 0
    assert console.type("dismiss", "--dead").code == 1
    third = console.type("drain")
    assert third.code == 0
    assert "cannot be sent" not in third.out
    assert (console.logs / "notes.ulg").exists()
    (console.logs / "notes.ulg").write_bytes((console.logs / "good.ulg").read_bytes())
    assert console.type("drain").code == 0
    assert [row.state for row in console.rows()] == ["verified", "verified"]


def test_without_a_link_it_gives_up_with_the_reason_and_the_row_stays(
    console: Console, sea: Sea
) -> None:
    console.write("flight.ulg")
    sea.link.cut()
    answer = console.type("drain", "--patience", "4")
    assert answer.code == 3
    assert re.search(r"0 of 1 log proven, .*; waiting: No link to 127\.0\.0\.1", answer.out)
    assert [row.state for row in console.rows()] == ["queued"]
    sea.link.forward()
    assert console.type("drain").code == 0


def test_waiting_outlasts_the_patience(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    sea.link.cut()
    drain = console.start("drain", "--wait", "--patience", "0")
    drain.until_said("waiting   No link")
    assert runs_on(drain)
    sea.link.forward()
    assert drain.end() == 0, drain.said


def test_settling_files_are_waited_for_beyond_the_patience(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    drain = console.start("drain", "--patience", "0", PETAL_S3_SETTLE_SECONDS="600")
    drain.until_said("found     1 new in the log directories; taken when still for 600 s.")
    assert runs_on(drain)


def test_a_file_that_is_being_written_is_named(console: Console, sea: Sea) -> None:
    with console.write("growing.ulg").open("ab"):
        answer = console.type("drain", "--patience", "1")
    assert answer.code == 3
    assert "'growing.ulg' is being written." in answer.out


def test_json_comes_alone_on_standard_output(console: Console, sea: Sea) -> None:
    console.write("flight.ulg")
    answer = console.type("drain", "--json")
    found = answer.json
    assert (answer.code, found["done"], found["counts"]["verified"]) == (0, True, 1)
    assert [row["receipt"]["size"] for row in found["rows"]] == [20_000]
    assert "up        " in answer.err


def test_beside_another_drain_it_watches_and_sends_nothing(console: Console, sea: Sea) -> None:
    first = under_way(console, sea)
    second = console.start("drain")
    second.until_said(f"Process {first.pid} drains this outbox; watching it.")
    sea.slow(0)
    assert (first.end(), second.end()) == (0, 0), second.said
    assert "up        " in second.said
    assert len(sea.about_logs("UploadPart")) == 3


def test_when_the_other_one_dies_it_goes_on(console: Console, sea: Sea) -> None:
    first = under_way(console, sea)
    second = console.start("drain")
    second.until_said("watching it.")
    first.kill()
    sea.slow(0)
    assert second.end() == 0, second.said
    assert f"Process {first.pid} drains no longer; going on here." in second.said
    assert sea.ledger.resent_confirmed_parts == 0


def test_ctrl_c_leaves_the_outbox_intact(console: Console, sea: Sea) -> None:
    drain = under_way(console, sea)
    drain.interrupt()
    assert drain.end() == 130
    assert drain.said.endswith("Stopped; what is not proven stays in the outbox.\n")
    assert "Traceback" not in drain.said
    assert [row.state for row in console.rows()] == ["queued"]
    sea.slow(0)
    assert console.type("drain").code == 0
    assert sea.body(console.rows()[0].key) == (console.logs / "big.bag").read_bytes()
    assert sea.ledger.resent_confirmed_parts == 0


def test_on_a_terminal_each_row_has_a_bar_and_elsewhere_none(console: Console, sea: Sea) -> None:
    console.write("big.bag", BIG)
    sea.slow(8 * MIB)
    with console.terminal("drain") as (process, output):
        shown = everything_on(output)
        assert process.wait(60) == 0
    assert b"big.bag" in shown
    assert "━".encode() in shown
    console.write("small.ulg")
    assert "\x1b" not in console.type("drain").out


def test_nothing_of_a_secret_is_said(console: Console, sea: Sea, tmp_path: Path) -> None:
    console.write("flight.ulg")
    answer = console.type("drain", "--json")
    assert "demo-secret" not in repr(answer)
    assert "demo-session-token" not in repr(answer)


@pytest.mark.guarantee(
    "file",
    "drained while a log directory cannot be read",
    "exit code 1 with the sentence, never 0",
)
def test_a_directory_that_cannot_be_read_is_no_success(console: Console, sea: Sea) -> None:
    console.write("good.ulg")
    with console.unread_folder() as unread:
        answer = console.type("drain")
    assert answer.code == 1, answer
    assert f"{unread} cannot be read (Permission denied)" in answer.out + answer.err
    assert [row.state for row in console.rows()] == ["verified"]

    assert console.type("drain").code == 0
