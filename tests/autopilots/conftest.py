"""Fixtures: real MAVLink programs of others, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.environments import CannotBeHadError, environment
from tests.servers.running import TIED

HERE = Path(__file__).parent
REPO = HERE.parents[1]


def _python(name: str) -> Path:
    try:
        return environment(name) / "bin/python"
    except CannotBeHadError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def mavsdk() -> Path:
    """The Python that has MAVSDK."""
    return _python("mavsdk")


@pytest.fixture(scope="session")
def pymavlink() -> Path:
    """The Python that has the real pymavlink, and nothing else."""
    return _python("pymavlink")


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a script of this folder: ``start(python, "name.py", argument, ...)``."""
    running: list[subprocess.Popen[str]] = []

    def begin(python: Path, script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [str(python), str(HERE / script), *(str(one) for one in arguments)]
        process = subprocess.Popen(
            [sys.executable, "-c", TIED, str(os.getpid()), *command],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO), "MAVLINK20": "1"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()
