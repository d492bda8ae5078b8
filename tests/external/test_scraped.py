"""A real prometheus scrapes the stand-alone server, with the rules that we ship."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from tests.external.conftest import Have
from tests.servers.catalogue import free_ports
from tests.servers.running import TIED
from tests.support.monitoring import RULES, rule_queries

T = TypeVar("T")

TOKEN = "a-token-that-is-long-enough"
CHECKOUT = Path(__file__).resolve().parents[2]


def until(true: Callable[[], T]) -> T:
    deadline = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
    return found


class Started:
    """A program that ends with the tests; what it says goes to a file."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-c", TIED, str(os.getpid()), *command],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[str]:
    """The address of a stand-alone server, which wants its token."""
    (tmp_path / "logs").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CHECKOUT),
        "HOME": str(tmp_path),
        "PETAL_S3_CONFIG": "",
        "PETAL_S3_BUCKET_NAME": "logs",
        "PETAL_S3_MACHINE_ID": "drone-001",
        "PETAL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "PETAL_S3_STATE_DIR": str(tmp_path / "state"),
        "PETAL_S3_LOG_DIRS": str(tmp_path / "logs"),
        "PETAL_S3_API_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "petal_s3", "serve", "--port", "0"]
    started = Started(command, env, tmp_path / "serve.log")
    try:
        found = until(lambda: re.search(r"http://(127\S+)/\n", started.log.read_text()))
        yield found[1]
    finally:
        started.stop()


@pytest.fixture
def prometheus(have: Have, robot: str, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Asks a prometheus that scrapes the robot each second."""
    program = have("prometheus")
    (tmp_path / "token").write_text(TOKEN)
    scrape = {
        "job_name": "petal-s3",
        "authorization": {"credentials_file": "token"},
        "static_configs": [{"targets": [robot]}],
    }
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scrape],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (port,) = free_ports(1)
    command = [
        str(program.path),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    started = Started(command, dict(program.env), tmp_path / "prometheus.log")

    def ask(path: str) -> Any:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5
            ) as told:
                return json.load(told)["data"]
        except OSError:
            return None

    try:
        until(lambda: ask("status/buildinfo"))
        yield ask
    finally:
        started.stop()


def test_it_is_scraped_and_the_rules_are_evaluated(prometheus: Callable[[str], Any]) -> None:
    def up() -> Any:
        found = prometheus("query?query=up")
        return found and [one for one in found["result"] if one["value"][1] == "1"]

    until(up)
    [target] = prometheus("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    names = until(lambda: prometheus("label/__name__/values"))
    assert {"petal_s3_rows", "petal_s3_backlog_bytes", "petal_s3_unsent_deleted_total"} <= set(
        names
    )
    [group] = prometheus("rules")["groups"]
    until(lambda: all(rule["health"] == "ok" for rule in prometheus("rules")["groups"][0]["rules"]))
    assert {rule["name"] for rule in group["rules"]} == set(rule_queries())


def test_what_is_served_is_as_prometheus_wants_names_and_types(
    have: Have, robot: str, tmp_path: Path
) -> None:
    asked = urllib.request.Request(
        f"http://{robot}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(asked, timeout=10) as told:
        text = told.read()
    program = have("promtool")
    done = subprocess.run(
        [str(program.path), "check", "metrics"],
        env=dict(program.env),
        input=text,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
