"""A stand-in for the cloud: an S3 server on loopback, in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from petal_s3.core.loop_thread import LoopThread

_PACKAGE_DIR = Path(__file__).resolve().parents[2]
# The S3 stand-in checks no signature, but reads the region out of it.
_ANY_SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=demo/20200101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=demo"
)


class EmbeddedS3:
    """An S3 server (moto) in a process of its own; a context manager that stops it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def create_bucket(self, name: str) -> None:
        self._ask("PUT", f"/{name}")

    def reset(self) -> None:
        """Forget all buckets and objects."""
        self._ask("POST", "/moto-api/reset")

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, method: str, path: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            self.url + path, method=method, headers={"Authorization": _ANY_SIGNATURE}
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310

    def __enter__(self) -> EmbeddedS3:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_s3(port: int = 0) -> EmbeddedS3:
    """Start an S3 server that dies with this process; blocks until it answers (about 1 s)."""
    path = os.pathsep.join(filter(None, (str(_PACKAGE_DIR), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "petal_s3.demo.services", "s3", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for the parent, which decides what to end
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        process.communicate()
        msg = f"the embedded S3 server did not start (exit code {process.returncode})"
        raise RuntimeError(msg)
    return EmbeddedS3(process, url)


class _Service(Protocol):
    async def start(self) -> str: ...
    async def stop(self) -> None: ...


_S = TypeVar("_S", bound=_Service)


@contextlib.contextmanager
def in_thread(service: _S) -> Iterator[_S]:
    """Run a service of this package in a thread of its own, for code without an event loop."""
    thread = LoopThread(type(service).__name__)
    try:
        thread.run(service.start())
        try:
            yield service
        finally:
            thread.run(service.stop())
    finally:
        thread.close()


def _serve_s3(port: int) -> None:
    from moto import backends  # noqa: PLC0415 - slow, and only for this process
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    # At each request it would look through its own folder for the names of its modules.
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    host, bound_port = server.get_host_and_port()
    print(f"http://{host}:{bound_port}", flush=True)
    # The parent holds the other end: it closes however the parent ends, even by SIGKILL.
    while os.read(sys.stdin.fileno(), 1):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=["s3"])
    parser.add_argument("--port", type=int, default=0)
    _serve_s3(parser.parse_args().port)


if __name__ == "__main__":
    main()
