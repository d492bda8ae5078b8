"""What a person sees who types ``petal-s3``: answers, sentences and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from console import HOME, Console, entry, until

from petal_s3 import __version__
from petal_s3.outbox import entering, transitions
from petal_s3.outbox.capabilities import keep
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt
from petal_s3.s3.capabilities import Capabilities, written

ARMED = "The vehicle is armed; uploads wait until it has landed."
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def proven(outbox: Outbox, name: str, number: int) -> None:
    """Enter a log that is up."""
    entering.enqueue(outbox, entry(name, number=number))
    row = transitions.claim(outbox, 0, 900)
    assert row is not None
    transitions.verified(
        outbox, row, Receipt(row.key, "9b2c", "crc32:AAAA", row.size, "crc32+etag", 0)
    )


# -- the command itself


def test_it_tells_its_version_however_it_is_started(console: Console) -> None:
    as_module = subprocess.run(
        [sys.executable, "-m", "petal_s3", "--version"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert as_module.stdout == console.type("--version").out == f"petal-s3 {__version__}\n"


IMPORTED = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from petal_s3.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--version"], {"typer", "pydantic", "asyncio", "sqlite3", "numpy"}),
        (["status"], {"numpy", "sqlite_utils", "aiohttp", "botocore", "ruamel.yaml"}),
    ],
    ids=["version", "status"],
)
def test_a_command_imports_what_it_needs(
    console: Console, words: list[str], without: set[str]
) -> None:
    with console.outbox():
        pass  # that of an earlier start
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        check=True,
        env=console.environment({}),
        capture_output=True,
        text=True,
    )
    assert without & {*run.stderr.split()} == set()


@pytest.mark.parametrize("words", [["stauts"], ["status", "--jsno"], ["enqueue"], []])
def test_wrong_use_is_exit_code_2(console: Console, words: list[str]) -> None:
    assert console.type(*words).code == 2


@pytest.mark.parametrize("command", [["status"], ["enqueue", "x.ulg"], ["drain"], ["serve"]])
def test_a_missing_setting_is_named_and_exit_code_2(console: Console, command: list[str]) -> None:
    answer = console.type(*command, PETAL_S3_BUCKET_NAME="")
    assert answer.code == 2
    assert answer.err.startswith("PETAL_S3_BUCKET_NAME is not set; it is required. [config]\n")
    assert "no settings file (/etc/petal-s3.yaml)" in answer.err
    assert not console.state.exists()


def test_a_setting_that_is_unknown_is_refused(console: Console) -> None:
    answer = console.type("status", PETAL_S3_BUCKET="logs")
    assert (answer.code, answer.out) == (2, "")
    assert "PETAL_S3_BUCKET is not a setting" in answer.err


def test_the_demo_says_what_it_needs(console: Console) -> None:
    without = "import sys; sys.modules['moto'] = None; from petal_s3.cli.main import main; main()"
    command = [sys.executable, "-c", without, "demo"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    demo = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert demo.returncode == 1
    assert demo.stderr == "The demo needs moto: pip install 'petal-s3[demo]'\n"


def test_a_command_loads_no_numpy_and_leaves_it_to_others() -> None:
    looks = (
        "import sys, petal_s3.cli.main, petal_s3.host.local_service\n"
        "slow = {'numpy', 'pandas', 'prometheus_client', 'ruamel.yaml'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
        "import numpy; print(numpy.arange(3).sum())"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    seen = subprocess.run(
        [sys.executable, "-c", looks], check=False, env=env, capture_output=True, text=True
    )
    assert (seen.returncode, seen.stdout) == (0, "[]\n3\n"), seen.stderr


# -- status: nothing there


def test_an_outbox_that_does_not_exist_yet_is_said_plainly_and_not_made(console: Console) -> None:
    before = sorted(console.directory.rglob("*"))
    answer = console.type("status")
    assert answer.code == 0
    assert answer.out.startswith(f"There is no outbox at {console.state}/outbox.db yet")
    assert sorted(console.directory.rglob("*")) == before


def test_no_outbox_in_json_has_the_same_names_as_any_other(console: Console) -> None:
    before = console.type("status", "--json").json
    with console.outbox():
        pass
    after = console.type("status", "--json").json
    assert before.keys() == after.keys()
    assert (before["rows"], before["outbox"]) == ([], after["outbox"])


# -- status: what the server can do


def test_nothing_is_said_of_a_server_of_which_nothing_is_known(console: Console) -> None:
    assert console.type("status", "--json").json["capabilities"] is None
    assert "The server" not in console.type("status").out


def test_what_the_server_lacks_is_said_a_line_for_each(console: Console) -> None:
    known = Capabilities(asked_at=1_760_000_000)
    for feature, offered, by in (
        ("md5_etags", True, "PUT was answered with the md5."),
        ("told_checksums", False, "HEAD with the checksum mode was answered 400."),
        ("list_parts", False, "ListParts was answered 501 \x1b[31mNotImplemented"),
    ):
        known = known.with_(feature, offered=offered, at=1_760_000_000, by=by)  # type: ignore[arg-type]
    with console.outbox() as outbox:
        keep(outbox, "us-east-1 logs", written(known))
    assert console.type("status", "--json").json["capabilities"] == known.as_json()
    told = [line for line in console.type("status").out.splitlines() if "The server" in line]
    days = int(time.time() - 1_760_000_000) // 86_400
    assert told == [
        "The server tells no checksums: proof by ETag, or by reading back (HEAD with the checksum"
        f" mode was answered 400; first seen {days} days ago).",
        "The server does not list parts: an interrupted upload begins anew (ListParts was answered"
        f" 501 \\x1b[31mNotImplemented; first seen {days} days ago).",
    ]


def test_empty_log_directories_bring_a_hint_where_ulogs_are(console: Console) -> None:
    hint = f"No log lies in {console.logs}. ULogs stay on the autopilot's card"
    assert hint in console.type("status").out
    gone = console.directory / "gone"
    assert f"No log lies in {gone}." in console.type("status", PETAL_S3_LOG_DIRS=str(gone)).out
    console.write("flight.ulg")
    assert "ULogs stay" not in console.type("status").out


def test_logs_that_no_row_knows_are_counted(console: Console) -> None:
    known, _ = console.write("known.ulg"), console.write("new.ulg", seed=1)
    assert "Not in the outbox yet: 2 in the log directories." in console.type("status").out
    console.type("enqueue", known)
    assert "Not in the outbox yet: 1 in the log directories." in console.type("status").out


# -- status: rows


def test_rows_without_a_drain_say_that_no_process_drains(console: Console) -> None:
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1)
        entering.enqueue(outbox, entry("waits.ulg", number=2))
    answer = console.type("status")
    assert answer.out.startswith(
        "1 of 2 logs proven, 1.0 kB to go; waiting: No process is uploading."
    )
    assert "drained by no process." in answer.out


def test_a_caller_that_drains_is_heard_while_it_drains(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("waits.ulg"))
    says = {"reason": ARMED, "link": "up", "credentials": "ok", "flight_state": "armed"}
    with console.host(**says, settling=["/records/still.ulg"]):
        found = console.type("status").out
    assert found.startswith(f"0 of 1 log proven, 1.0 kB to go; waiting: {ARMED}\n")
    assert f"drained by process {os.getpid()} (" in found
    assert "Link up, credentials ok, vehicle armed." in found
    assert "Still being written, or changed a moment ago: 'still.ulg'." in found
    assert ARMED not in console.type("status").out


def test_unsettled_rows_come_first_and_the_newest_before_the_older(console: Console) -> None:
    with console.outbox() as outbox:
        for number in range(1, 31):
            proven(outbox, f"up-{number}.ulg", number)
        entering.enqueue(outbox, entry("late.ulg", number=31))
        entering.enqueue(outbox, entry("later.ulg", number=32))
    found = console.type("status").out
    names = re.findall(r"143022_(\S+)", found)
    assert names == ["later.ulg", "late.ulg", *(f"up-{n}.ulg" for n in range(30, 12, -1))]
    assert "... and 12 more." in found


def test_a_row_shows_how_far_it_is_and_why_or_its_proof(console: Console) -> None:
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1)
        entering.enqueue(outbox, entry("half.ulg", number=2))
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.progress(outbox, row, 900, sent_bytes=500, sent=1, resent=0)
        transitions.defer(outbox, row, 0, "mismatch", "S3 holds other bytes.")
    with console.host():
        lines = console.type("status", COLUMNS="120").out.splitlines()
    assert lines[0] == "1 of 2 logs proven, 500 B to go; waiting: S3 holds other bytes."
    assert any(re.search(r"2 \S+half.ulg +1.0 kB queued 50% +See above\.", s) for s in lines)
    assert any(re.search(r"1 \S+up.ulg +1.0 kB proven [^c]+ crc32\+etag", s) for s in lines)


def test_what_is_no_log_is_listed_with_its_reason(console: Console) -> None:
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1)
        for number in range(2, 14):
            refused = entry(f"notes-{number}.ulg", number=number)
            entering.enter_refused(outbox, refused, "bad_magic", "It is not a ULog but text.")
    found = console.type("status").out
    assert found.startswith("The log is up; 12 others cannot be sent: a person has to look.\n")
    assert "  13  '/records/notes-13.ulg': It is not a ULog but text.\n" in found
    assert "  ... and 2 more." in found


def test_names_cannot_play_tricks_on_the_terminal(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enter_refused(outbox, entry("[red]\x1b[31m\x07.ulg"), "bad_name", "A bad name.")
    found = console.type("status").out
    assert "'/records/[red]\\x1b[31m\\x07.ulg': A bad name." in found
    assert "\x1b" not in found


def test_the_table_fits_80_columns(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry(f"{'long-' * 20}name.ulg", number=1))
        entering.enqueue(outbox, entry("short.ulg", number=2))
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.defer(
            outbox, row, 0, "mismatch", "S3 says that the bytes do not fit their checksum (x)."
        )
    with console.host():
        lines = console.type("status").out.splitlines()
    table = lines[1 : lines.index("To send: 2.0 kB.") - 1]
    assert max(map(len, table)) <= 80
    assert any("20250727_143022_short.ulg" in line for line in table)
    assert "bytes do not fit their checksum" in " ".join(" ".join(table).split())


def test_json_is_the_status_of_rest_with_rows(console: Console) -> None:
    with console.outbox() as outbox:
        proven(outbox, "up.ulg", 1)
        entering.enqueue(outbox, entry("waits.ulg", number=2))
    with console.host(reason=ARMED, link="up", flight_state="armed"):
        found = console.type("status", "--json").json
    assert found["counts"] == {
        "verified": 1,
        "queued": 1,
        "uploading": 0,
        "dead": 0,
        "cancelled": 0,
    }
    assert (found["reason"], found["link"], found["flight_state"]) == (ARMED, "up", "armed")
    assert [(row["id"], row["state"], row["reason"]) for row in found["rows"]] == [
        (2, "queued", ARMED),
        (1, "verified", ""),
    ]


def test_looking_takes_no_lock(console: Console) -> None:
    with console.outbox():
        pass
    console.type("status")
    assert not (console.state / "drain.lock").exists()


@only_root
def test_the_outbox_of_another_user_is_named_as_such(console: Console) -> None:
    with console.outbox():
        pass
    console.directory.chmod(0o755)
    os.seteuid(65534)
    try:
        answer = console.type("status")
    finally:
        os.seteuid(0)
    assert answer.code == 1
    assert "another user" in answer.err or "denied" in answer.err


def test_watching_tells_what_is_new_until_ctrl_c(console: Console) -> None:
    watching = console.start("status", "--watch")
    watching.until_said("There is no outbox")
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("new.ulg"))
    watching.until_said("0 of 1 log proven")
    watching.interrupt()
    assert watching.end() == 0
    assert "Traceback" not in watching.said
    assert "\x1b" not in watching.said


def test_watching_in_json_prints_one_line_a_second(console: Console) -> None:
    watching = console.start("status", "--watch", "--json")
    until(lambda: watching.said.count("\n") >= 2)
    watching.interrupt()
    assert watching.end() == 0
    assert [json.loads(line)["rows"] for line in watching.said.splitlines()[:2]] == [[], []]


def test_watching_on_a_terminal_draws_in_place(console: Console) -> None:
    with console.outbox() as outbox:
        entering.enqueue(outbox, entry("new.ulg"))
    with console.terminal("status", "--watch") as (process, output):
        shown = os.read(output, 65536)
        while shown.count(b"0 of 1 log proven") < 2:
            shown += os.read(output, 65536)
        process.send_signal(2)
        assert process.wait(60) == 0
    assert b"\x1b[1A" in shown  # up, to draw over what was there


# -- enqueue


def test_enqueue_prints_id_and_key_and_the_row_is_there(console: Console) -> None:
    path = console.write("flight.ulg")
    answer = console.type("enqueue", path)
    (row,) = console.rows()
    assert answer.code == 0
    assert answer.out == f"{row.id}  queued  {row.key}\n"
    assert (row.path, row.state, row.key.startswith(HOME)) == (str(path), "queued", True)
    assert "No process is uploading." in answer.err


def test_enqueue_keeps_a_copy_of_a_file_from_elsewhere(console: Console) -> None:
    path = console.write(str(console.directory / "elsewhere.ulg"))
    held = path.read_bytes()
    assert console.type("enqueue", path).code == 0
    path.unlink()
    (row,) = console.rows()
    assert Path(row.path).parent == console.state / "spool"
    assert Path(row.path).read_bytes() == held


def test_the_same_file_twice_is_one_row(console: Console) -> None:
    path = console.write("flight.ulg")
    first, second = (console.type("enqueue", "--json", path) for _ in range(2))
    assert first.json["rows"][0]["id"] == second.json["rows"][0]["id"]
    assert [len(one.json["unchanged"]) for one in (first, second)] == [0, 1]
    assert len(console.rows()) == 1


@pytest.mark.parametrize("where", ["logs", "elsewhere"])
def test_enqueue_that_does_nothing_says_so_and_fails(console: Console, where: str) -> None:
    (console.directory / "elsewhere").mkdir()
    path = console.write(str(console.directory / where / "flight.ulg"))
    assert console.type("enqueue", path).code == 0
    answer = console.type("enqueue", path)
    assert (answer.code, answer.out) == (1, "")
    assert "flight.ulg is in the outbox already, as row 1 (queued)" in answer.err
    assert console.type("cancel", "1").code == 0
    assert console.type("enqueue", path).code == 0


def test_enqueue_of_a_proven_log_names_the_way_to_send_it_again(console: Console) -> None:
    path = console.write("flight.ulg")
    console.type("enqueue", path)
    with console.outbox() as outbox:
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        proof = Receipt(row.key, "9b2c", "crc32:AAAA", row.size, "crc32+etag", 0)
        transitions.verified(outbox, row, proof)
    answer = console.type("enqueue", path)
    assert (answer.code, answer.out) == (1, "")
    assert "is up already, as row 1: nothing was done." in answer.err
    assert "`petal-s3 resend 1` sends it again." in answer.err
    assert "No process" not in answer.err


def test_enqueue_of_a_log_that_a_scan_found_and_that_is_proven_does_nothing(
    console: Console,
) -> None:
    path = console.write("flight.ulg")
    console.type("enqueue", path)
    with console.outbox() as outbox:
        outbox.sql.change("UPDATE log SET priority = 0")  # as a scan enters it
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        proof = Receipt(row.key, "9b2c", "crc32:AAAA", row.size, "crc32+etag", 0)
        transitions.verified(outbox, row, proof)
    first, second = console.type("enqueue", path), console.type("enqueue", path)
    assert (first.code, first.out, first.err) == (1, "", second.err)
    assert "is up already, as row 1: nothing was done." in first.err
    assert "No process" not in first.err
    assert [row.priority for row in console.rows()] == [0]


def test_a_region_that_can_be_none_is_wrong_use(console: Console) -> None:
    answer = console.type("ls", AWS_DEFAULT_REGION="bad region!")
    assert answer.code == 2
    assert answer.err.startswith("AWS_DEFAULT_REGION is 'bad region!'")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("retry abc", "an integer is expected"),
        ("retry 0", "a number greater than or equal to 1 is expected"),
        ("presign KEY --expires soon", "an integer is expected"),
        ("serve --port 99999", "a number less than or equal to 65535 is expected"),
        ("drain --patience long", "a number is expected"),
        ("bucket setup --remove bucket", "'bucket' is not one of 'tls-only'"),
    ],
)
def test_wrong_words_are_refused_in_our_own_words(
    console: Console, words: str, expected: str
) -> None:
    answer = console.type(*words.split())
    told = " ".join(answer.err.replace("│", " ").split())
    assert answer.code == 2
    assert expected in told
    assert "Input should" not in told
    assert "Value error" not in told


def test_a_refusal_does_not_keep_the_others_out(console: Console) -> None:
    (console.logs / "notes.ulg").write_text("no log, however it is named")
    good = console.write("good.ulg")
    answer = console.type("enqueue", console.logs / "notes.ulg", console.logs / "none.ulg", good)
    assert answer.code == 1
    assert [row.name for row in console.rows()] == ["good.ulg"]
    assert "'notes.ulg' is not a ULog but text" in answer.err
    assert "There is no file 'none.ulg'." in answer.err


def test_refusals_in_json_stand_beside_the_rows(console: Console) -> None:
    good = console.write("good.ulg")
    answer = console.type("enqueue", "--json", good, console.logs / "none.ulg")
    found = answer.json
    assert answer.code == 1
    assert [row["path"] for row in found["rows"]] == [str(good)]
    (refused,) = found["refused"]
    assert (refused["path"], refused["code"]) == (str(console.logs / "none.ulg"), "not_found")


def test_only_unfinished_files_are_not_now(console: Console) -> None:
    growing = console.write("growing.ulg")
    with growing.open("ab"):
        alone = console.type("enqueue", growing)
        with_another = console.type("enqueue", growing, console.logs / "none.ulg")
    assert (alone.code, with_another.code) == (3, 1)
    assert "growing.ulg is still being written" in alone.err
    assert console.rows() == []


def test_a_device_is_no_log_that_is_still_written(console: Console) -> None:
    answer = console.type("enqueue", "/dev/null")
    assert answer.code == 1
    assert "is not a regular file. [not_regular]" in answer.err


def test_a_key_may_be_chosen_inside_the_own_territory(console: Console) -> None:
    path = console.write("flight.ulg")
    assert console.type("enqueue", path, "--key", f"{HOME}mine.ulg").code == 0
    (row,) = console.rows()
    assert row.key == f"{HOME}mine.ulg"


@pytest.mark.parametrize("key", ["flight_logs/drone-002/x.ulg", f"{HOME}../drone-002/x.ulg"])
def test_any_other_key_is_refused_before_anything_is_made(console: Console, key: str) -> None:
    answer = console.type("enqueue", console.write("flight.ulg"), "--key", key)
    assert answer.code == 1
    assert "does not belong to this machine" in answer.err
    assert not console.state.exists()


def test_one_key_for_two_files_is_wrong_use(console: Console) -> None:
    answer = console.type("enqueue", "a.ulg", "b.ulg", "--key", f"{HOME}mine.ulg")
    assert (answer.code, console.state.exists()) == (2, False)


def test_a_state_directory_that_cannot_be_made_is_one_sentence(console: Console) -> None:
    (console.directory / "file").touch()
    answer = console.type(
        "enqueue", console.write("flight.ulg"), PETAL_S3_STATE_DIR=f"{console.directory}/file/state"
    )
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "PETAL_S3_STATE_DIR" in answer.err


def test_keys_are_those_of_the_process_that_drained_last(console: Console) -> None:
    with console.host(machine_id="as-the-host-says"):
        pass
    answer = console.type("enqueue", console.write("flight.ulg"), PETAL_S3_MACHINE_ID="")
    assert answer.code == 0
    assert console.rows()[0].key.startswith("flight_logs/as-the-host-says/")


@only_root
def test_root_makes_no_outbox_that_shuts_a_user_out(console: Console) -> None:
    os.chown(console.directory, 65534, 65534)
    answer = console.type("enqueue", console.write("flight.ulg"))
    assert answer.code == 1
    assert "run this as nobody (sudo -u nobody petal-s3 ...)" in answer.err
    assert not console.state.exists()
