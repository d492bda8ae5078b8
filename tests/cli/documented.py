"""The blocks of README and docs, and a sandbox in which each is run as a reader would run it.

``petal-s3`` and a few other commands are answered by the test's own process, over a socket: to
start Python for each would take minutes. ``sudo``, ``aws`` and pip are played; the rest is real.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
    ROOT / "contrib" / "README.md",
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LONGEST_S = 60.0


@dataclass(frozen=True)
class Block:
    """One fenced block: the page, its line, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """The first line that is no comment: what a block is known by."""
        lines = (line for line in self.text.splitlines() if not line.startswith("#"))
        return next(filter(None, (line.strip() for line in lines)), "")


def blocks_of(page: str, text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def blocks() -> list[Block]:
    """Every fenced block of README and docs."""
    return [
        block
        for page in PAGES
        for block in blocks_of(str(page.relative_to(ROOT)), page.read_text("utf-8"))
    ]


# -- a shell

Command = Callable[[list[str], Mapping[str, str], Path], tuple[int, str, str]]
"""Answers words, environment and directory with exit code, output and complaints."""

_CLIENT = """#!{python} -SE
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({path!r})
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
asked.sendall(json.dumps([words, dict(os.environ), os.getcwd()]).encode() + b"\\n")
code, out, err = json.loads(asked.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""

# As sudo does: another PATH, and no variables of the caller.
SUDO = """#!/bin/sh
for name in $(env | sed -n 's/^\\(PETAL_[A-Z0-9_]*\\)=.*/\\1/p'); do unset "$name"; done
PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec "$@"
"""

# The addresses of the documentation lead to the server of the test; events never end.
_CURL = """#!/bin/sh
case "$*" in *\\[*) ;; */events*) set -- --max-time 2 "$@" ;; esac
/usr/bin/curl --fail-with-body --no-progress-meter --connect-to 127.0.0.1:8077:127.0.0.1:{port} \\
    --connect-to robot:8077:127.0.0.1:{port} "$@"
code=$?
case "$*" in */events*) [ "$code" = 28 ] && exit 0 ;; esac
exit "$code"
"""


class Shell:
    """A directory of commands, and the end of the socket at which they are answered."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.commands: dict[str, Command] = {}
        self._path = directory / "asked"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._path))
        self._server.listen()
        self._server.settimeout(0.1)

    def add(self, command: Command, *names: str | Path) -> None:
        """Answer these names, or paths, by ``command``."""
        for name in names:
            self.commands[Path(name).name] = command
            self.script(name, _CLIENT.format(python=sys.executable, path=str(self._path)))

    def script(self, name: str | Path, text: str) -> None:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def curl(self, port: int) -> None:
        self.script("curl", _CURL.format(port=port))

    def run(self, text: str, env: Mapping[str, str], cwd: Path) -> tuple[int, str]:
        """Run a block in bash, ended by its first failure; its exit code and all that it said."""
        path = f"{self.bin}:{os.environ['PATH']}"
        with (cwd / ".output").open("w+") as output:
            running = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                env={**env, "PATH": path},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                while running.poll() is None:
                    self._answer()
            finally:
                running.kill()
                running.wait()
            output.seek(0)
            return running.returncode, output.read()

    def _answer(self) -> None:
        with contextlib.suppress(TimeoutError), self._server.accept()[0] as asking:
            asking.settimeout(_LONGEST_S)
            words, env, cwd = json.loads(asking.makefile().readline())
            answer = self.commands[words[0]](words[1:], env, Path(cwd))
            asking.sendall(json.dumps(answer).encode())

    def close(self) -> None:
        self._server.close()


def parses(text: str) -> bool:
    """Whether bash can read it."""
    return not subprocess.run(["bash", "-n", "-c", text], check=False).returncode


def words_of(text: str) -> list[str]:
    """The words of a block of one command."""
    return shlex.split(text, comments=True)
