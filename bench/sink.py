"""The fast server of the bench: compiled on the spot, with TLS, on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.authority import Authority

from .process import ROOT

HOME = ROOT / ".bench"
"""What the bench installs and builds for itself."""
BUCKET = "logs"
_SOURCES = ROOT / "bench" / "sink"
_TLS = ("-DTLS", "-lssl", "-lcrypto")
_NO_TLS = (
    "https is left out: install libssl-dev (OpenSSL's headers, for a sink with TLS) or socat"
    " (which speaks TLS in front of one without)."
)


@dataclass(frozen=True)
class Sink:
    """A running sink; ``https`` is empty where no TLS is to be had, and ``lacks`` says why."""

    http: str
    https: str
    authority: Path
    """The certificate that a client has to trust."""
    lacks: str

    def reset(self) -> dict[str, int]:
        """Forget everything; returns what was asked since the last time, by operation."""
        found: dict[str, int] = json.loads(_asked(f"{self.http}/-/stats"))
        _asked(f"{self.http}/-/reset")
        return found

    def env(self) -> dict[str, str]:
        """The environment in which clients trust it and have keys; nothing else of the caller's."""
        return {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "opens-nothing",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": str(self.authority),
            "SSL_CERT_FILE": str(self.authority),
            "no_proxy": "localhost,127.0.0.1",
        }


@contextlib.contextmanager
def sink(home: Path = HOME) -> Iterator[Sink]:
    """Compile into ``home`` where needed, start, and stop at the end.

    Raises ``SystemExit`` with a sentence where there is no compiler.
    """
    binary, has_tls = _built(home)
    with tempfile.TemporaryDirectory(prefix="petal-bench-") as folder, contextlib.ExitStack() as on:
        authority = Authority(Path(folder))
        authority.server("localhost")
        certificate = str(Path(folder) / "server.pem")
        command = [str(binary), certificate] if has_tls else [str(binary)]
        process = on.enter_context(_running(command))
        assert process.stdout is not None
        ports = dict(process.stdout.readline().split() for _ in command)
        http, lacks = f"http://127.0.0.1:{ports['http']}", ""
        https = f"https://localhost:{ports['https']}" if has_tls else ""
        if not has_tls and shutil.which("socat"):
            https = on.enter_context(_in_front(certificate, ports["http"]))
        elif not has_tls:
            lacks = _NO_TLS
        yield Sink(http, https, authority.file, lacks)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _in_front(certificate: str, port: str) -> Iterator[str]:
    """TLS by socat, in front of a sink without it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        mine = free.getsockname()[1]
    listen = f"OPENSSL-LISTEN:{mine},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={certificate}"
    with _running(["socat", listen, f"TCP:127.0.0.1:{port}"]):
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", mine)):
                break
            time.sleep(0.01)
        yield f"https://localhost:{mine}"


def _built(home: Path) -> tuple[Path, bool]:
    """The program, and whether it speaks TLS; built once for each state of its sources."""
    sources = sorted(_SOURCES.glob("*.[ch]"))
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    binary, plain = home / f"sink-{state}", home / f"sink-{state}-plain"
    if binary.exists():
        return binary, True
    home.mkdir(exist_ok=True)
    for old in home.glob("sink-*"):
        old.unlink()
    for target, tls in ((binary, _TLS), (plain, ())):
        made = [str(file) for file in sources if file.suffix == ".c"]
        command = ["cc", "-O2", "-o", str(target), *made, *tls, "-lpthread", "-lm"]
        try:
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SystemExit("The bench needs a C compiler (cc): install gcc or clang.") from None
        if tried.returncode == 0:
            return target, bool(tls)
    raise SystemExit(f"The sink was not compiled: {tried.stderr.strip()}")


def _asked(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())
