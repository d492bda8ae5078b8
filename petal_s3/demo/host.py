"""Run the real petal-app-manager in a root of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

_PACKAGE_DIR = Path(__file__).resolve().parents[2]
_POLL_S = 0.05
_LOG_TAIL_CHARS = 2000

# The host ends with its parent, however that ends: the parent alone holds the other end of
# stdin. (The kernel's own parent-death signal fires already when the starting *thread* ends.)
_LAUNCH = """
import os, runpy, threading

def follow_parent():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), 9)

threading.Thread(target=follow_parent, daemon=True).start()
if os.path.exists("thing-parameters.json"):
    from petal_app_manager import organization_manager as at

    at.set_organization_manager(at.OrganizationManager(file_path="thing-parameters.json"))
runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that is free now, from below those the kernel hands out by itself."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def make_root(  # noqa: PLR0913 - what a root is made of
    directory: Path,
    *,
    proxies: Sequence[str] = ("bucket",),
    petals: Mapping[str, str],
    startup: Sequence[str],
    enabled: Sequence[str] = (),
    dependencies: Mapping[str, Sequence[str]] | None = None,
    organization: str = "",
) -> Path:
    """Make `directory` the root of a host; `petals` maps a name to `module:Class`.

    With an `organization` the host finds the id that it else reads from a file below /opt;
    without one it runs, but calls itself unhealthy and leaves MQTT alone.

    The host looks for its files three directories above its own code, as it was imported: a
    link to the installed package gives each root its own `config.json` and `proxies.yaml`.
    A petal that is not in `petals` is found by its entry point.
    """
    found = importlib.util.find_spec("petal_app_manager")
    if found is None or found.origin is None:
        msg = "petal-app-manager is not installed: pip install 'petal-s3[host]'"
        raise RuntimeError(msg)
    for name in ("site-packages", "tmp", "home", "logs"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    link = directory / "site-packages" / "petal_app_manager"
    if not link.is_symlink():
        link.symlink_to(Path(found.origin).parent, target_is_directory=True)
    (directory / ".env").touch()  # the search for one ends here, not in a directory above
    (directory / "config.json").write_text(json.dumps({"allowed_origins": ["*"]}))
    if organization:
        thing = {"thing": {"lastReported": {"organizationId": organization}}}
        (directory / "thing-parameters.json").write_text(json.dumps(thing))
    settings = {
        "enabled_proxies": list(proxies),
        "startup_petals": list(startup),
        "enabled_petals": list(enabled),
        "petals": dict(petals),
        "petal_dependencies": {name: list(needs) for name, needs in (dependencies or {}).items()},
        "proxy_dependencies": {},
    }
    # JSON is YAML too.
    (directory / "proxies.yaml").write_text(json.dumps(settings, indent=2))
    return directory


class Host:
    """One host process; keeps its port over restarts. As a context manager it ends killed."""

    def __init__(
        self,
        root: Path,
        *,
        env: Mapping[str, str],
        port: int | None = None,
        log: Path | None = None,
    ) -> None:
        self.root = root.absolute()
        self.env = dict(env)
        """Added to a bare environment at the next start; nothing of ours leaks in."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log or self.root / "host.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            msg = f"the host runs already, pid {self._process.pid}"
            raise RuntimeError(msg)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [
                    *(sys.executable, "-c", _LAUNCH, "petal_app_manager.main:app"),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    *("--log-level", "info", "--no-access-log", "--http", "h11"),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.root,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the parent, which decides what to end
            )

    def _environment(self) -> dict[str, str]:
        paths = [str(self.root / "site-packages"), self.env.get("PYTHONPATH"), str(_PACKAGE_DIR)]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "PETAL_LOG_DIR": str(self.root / "logs"),
            "PYTHONUNBUFFERED": "1",
            "MAVLINK20": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.env,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until the host answers, its startup petals mounted; raises with its last words."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._running().poll() is not None:
                msg = f"the host ended with {self._running().returncode}:\n{self._last_words()}"
                raise RuntimeError(msg)
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()  # noqa: S310
                return
            time.sleep(_POLL_S)
        msg = f"the host was not ready after {timeout_s:.0f} s:\n{self._last_words()}"
        raise TimeoutError(msg)

    def kill(self) -> None:
        """SIGKILL: what a power cut looks like from inside."""
        process = self._running()
        process.kill()
        process.communicate()

    def terminate(self, timeout_s: float = 20) -> int:
        """SIGTERM; returns the exit code (-15 after a clean end) or raises TimeoutExpired."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        # Not communicate(): it closes stdin, on which the host would die instead of ending.
        code = process.wait(timeout_s)
        process.communicate()
        return code

    def log_text(self) -> str:
        """Everything that all runs have printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _last_words(self) -> str:
        return self.log_text()[-_LOG_TAIL_CHARS:]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the host was not started"
            raise RuntimeError(msg)
        return self._process

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
