"""The servers of these tests end with them, whatever ends the tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil

from tests.servers.catalogue import KINDS
from tests.servers.drone import until
from tests.servers.environments import ROOT, environment

STARTS_ONE = """
import sys, time
from pathlib import Path
from tests.servers.catalogue import KINDS
from tests.servers.running import Running

server = Running(KINDS["moto"], KINDS["moto"].environment(), Path(sys.argv[1]))
server.wait()
print(server.pid, flush=True)
time.sleep(600)
"""


async def test_a_server_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, str(tmp_path / "data")],
        cwd=ROOT.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tests.stdout is not None
    server = psutil.Process(int(tests.stdout.readline()))
    assert server.is_running()

    tests.kill()
    tests.communicate()

    def ended() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return server.status() == psutil.STATUS_ZOMBIE
        return True

    await until(ended)


def test_an_environment_that_is_there_is_used_again() -> None:
    made = environment("localbucket")
    stamp = (made / ".installed").stat()

    assert environment("localbucket") == KINDS["localbucket"].environment() == made
    assert (made / ".installed").stat().st_mtime_ns == stamp.st_mtime_ns
