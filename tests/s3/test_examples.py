"""The script and the agent's tools of the examples, each run as its reader would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples"


class Computer:
    """Where the examples are run: settings, a folder with logs, a link."""

    def __init__(self, folder: Path, link: LinkThread, env: Mapping[str, str]) -> None:
        self.logs = folder / "logs"
        self.copies = folder / "copies"
        self.logs.mkdir()
        self.link = link
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(CHECKOUT),
            "HOME": str(folder),
            "PETAL_S3_CONFIG": "",
            "PETAL_S3_BUCKET_NAME": "logs",
            "PETAL_S3_MACHINE_ID": "drone-001",
            "PETAL_S3_ENDPOINT_URL": link.url,
            "PETAL_S3_STATE_DIR": str(folder / "state"),
            "PETAL_S3_REQUEST_TIMEOUT": "5",
            **env,
        }

    def run(self, script: str, *words: str | Path, given: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / script), *map(str, words)],
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def computer(s3_server: EmbeddedS3, tmp_path: Path) -> Iterator[Computer]:
    with LinkThread(s3_server.url) as link, in_thread(TokenService()) as tokens:
        yield Computer(tmp_path, link, {"PETAL_S3_SESSION_TOKEN_URL": tokens.url})


def test_the_script_brings_all_logs_home_and_compares_what_it_downloads(computer: Computer) -> None:
    write_ulog(computer.logs / "one.ulg", 30_000)
    write_bag(computer.logs / "two.bag", 40_000)
    (computer.logs / "notes.txt").write_text("no log\n")
    code, said, complained = computer.run("bring_home.py", computer.logs, "--copy", computer.copies)
    assert (code, complained) == (0, "")
    assert [line.partition(": ")[0] for line in said.splitlines()] == [
        str(computer.logs / "one.ulg"),
        str(computer.logs / "two.bag"),
    ]
    for name in ("one.ulg", "two.bag"):
        assert (computer.copies / name).read_bytes() == (computer.logs / name).read_bytes()


def test_the_script_says_what_is_no_log_and_what_waits(computer: Computer) -> None:
    (computer.logs / "wrong.ulg").write_bytes(b"no log")
    code, said, complained = computer.run("bring_home.py", computer.logs)
    assert (code, said) == (1, "")
    assert "wrong.ulg" in complained
    (computer.logs / "wrong.ulg").unlink()
    write_ulog(computer.logs / "one.ulg", 30_000)
    computer.link.cut()
    code, _, complained = computer.run("bring_home.py", computer.logs)
    assert code == 3
    assert "safe as row" in complained


def test_an_agent_finds_the_tools_and_uploads_and_reads_a_log(computer: Computer) -> None:
    log = computer.logs / "app.log"
    log.write_text("motor 3 ran hot\n")
    first = spoken(
        computer,
        ("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}}),
        ("tools/list", {}),
        ("tools/call", call("upload_log_to_s3", file_path=str(log), session_id="flight-42")),
        ("tools/call", call("list_session_logs", session_id="flight-42")),
        ("tools/call", call("no_such_tool")),
        ("tools/call", call("list_session_logs", session="flight-42")),
        ("no/such/method", {}),
    )
    begun, listed, sent, found, unknown, wrong, none = first
    assert begun["result"]["serverInfo"]["name"] == "petal-s3"
    names = {tool["name"]: tool["inputSchema"] for tool in listed["result"]["tools"]}
    assert names["upload_log_to_s3"]["required"] == ["file_path", "session_id"]
    assert len(names) == 4
    made = said_by(sent)
    assert (made["success"], sent["result"]["isError"]) == (True, False)
    assert [one["key"] for one in said_by(found)["files"]] == [made["key"]]
    assert unknown["result"]["isError"]
    assert wrong["result"]["isError"]
    assert none["error"]["code"] == -32601
    (read,) = spoken(computer, ("tools/call", call("get_s3_file_content", s3_key=made["key"])))
    assert said_by(read)["content"] == "motor 3 ran hot\n"


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def spoken(computer: Computer, *asked: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers to requests, in order; a notification in between gets none."""
    lines = [json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})]
    lines += [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        for number, (method, params) in enumerate(asked)
    ]
    code, said, complained = computer.run("agent_tools.py", given="\n".join(lines) + "\n")
    assert (code, complained) == (0, "")
    answers = [json.loads(line) for line in said.splitlines()]
    assert [one["id"] for one in answers] == list(range(len(asked)))
    return answers


def said_by(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer["result"]["content"][0]["text"])
    return found
