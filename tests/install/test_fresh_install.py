"""The built wheel in environments of its own: an empty one, and one that holds the host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
INSTALL = ("install", "--quiet")

# Runs in the environment that holds the host: start it, find the petal by its entry point, wait
# until the log is up.
_RUN_HOST = """
import json, sys, time, urllib.request
from pathlib import Path
from petal_s3.demo.host import Host, make_root

root = make_root(Path(sys.argv[1]), petals={}, startup=["petal-s3"])
with Host(root, env=json.loads(sys.argv[2])) as host:
    host.start()
    host.wait_ready(60)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(host.url + "/petals/petal-s3/status", timeout=5) as answer:
            status = json.load(answer)
        if status["counts"]["verified"]:
            break
        time.sleep(0.2)
    print(json.dumps(status["counts"]))
"""


def run(*command: str | Path, **more: object) -> str:
    """Run a program outside the checkout; its output, or all of it in the failure."""
    done = subprocess.run(
        [str(part) for part in command], text=True, capture_output=True, check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def make_venv(directory: Path) -> Path:
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    return directory / "bin" / "python"


def pip(python: Path, *arguments: str | Path) -> None:
    """Install into that environment, or check it, with the pip of this one."""
    run(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, ROOT)
    [built] = out.glob("petal_s3-*.whl")
    yield built


def test_a_build_of_the_same_sources_gives_the_same_bytes(tmp_path: Path) -> None:
    built = []
    for umask, name in ((0o022, "first"), (0o077, "second")):
        out = tmp_path / name
        env = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1790000000"}
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
        run(*build, ROOT, env=env, umask=umask)
        built.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert len(built[0]) == 2
    assert built[0] == built[1]


def bare_env(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PETAL_S3_CONFIG": "", **more}


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = make_venv(tmp_path / "venv")
    # With hashes pip would want one of the wheel, too, and of all that nobody has asked for.
    versions = tmp_path / "versions.txt"
    pinned = re.findall(r"^[^#\s].*==.*[^\s\\]", CONSTRAINTS.read_text(), re.MULTILINE)
    versions.write_text("\n".join(pinned))
    pip(python, *INSTALL, "--constraint", versions, wheel)
    pip(python, "check")
    command = python.with_name("petal-s3")
    home = bare_env(HOME=str(tmp_path), PETAL_S3_BUCKET_NAME="logs", PETAL_S3_MACHINE_ID="m-1")
    assert "0.1.0" in run(command, "--version", cwd=tmp_path)
    status = json.loads(run(command, "status", "--json", cwd=tmp_path, env=home))
    assert status["counts"] == {
        "queued": 0,
        "uploading": 0,
        "verified": 0,
        "dead": 0,
        "cancelled": 0,
    }
    # Without the host, everything but the petal can be imported.
    run(
        python,
        "-c",
        "import petal_s3.service.service, petal_s3.host.proxy, petal_s3.cli.main",
        cwd=tmp_path,
    )


def test_a_host_that_was_there_before_still_works(
    wheel: Path, tmp_path: Path, s3_server: EmbeddedS3
) -> None:
    # The host comes first, with whatever boto3 is newest: ours must move it, not break it.
    python = make_venv(tmp_path / "venv")
    pip(python, *INSTALL, "petal-app-manager>=0.2.7,<0.3", "leaf-pymavlink")
    pip(python, *INSTALL, wheel)
    pip(python, "check")
    logs = tmp_path / "logs"
    logs.mkdir()
    write_ulog(logs / "flight.ulg", 50_000)
    with in_thread(TokenService()) as tokens:
        settings = {
            "PETAL_S3_BUCKET_NAME": "logs",
            "PETAL_SESSION_TOKEN_URL": tokens.url,
            "PETAL_S3_ENDPOINT_URL": s3_server.url,
            "PETAL_S3_STATE_DIR": str(tmp_path / "state"),
            "PETAL_S3_LOG_DIRS": str(logs),
            "PETAL_S3_SETTLE_SECONDS": "0.5",
        }
        counts = run(
            python,
            "-c",
            _RUN_HOST,
            tmp_path / "root",
            json.dumps(settings),
            cwd=tmp_path,
            env=bare_env(HOME=str(tmp_path)),
        )
    assert json.loads(counts.splitlines()[-1])["verified"] == 1
