"""What a person sees on a terminal, however narrow, and what a script or a shell gets instead."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from console import Console, Sea, entry, everything_on
from rich.console import Console as Screen

from petal_s3.cli import row_commands, screen
from petal_s3.cli.progress_bars import Bars
from petal_s3.core import clock
from petal_s3.outbox import entering, transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt
from petal_s3.service.views.status import SnapshotView

NOON = 1_753_617_600  # 2025-07-27 12:00 UTC
_MANY = 30


def proven(outbox: Outbox, name: str, number: int, at: int) -> None:
    """Enter a log that was proven at this moment."""
    entering.enqueue(outbox, entry(name, number=number))
    row = transitions.claim(outbox, 0, 900)
    assert row is not None
    receipt = Receipt(row.key, "9b2c", "crc32:AAAA", row.size, "crc32+etag", at)
    transitions.verified(outbox, row, receipt)


# -- times


@pytest.mark.parametrize(
    ("at", "zone", "said"),
    [
        (NOON - 3600, "UTC", "11:00"),
        (NOON - 3600, "Europe/Berlin", "13:00"),
        (NOON - 86_400, "UTC", "26 Jul 12:00"),
        (NOON - 400 * 86_400, "UTC", "2024-06-22"),
    ],
)
def test_a_moment_is_told_by_the_zone_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, at: int, zone: str, said: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert screen.clock_time(at, NOON) == said
    finally:
        monkeypatch.undo()
        time.tzset()


def test_status_says_when_a_log_was_proven_and_when_the_next_is_tried(console: Console) -> None:
    now = int(time.time())
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1, now)
        entering.enqueue(outbox, entry("waits.ulg", number=2))
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.defer(outbox, row, clock.now() + 40, "mismatch", "S3 holds other bytes.")
    with console.host():
        lines = console.type("status", COLUMNS="120").out
    assert f"proven {time.strftime('%H:%M', time.localtime(now))}" in lines
    assert re.search(r"Next try in \d+ s\.", lines)


# -- few columns


def test_at_60_columns_no_name_is_broken_and_nothing_is_left_out(console: Console) -> None:
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1, int(time.time()))
        entering.enqueue(outbox, entry("waits.ulg", number=2))
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.defer(
            outbox, row, clock.now() + 40, "mismatch", "S3 holds other bytes than this disk."
        )
    with console.host(), console.terminal("status", COLUMNS="60") as (process, output):
        assert process.wait(60) == 0
        shown = re.sub(rb"\x1b\[[0-9;]*m", b"", everything_on(output)).decode()
    lines = [line.rstrip() for line in shown.replace("\r", "").splitlines()]
    assert max(map(len, lines)) <= 60
    assert any(line.endswith("20250727_143022_waits.ulg") for line in lines)
    said = " ".join(" ".join(lines).split())
    assert "proven" in said
    assert "crc32+etag" in said
    assert "Outbox " in said


# -- watching


def test_watching_keeps_the_facts_on_the_screen(console: Console) -> None:
    with console.outbox() as outbox:
        for number in range(1, _MANY + 1):
            proven(outbox, f"up-{number}.ulg", number, int(time.time()))
    with console.terminal("status", "--watch", LINES="12") as (process, output):
        shown = b""
        while shown.count(b"drained by") < 2:
            shown += os.read(output, 65536)
        process.send_signal(2)
        assert process.wait(60) == 0
    frame = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).split(b"drained by")[0]
    assert b"All 30 logs are up." in frame
    assert b"more." in frame
    assert frame.count(b"\n") < 12


def test_watching_on_a_small_terminal_shows_logs_before_advice(console: Console) -> None:
    with console.outbox() as outbox:
        for number in range(1, _MANY + 1):
            proven(outbox, f"up-{number}.ulg", number, int(time.time()))
    advice = ["The bucket has no rule that aborts stale multipart uploads. " * 5] * 2
    small = {"LINES": "20", "COLUMNS": "60"}
    with (
        console.host(boot_id=clock.boot_id(), advice=advice),
        console.terminal("status", "--watch", **small) as (process, output),
    ):
        shown = b""
        while shown.count(b"drained by") < 2:
            shown += os.read(output, 65536)
        process.send_signal(2)
        assert process.wait(60) == 0
    frame = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).split(b"drained by")[0]
    assert b"up-30.ulg" in frame
    assert b"All 30 logs are up." in frame
    assert frame.count(b"\n") < 20


# -- for scripts


def test_check_is_0_only_when_all_is_up(console: Console) -> None:
    assert console.type("status", "--check").code == 3  # nothing is known yet
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1, int(time.time()))
    up = console.type("status", "--check")
    assert (up.code, up.out) == (0, "The log is up.\n")
    console.write("new.ulg")
    answer = console.type("status", "--check")
    assert answer.code == 3
    assert answer.out.startswith("1 of 2 logs proven, 1 is not in the outbox yet")


def test_check_in_silence_is_an_exit_code_and_in_json_the_status(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("waits.ulg"))
    quiet = console.type("status", "--check", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (3, "", "")
    found = console.type("status", "--check", "--json")
    assert (found.code, found.json["counts"]["queued"]) == (3, 1)


def test_check_looks_once(console: Console) -> None:
    answer = console.type("status", "--check", "--watch")
    assert answer.code == 2
    assert "--check looks once" in answer.err


@pytest.mark.parametrize("words", [["-h"], ["status", "-h"], ["card", "ls", "-h"]])
def test_h_is_help(console: Console, words: list[str]) -> None:
    answer = console.type(*words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == console.type(*words[:-1], "--help").out


# -- a pipe


class _Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_drain_in_a_pipe_says_every_ten_seconds_how_far_it_is(console: Console) -> None:
    out, standing = io.StringIO(), _Clock()
    found = SnapshotView.model_validate(console.type("status", "--json").json)
    status = found.model_copy(
        update={
            "counts": {"verified": 3, "queued": 1, "uploading": 1, "dead": 0, "cancelled": 0},
            "backlog_bytes": 1_200_000_000,
        }
    )
    with Bars(Screen(file=out, width=200), now=standing) as bars:
        for standing.now in (0.0, 9.0, 10.0, 15.0, 20.5):
            bars.draw(status, [])
    said = "waiting   3 proven, 2 to go, 1.2 GB left\n"
    assert out.getvalue() == said * 2


# -- a large copy


def test_enqueue_shows_how_far_a_large_file_is_copied(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    monkeypatch.setattr(row_commands, "LARGE_BYTES", 1000)
    monkeypatch.setattr("os.link", _other_disk)
    monkeypatch.setattr(
        "petal_s3.cli.progress_bars.Bar.draw", lambda _, done, size: drawn.append((done, size))
    )
    path = console.write(str(console.directory / "elsewhere.ulg"), 3_000_000)
    assert console.type("enqueue", path).code == 0
    assert drawn[-1] == (path.stat().st_size, path.stat().st_size)
    assert len(drawn) >= 3


def _other_disk(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


# -- silence


def test_in_silence_only_what_goes_wrong_is_said(console: Console, sea: Sea) -> None:
    path = console.write("a.ulg")
    answer = console.type("enqueue", "-q", path)
    assert (answer.code, answer.out) == (0, "")
    assert console.type("drain", "--quiet").out == ""
    (row,) = console.rows()
    assert row.state == "verified"
    for words in (["pin", "-q", "1"], ["unpin", "-q", "1"], ["verify", "-q", "--all"]):
        quiet = console.type(*words)
        assert (quiet.code, quiet.out, quiet.err) == (0, "", ""), words
    wrong = console.type("retry", "-q", "7")
    assert (wrong.code, wrong.out) == (1, "")
    assert "There is no row 7" in wrong.err
    assert console.type("pin", "1").out  # silence was of that command alone


# -- completions


def _bash(words: list[str], script: Path) -> list[str]:
    asked = " ".join(words)
    run = f'source {script}; COMP_WORDS=({asked} ""); COMP_CWORD={len(words)}; _petal_s3'
    return _lines(["bash", "-c", f'{run}; printf "%s\\n" "${{COMPREPLY[@]}}"'])


def _zsh(words: list[str], script: Path) -> list[str]:
    run = (
        f"compdef() {{}}; source {script}; compadd() {{ shift; print -l -- $@ }}; _files() {{}};"
        f" words=({' '.join(words)} ''); CURRENT={len(words) + 1}; _petal_s3"
    )
    return _lines(["zsh", "-f", "-c", run])


def _fish(words: list[str], script: Path) -> list[str]:
    run = f'source {script}; complete -C "{" ".join(words)} "; complete -C "{" ".join(words)} --"'
    return [line.split("\t")[0] for line in _lines(["fish", "--no-config", "-c", run])]


def _lines(command: list[str]) -> list[str]:
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return ended.stdout.splitlines()


@pytest.mark.parametrize(("shell", "complete"), [("bash", _bash), ("zsh", _zsh), ("fish", _fish)])
def test_a_shell_completes_commands_and_options(
    console: Console,
    tmp_path: Path,
    shell: str,
    complete: Callable[[list[str], Path], list[str]],
) -> None:
    script = tmp_path / f"petal-s3.{shell}"
    script.write_text(console.type("completion", shell).out)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    assert {"status", "drain", "card", "completion"} <= {*complete(["petal-s3"], script)}
    assert {"ls", "scan", "fetch", "safe-to-erase"} <= {*complete(["petal-s3", "card"], script)}
    assert {"--watch", "--check", "--json"} <= {*complete(["petal-s3", "status"], script)}
    assert "status" not in complete(["petal-s3", "card", "ls"], script)
    assert {"bash", "zsh", "fish"} <= {*complete(["petal-s3", "completion"], script)}
