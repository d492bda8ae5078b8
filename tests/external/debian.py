"""Programs of Debian's packages: those of this machine, else fetched by apt and unpacked here.

Nothing is installed and no service is started: ``apt-get`` only downloads.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / ".venv-servers" / "debian"
_PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "mosquitto": "mosquitto",
    "systemd-analyze": "systemd",
    "dpkg-deb": "dpkg",
}
_AT_MOST_S = 280


class CannotBeHadError(Exception):
    """The program is not here, and apt does not give it; the message says what apt said."""


@dataclass(frozen=True)
class Program:
    """An executable, and the environment in which it finds its libraries."""

    path: Path
    env: Mapping[str, str]

    def run(self, *words: str | Path, cwd: Path | None = None) -> tuple[int, str]:
        """Its exit code, and all that it said."""
        done = subprocess.run(
            [str(self.path), *map(str, words)],
            cwd=cwd,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout


def program(name: str) -> Program:
    """The program of this name; raises :class:`CannotBeHadError`."""
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/nowhere"}
    here = shutil.which(name, path=env["PATH"])
    if here is not None:
        return Program(Path(here), env)
    unpacked = _unpacked(_PACKAGES[name])
    for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
        if (unpacked / folder / name).is_file():
            libraries = {str(one.parent) for one in unpacked.rglob("*.so*")}
            return Program(
                unpacked / folder / name, {**env, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}
            )
    raise CannotBeHadError(f"{name} is not in Debian's package {_PACKAGES[name]}.")


def _unpacked(package: str) -> Path:
    """The package and what it needs beyond this machine's, unpacked."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotBeHadError(f"{package} is not installed, and there is no apt to fetch it with.")
    ROOT.mkdir(parents=True, exist_ok=True)
    made = ROOT / package
    with (ROOT / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            half = ROOT / f".{package}"
            shutil.rmtree(half, ignore_errors=True)
            _fetch(package, half / "archives")
            for archive in (half / "archives").glob("*.deb"):
                _apt("dpkg-deb", "--extract", str(archive), str(half / "root"))
            (half / "root").rename(made)
            shutil.rmtree(half)
    return made


def _fetch(package: str, into: Path) -> None:
    (into / "partial").mkdir(parents=True)
    fetch = (
        "apt-get",
        "--yes",
        "--quiet",
        "--download-only",
        "--no-install-recommends",
        *("-o", f"Dir::Cache::archives={into}", "-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User=root"),
        "install",
        package,
    )
    try:
        _apt(*fetch)
    except CannotBeHadError:
        if os.geteuid() != 0:
            raise
        _apt("apt-get", "--quiet", "update")  # a machine that never asked has no lists
        _apt(*fetch)


def _apt(*command: str) -> None:
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_AT_MOST_S,
        check=False,
    )
    if done.returncode:
        raise CannotBeHadError(f"{' '.join(command)}: {done.stdout[-500:].strip()}")
