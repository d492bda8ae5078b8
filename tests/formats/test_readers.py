"""What petal-s3 says of logs is what the libraries of their makers say when they read them whole.

pymavlink and mcap lie in an environment of their own: the host brings another pymavlink.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from petal_s3.logs.log_file import FlightLog
from tests.servers.environments import CannotBeHadError, environment
from tests.unit.dataflash_logs import BEGIN, MARK, flight, gps, imu

READER = Path(__file__).with_name("reader.py")
LOG = flight(4000)
CUTS = 60
Answers = Mapping[str, Any]


def run(library: str, *arguments: object) -> None:
    """Run the reader with arguments by the Python that has ``library``; skip where none can."""
    try:
        python = environment(library) / "bin/python"
    except CannotBeHadError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    subprocess.run(
        [python, READER, *map(str, arguments)],
        check=True,
        timeout=250,
        env={"PATH": os.environ["PATH"], "PYMAVLINK_FAST_INDEX": "0"},
    )


def read(library: str, directory: Path) -> Answers:
    """What the library says of each file in ``directory``."""
    answers = directory / "answers.json"
    suffix = {"pymavlink": "*.bin", "mcap": "*.mcap"}[library]
    run(library, answers, *sorted(directory.glob(suffix)))
    told: Answers = json.loads(answers.read_text())
    return told


def test_dfreader_reads_to_the_end_what_is_called_complete_and_no_other(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    for number in range(CUTS):
        cut = chance.randrange(len(BEGIN), len(LOG))
        (tmp_path / f"cut{number}.bin").write_bytes(LOG[:cut])
    for number in range(12):
        at = chance.randrange(len(BEGIN), len(BEGIN) + 30_000)
        hole = LOG[:at] + bytes(100) + LOG[at + 100 :]
        (tmp_path / f"hole{number}.bin").write_bytes(hole)
    (tmp_path / "whole.bin").write_bytes(LOG)
    (tmp_path / "page.bin").write_bytes(LOG + b"\xff" * 200)
    (tmp_path / "unknown.bin").write_bytes(BEGIN + MARK + b"\x09" + imu(1) * 40)
    (tmp_path / "two.bin").write_bytes(BEGIN + imu(6_000_000) + gps(7_000_000, 2378, 5000) * 30)
    answers = read("pymavlink", tmp_path)
    seen = set()
    for name, told in answers.items():
        log = FlightLog.read(tmp_path / name)
        whole = told["read_to"] == log.identity.size or name == "page.bin"
        expected = "damaged" if told["said"] else "complete" if whole else "truncated"
        assert (name, log.verdict) == (name, expected), told
        assert log.started_s is None or abs(log.started_s - told["first"]) < 2, name
        assert log.facts["ver-sw"] in told["texts"][0]
        seen.add(expected)
    assert seen == {"complete", "truncated", "damaged"}


def test_what_mcap_writes_is_complete_and_is_told_as_mcap_reads_it(
    tmp_path: Path,
) -> None:
    run("mcap", "write", tmp_path)
    answers = read("mcap", tmp_path)
    assert len(answers) == 72
    for name, told in answers.items():
        log = FlightLog.read(tmp_path / name)
        assert (name, log.verdict, told["error"]) == (name, "complete", "")
        counted = log.facts.get("message-count")
        assert counted == (None if told["messages"] is None else str(told["messages"])), name
        assert log.facts["library"] == told["library"]
        if told["messages"]:
            assert log.started_s == told["start"] // 10**9


def test_what_mcap_cannot_read_to_the_end_is_not_called_complete(
    tmp_path: Path,
) -> None:
    written, broken = tmp_path / "written", tmp_path / "broken"
    written.mkdir()
    broken.mkdir()
    run("mcap", "write", written)
    chance = random.Random(11)
    for number, path in enumerate(sorted(written.iterdir())):
        content = path.read_bytes()
        cut = chance.randrange(40, len(content))
        (broken / f"cut{number}.mcap").write_bytes(content[:cut])
        (broken / f"more{number}.mcap").write_bytes(content[:-8] + b"\0" * 9)
    for name, told in read("mcap", broken).items():
        assert told["error"], name
        assert FlightLog.read(broken / name).verdict in {
            "truncated",
            "unindexed",
            "damaged",
            "header_only",
        }, name
